package log_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
	"github.com/assay-project/assay/workloads/log"
)

func newWorkload(t *testing.T, cfg log.Config) *log.Workload {
	t.Helper()
	w, err := log.New(cfg)
	require.NoError(t, err)
	return w
}

// next returns n ops of a process.
func next(t *testing.T, g harness.Generator, process, n int) []histories.Op {
	t.Helper()
	var ops []histories.Op
	for range n {
		op, status := g.Next(harness.Context{Process: process})
		require.Equal(t, harness.Ready, status)
		ops = append(ops, op)
	}
	return ops
}

// nextPoll returns the process's next poll of a partition.
func nextPoll(t *testing.T, g harness.Generator, process int, part int32) histories.Op {
	t.Helper()
	for range 1000 {
		op := next(t, g, process, 1)[0]
		if op.F == histories.Poll && op.Part == part {
			return op
		}
	}
	require.Fail(t, "no poll of the partition")
	return histories.Op{}
}

func TestConfig(t *testing.T) {
	for _, bad := range []log.Config{{Partitions: -1}, {Batch: -1}, {Partitions: 1 << 20}, {Batch: 1 << 20}} {
		_, err := log.New(bad)
		require.ErrorContains(t, err, "workload log")
	}
	w := newWorkload(t, log.Config{})
	require.Equal(t, "log", w.Name())
	require.Equal(t, newWorkload(t, log.Config{Partitions: 3, Batch: 1}), w, "the defaults")
}

func TestParseConfig(t *testing.T) {
	for _, c := range []struct {
		options map[string]string
		want    log.Config
		says    string
	}{
		{nil, log.Config{Partitions: 3, Batch: 1}, ""},
		{map[string]string{"partitions": "7", "batch": "1000", "read-from": "follower", "flush": "sync"}, log.Config{Partitions: 7, Batch: 1000, FromFollower: true}, ""},
		{map[string]string{"read-from": "leader"}, log.Config{Partitions: 3, Batch: 1}, ""},
		{map[string]string{"partitions": "10000"}, log.Config{Partitions: 10000, Batch: 1}, ""},
		{map[string]string{"partitions": "0"}, log.Config{}, `option partitions="0": allowed are 1 to 10000`},
		{map[string]string{"partitions": "10001"}, log.Config{}, `option partitions="10001": allowed are 1 to 10000`},
		{map[string]string{"batch": "many"}, log.Config{}, `option batch="many": allowed are 1 to 1000`},
		{map[string]string{"batch": "1001"}, log.Config{}, `option batch="1001": allowed are 1 to 1000`},
		{map[string]string{"batch": ""}, log.Config{}, `option batch="": allowed are 1 to 1000`},
	} {
		got, err := log.ParseConfig(c.options)
		require.Equal(t, c.want, got)
		if c.says == "" {
			require.NoError(t, err)
			_, err = log.New(got)
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, c.says)
	}
}

// The checkers of the workload, and what counts: sends and polls, of which a send must have been
// acknowledged.
func TestJudging(t *testing.T) {
	rules := log.Judging(contract.Terms{})
	var names []string
	var follow []checker.Class
	for _, c := range rules.Checkers {
		names = append(names, c.Name())
		if f, ok := c.(checker.Follower); ok {
			follow = append(follow, f.FollowsLoss()...)
		}
	}
	// What can never be permitted as the consequence of a loss is not among them.
	require.Subset(t, follow, []checker.Class{
		checker.Nonlinearizable, checker.StaleRead, checker.InconsistentOffsets, checker.RolledBackRead, checker.PollSkip,
		checker.NonmonotonicPoll, checker.ReplicaDivergence,
	})
	for _, c := range []checker.Class{
		checker.Phantom, checker.AbortedRead, checker.WeakAckLie, checker.LostWrite, checker.Duplicate, checker.Unseen, checker.Stall,
	} {
		require.NotContains(t, follow, c)
	}
	require.Subset(t, names, []string{"delivery", "order", "replicas", "linear", "availability"})
	require.Equal(t, judge.Evidence{Load: []string{"send", "poll"}, Acknowledged: []string{"send"}}, rules.Evidence)
}

// What a configuration promises decides what is an anomaly: too few copies, a stale read, a long
// silence.
func TestJudgingByTerms(t *testing.T) {
	copies := histtest.New()
	copies.Send(1, 0, 10).OK(0)
	copies.Whole(0, 10)
	copies.Replica("n1", 0, 10)
	copies.Replica("n2", 0)
	stale := histtest.New()
	stale.Send(1, 0, 10).OK(0)
	stale.Poll(2, 0, 0).OK(0)
	stale.Whole(0, 10)
	silent := histtest.New()
	for i := range 40 {
		silent.At(time.Duration(i) * time.Second)
		silent.Send(100+i, 0, int64(10+i)).Info()
	}
	silent.Whole(0)
	for _, c := range []struct {
		h      histories.History
		class  checker.Class
		bad    contract.Terms
		excuse contract.Terms
	}{
		{copies.History(), checker.WeakAckLie, contract.Terms{Copies: 2}, contract.Terms{Copies: 1}},
		{stale.History(), checker.StaleRead, contract.Terms{LinearReads: true}, contract.Terms{}},
		{silent.History(), checker.Stall, contract.Terms{}, contract.Terms{NoAcks: true}},
	} {
		bad := checker.Run(t.Context(), c.h, log.Judging(c.bad).Checkers...)
		require.Equal(t, 1, bad.Count(c.class), "%s: %v", c.class, bad.Anomalies())
		excused := checker.Run(t.Context(), c.h, log.Judging(c.excuse).Checkers...)
		require.Zero(t, excused.Count(c.class), c.class)
	}
}

// What the engine records of an answer, and what a failed op means.
func TestFunctions(t *testing.T) {
	found := harness.FieldHW | harness.FieldMsgs
	require.Equal(t, []harness.Function{
		{Name: "send", Answer: harness.FieldOffset | harness.FieldMsgs}, {Name: "poll", ReadOnly: true, Answer: found},
		{Name: "final", ReadOnly: true, Answer: found}, {Name: "scan", ReadOnly: true, Answer: found},
	}, newWorkload(t, log.Config{}).Functions())
}

// Sends and polls are equal in number, values are unique, partitions are all used.
func TestGenerator(t *testing.T) {
	w := newWorkload(t, log.Config{Partitions: 4})
	ops := next(t, w.Generator(7), 0, 1000)
	sends, values, parts := 0, make(map[int64]bool), make(map[int32]int)
	for _, op := range ops {
		parts[op.Part]++
		if op.F == histories.Send {
			sends++
			require.False(t, values[op.Value])
			values[op.Value] = true
			require.Positive(t, op.Value)
			require.EqualValues(t, histories.Unset, op.Offset)
		} else {
			require.Equal(t, histories.Poll, op.F)
			require.Zero(t, op.From)
			require.Empty(t, op.Node, "the leader is the client's business")
		}
	}
	require.Equal(t, 500, sends)
	require.Len(t, parts, 4)
	require.Equal(t, ops, next(t, w.Generator(7), 0, 1000))
	for _, op := range next(t, w.Generator(8), 0, 1000) {
		require.False(t, op.F == histories.Send && values[op.Value], "seeds that are close have values of their own")
	}
}

func TestBatch(t *testing.T) {
	w := newWorkload(t, log.Config{Batch: 3})
	seen := make(map[int64]bool)
	for _, op := range next(t, w.Generator(1), 0, 100) {
		if op.F != histories.Send {
			continue
		}
		require.Len(t, op.Msgs, 3)
		require.EqualValues(t, histories.Unset, op.Value)
		for _, m := range op.Msgs {
			require.False(t, seen[m.Value])
			seen[m.Value] = true
			require.EqualValues(t, histories.Unset, m.Offset)
		}
	}
}

// A process reads on from where it is; others are not concerned. Who comes later begins a little
// before the end.
func TestPositions(t *testing.T) {
	g := newWorkload(t, log.Config{Partitions: 2}).Generator(1)
	op := nextPoll(t, g, 1, 0)
	op.Type, op.Process = histories.OK, 1
	op.Msgs = []histories.Message{{Offset: 0, Value: 1}, {Offset: 1, Value: 2}, {Offset: 4, Value: 3}}
	g.Observe(harness.Context{Process: 1}, op)
	require.EqualValues(t, 5, nextPoll(t, g, 1, 0).From)
	require.EqualValues(t, 0, nextPoll(t, g, 1, 1).From)
	require.EqualValues(t, 0, nextPoll(t, g, 2, 0).From)

	op.Msgs = nil // an empty answer moves nothing
	g.Observe(harness.Context{Process: 1}, op)
	require.EqualValues(t, 5, nextPoll(t, g, 1, 0).From)

	send := histories.New(histories.OK, 1, histories.Send)
	send.Offset = 499
	g.Observe(harness.Context{}, send)
	require.EqualValues(t, 480, nextPoll(t, g, 9, 0).From)

	// Where a log has lost its tail, a position beyond it is given up after a few failures.
	op.Type = histories.Fail
	send.Offset = 2
	g.Observe(harness.Context{}, send)
	for range 2 {
		g.Observe(harness.Context{}, op)
		require.EqualValues(t, 5, nextPoll(t, g, 1, 0).From)
	}
	g.Observe(harness.Context{}, op)
	require.Zero(t, nextPoll(t, g, 1, 0).From)

	stranger := op
	stranger.Part = 99
	require.NotPanics(t, func() { g.Observe(harness.Context{}, stranger) })
	stranger.Part, stranger.Process = 0, 1234
	require.NotPanics(t, func() { g.Observe(harness.Context{}, stranger) })
}

// With read-from=follower, a process stays with one follower of a partition until a read of it
// fails.
func TestFollowers(t *testing.T) {
	w := newWorkload(t, log.Config{Partitions: 2, FromFollower: true})
	require.NoError(t, w.Setup(t.Context(), fakecluster.New(fakecluster.Options{}, 3, 2)))
	g := w.Generator(1)
	first := nextPoll(t, g, 0, 0)
	require.Contains(t, []string{"n2", "n3"}, first.Node)
	require.Equal(t, first.Node, nextPoll(t, g, 0, 0).Node)
	require.Equal(t, "n5", nextPoll(t, g, 0, 1).Node, "of the partition's own group")
	first.Type = histories.Fail
	g.Observe(harness.Context{}, first)
	require.NotEqual(t, first.Node, nextPoll(t, g, 0, 0).Node)
}

func TestFinals(t *testing.T) {
	texts := func(stage []harness.FinalRead) (got []string) {
		for _, read := range stage {
			op := read.Op
			require.Equal(t, histories.Invoke, op.Type)
			require.Zero(t, op.From)
			require.NotNil(t, read.Next, "it is read in chunks")
			got = append(got, strings.TrimSpace(op.F+" "+string('0'+rune(op.Part))+" "+op.Node))
		}
		return got
	}
	c := fakecluster.New(fakecluster.Options{}, 2, 1)
	stages := newWorkload(t, log.Config{Partitions: 3}).Finals(c)
	require.Len(t, stages, 2, "the scans begin when all final reads have ended")
	require.Equal(t, []string{"final 0", "final 1", "final 2"}, texts(stages[0]))
	require.Equal(t, []string{"scan 0 n1", "scan 0 n2", "scan 1 n3", "scan 2 n1", "scan 2 n2"}, texts(stages[1]))

	stages = newWorkload(t, log.Config{Partitions: 2, NoScans: true}).Finals(c)
	require.Equal(t, []string{"final 0", "final 1"}, texts(stages[0]))
	require.Empty(t, slices.Concat(stages[1:]...))
}

// A final read asks from where the answer ended, until the end that the answer stated.
func TestFinalReadsOn(t *testing.T) {
	read := newWorkload(t, log.Config{}).Finals(fakecluster.New(fakecluster.Options{}, 1))[0][0]
	for _, c := range []struct {
		from, hw int64
		msgs     []histories.Message
		next     int64
		done     bool
	}{
		{0, 0, nil, 0, true},
		{0, 5, nil, 0, false},
		{0, 5, histtest.Msgs(0, 10, 11), 2, false},
		{2, 5, histtest.Msgs(2, 12, 13, 14), 5, true},
		{2, 5, histtest.Msgs(3, 13), 4, false},
		{4, 5, histtest.Msgs(1, 11), 4, false},
		{4, 3, nil, 4, true},
		{0, 3, histtest.Msgs(0, 10, 11, 12, 13), 4, true},
	} {
		asked := read.Op
		asked.From = c.from
		answer := asked
		answer.Type, answer.HW, answer.Msgs = histories.OK, c.hw, c.msgs
		next, done := read.Next(asked, answer)
		require.Equal(t, c.done, done, "%+v", c)
		asked.From = c.next
		require.Equal(t, asked, next, "%+v", c)
	}
}

// late is a cluster whose topic can be created only after some tries.
type late struct {
	*fakecluster.Cluster
	tries *int
}

func (l late) CreateTopic(ctx context.Context, name string, n int) error {
	if *l.tries--; *l.tries >= 0 {
		return errors.New("not yet")
	}
	return l.Cluster.CreateTopic(ctx, name, n)
}

// plain is a cluster that can nothing but run.
func plain() harness.Cluster {
	return struct{ harness.Cluster }{fakecluster.New(fakecluster.Options{}, 3)}
}

// inParts is a cluster whose system makes topics.
type inParts struct {
	harness.Cluster
	topics *fakecluster.Cluster
}

func (c *inParts) Parts() []any { return []any{c.topics} }

func TestSetup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{}, 3)
		tries := 5
		require.NoError(t, newWorkload(t, log.Config{Partitions: 7}).Setup(t.Context(), late{c, &tries}))
		require.Contains(t, c.Calls(), "topic log 7")
		tries = 1 << 20
		require.ErrorContains(t, newWorkload(t, log.Config{}).Setup(t.Context(), late{c, &tries}), "not yet")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, newWorkload(t, log.Config{}).Setup(ctx, late{c, &tries}), context.DeadlineExceeded)
	})
	parts := &inParts{Cluster: plain(), topics: fakecluster.New(fakecluster.Options{}, 3)}
	require.NoError(t, newWorkload(t, log.Config{Partitions: 5}).Setup(t.Context(), parts))
	require.Equal(t, []string{"topic log 5"}, parts.topics.Calls(), "whichever part of the cluster makes topics")
	require.NoError(t, newWorkload(t, log.Config{}).Setup(t.Context(), plain()), "a cluster that makes no topics is expected to have them")
}

// The workload and its checkers fit together: a run on a good cluster is valid, and one that loses
// what it acknowledged is not.
func TestRunIsJudged(t *testing.T) {
	linear := contract.Promise{LinearReads: func(contract.Facts) bool { return true }}
	copies := linear
	copies.Copies = 2
	for name, c := range map[string]struct {
		lose    bool
		cfg     log.Config
		promise contract.Promise
		exit    int
	}{
		"good":           {cfg: log.Config{Partitions: 2}, promise: copies, exit: judge.ExitValid},
		"good, batches":  {cfg: log.Config{Partitions: 1, Batch: 5}, promise: linear, exit: judge.ExitValid},
		"good, follower": {cfg: log.Config{FromFollower: true}, exit: judge.ExitValid},
		"loses":          {cfg: log.Config{Partitions: 2}, lose: true, exit: judge.ExitInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opt := fakecluster.Options{Latency: time.Millisecond}
				if c.lose {
					opt.Mangle = func(op histories.Op, err error) (histories.Op, error) {
						if op.F != histories.Send {
							op.Msgs = slices.DeleteFunc(op.Msgs, func(m histories.Message) bool { return m.Offset == 17 })
						}
						return op, err
					}
				}
				w := newWorkload(t, c.cfg)
				start := time.Now()
				rec := histories.NewRecorder(&strings.Builder{}, func() time.Duration { return time.Since(start) }).Keep()
				_, err := harness.Run(t.Context(), harness.Test{
					Seed: 1, Cluster: fakecluster.New(opt, 3), Workload: w, Time: 10 * time.Second, Rate: 100, Clients: 3, Recorder: rec,
				})
				require.NoError(t, err)
				got := judge.Judge(t.Context(), judge.Input{History: rec.History(), Promise: c.promise, Rules: log.Judging})
				require.Equal(t, c.exit, got.Exit, "%v %v", got.Unknown, got.Anomalies)
				if c.lose {
					require.Positive(t, got.Report.Count("lost-write"))
				}
			})
		})
	}
}
