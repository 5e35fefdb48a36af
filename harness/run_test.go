package harness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
	"github.com/assay-project/assay/workloads/log"
)

// result is what a run left behind.
type result struct {
	ex   harness.Execution
	h    histories.History
	file histories.History // h as it was written
	err  error
	took time.Duration
}

// strikes are the strikes of the faults, as the history tells them.
func (r *result) strikes() []histories.Strike { return histories.EventsOf(r.h).Strikes }

func ms(ns int64) int64 { return ns / 1e6 }

// stock are the faults that come with assay.
func stock(t *testing.T) *nemesis.Set {
	t.Helper()
	set, err := nemesis.NewSet(nemesis.Stock()...)
	require.NoError(t, err)
	return set
}

// run runs a test on c in the bubble of the caller: 20 s at 100 ops/s by 4 clients, unless change
// says otherwise.
func run(ctx context.Context, t *testing.T, c harness.Cluster, faults string, change func(*harness.Test)) result {
	t.Helper()
	w, err := log.New(log.Config{Partitions: 2})
	require.NoError(t, err)
	set := stock(t)
	specs, err := set.ParseList(faults)
	require.NoError(t, err)
	plan, err := set.MakePlan(nemesis.PlanConfig{Seed: 5, Faults: specs, Time: 20 * time.Second, Interval: 5 * time.Second})
	require.NoError(t, err)
	n, err := set.New(plan)
	require.NoError(t, err)
	start := time.Now()
	var file bytes.Buffer
	test := harness.Test{
		Seed: 5, Cluster: c, Workload: w, Nemesis: n, Time: 20 * time.Second, Rate: 100, Clients: 4,
		Recorder: histories.NewRecorder(&file, func() time.Duration { return time.Since(start) }).Keep(),
	}
	if change != nil {
		change(&test)
	}
	var r result
	r.ex, r.err = harness.Run(ctx, test)
	r.took = time.Since(start)
	r.h = test.Recorder.History()
	require.NoError(t, histories.Validate(r.h))
	r.file, _, err = histories.Read(&file)
	require.NoError(t, err)
	require.Len(t, r.file, len(r.h))
	return r
}

// count returns how many ops of a function have a type.
func count(h histories.History, f string, typ histories.Type) int {
	n := 0
	for op := range h.Ops() {
		if op.F == f && op.Type == typ {
			n++
		}
	}
	return n
}

func notes(h histories.History, fault string) []histories.Op {
	var all []histories.Op
	for op := range h.Ops() {
		if op.F == histories.Note && op.Fault == fault {
			all = append(all, *op)
		}
	}
	return all
}

func TestQuietRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 3)
		r := run(t.Context(), t, c, "none", nil)
		require.NoError(t, r.err)
		require.False(t, r.ex.Interrupted)
		require.True(t, r.ex.Recovered)
		require.Zero(t, r.ex.Starved)
		require.EqualValues(t, histories.OpCounts{OK: 2000}, r.ex.Ops)
		require.Equal(t, 1000, count(r.h, histories.Send, histories.OK), "half of the ops are sends")
		require.Equal(t, 1000, count(r.h, histories.Poll, histories.OK))
		require.Equal(t, 2, count(r.h, histories.Final, histories.OK))
		require.Equal(t, 6, count(r.h, histories.Scan, histories.OK), "every replica of every partition")
		require.Empty(t, r.strikes())
		require.Less(t, r.took, 21*time.Second)
		require.Equal(t, []string{"start", "topic log 2", "stop"}, c.Calls())

		group := notes(r.h, histories.NoteGroup)
		require.Len(t, group, 1)
		require.Equal(t, "n1,n2,n3", group[0].Node)
		require.Len(t, notes(r.h, histories.NoteRecovery), 1)
		leaders := notes(r.h, histories.NoteLeader)
		require.Len(t, leaders, 2)
		require.Equal(t, "n1", leaders[1].Node)
		require.EqualValues(t, 1, leaders[1].Part)
	})
}

// Ops come evenly: one in each interval of 1/rate.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{}, 1), "none", nil)
		i := int64(0)
		for op := range r.h.Ops() {
			if op.Type == histories.Invoke && (op.F == histories.Send || op.F == histories.Poll) {
				require.Equal(t, i, op.Time/int64(10*time.Millisecond))
				i++
			}
		}
		require.EqualValues(t, 2000, i)
	})
}

// When every process is busy, what is due is counted and not invoked: the schedule does not wait
// for the system.
func TestStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Latency: time.Second}, 1), "none", nil)
		require.NoError(t, r.err)
		done := r.ex.Ops.OK
		require.InDelta(t, 80, done, 8, "4 clients, one op a second each")
		require.EqualValues(t, 2000, done+r.ex.Starved)
	})
}

// The same seed makes the same load, another one another.
func TestSeedDecides(t *testing.T) {
	var values [3][]histories.Op
	for i, seed := range []uint64{1, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 3), "none", func(x *harness.Test) { x.Seed = seed })
			for op := range r.h.Ops() {
				if op.Type == histories.Invoke && (op.F == histories.Send || op.F == histories.Poll) {
					values[i] = append(values[i], histories.Op{Time: op.Time, F: op.F, Part: op.Part, Value: op.Value})
				}
			}
		})
	}
	require.Equal(t, values[0], values[1])
	require.NotEqual(t, values[0], values[2])
}

// Each error has its class; a process is retired by info, and by nothing else, and a failed read is
// fail whatever its error.
func TestClasses(t *testing.T) {
	boom := errors.New("connection reset")
	for _, c := range []struct {
		name string
		err  error
		send histories.Type
	}{
		{"ok", nil, histories.OK},
		{"weak", fmt.Errorf("copies 1 of 2: %w", harness.ErrWeak), histories.Weak},
		{"fail", fmt.Errorf("not leader: %w", harness.ErrNotApplied), histories.Fail},
		{"info", boom, histories.Info},
		{"both weak and refused is weak: some attempt stored it", errors.Join(harness.ErrWeak, harness.ErrNotApplied), histories.Weak},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opt := fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
					if op.F == histories.Send {
						return op, c.err
					}
					if op.F == histories.Poll && op.Part == 1 {
						return op, boom
					}
					return op, err
				}}
				r := run(t.Context(), t, fakecluster.New(opt, 3), "none", nil)
				require.NoError(t, r.err)
				require.Equal(t, 1000, count(r.h, histories.Send, c.send))
				require.Zero(t, count(r.h, histories.Poll, histories.Info))
				require.Positive(t, count(r.h, histories.Poll, histories.Fail))
				retired := make(map[int]bool)
				most := 0
				for op := range r.h.Ops() {
					if op.F != histories.Send && op.F != histories.Poll {
						continue
					}
					require.False(t, retired[op.Process])
					retired[op.Process] = op.Type == histories.Info
					most = max(most, op.Process)
					switch op.Type {
					case histories.OK:
					case histories.Weak:
						require.NotEqual(t, int64(histories.Unset), op.Offset)
						require.Equal(t, c.err.Error(), op.Err)
					case histories.Fail, histories.Info:
						require.NotEmpty(t, op.Err)
						require.EqualValues(t, histories.Unset, op.Offset, "a result that nobody may believe is not recorded")
					}
				}
				if c.send == histories.Info {
					require.Greater(t, most, 900)
				} else {
					require.Equal(t, 3, most)
				}
			})
		})
	}
}

// An op that takes longer than its timeout is info, and its process is replaced by one of its own
// slot.
func TestOpTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{}, 1)
		r := run(t.Context(), t, c, "none", func(x *harness.Test) {
			x.OpTimeout = 2 * time.Second
			x.Nemesis = planned(t, harness.Strike{ID: 1, Fault: "pause", At: 5 * time.Second, For: 5 * time.Second})
		})
		require.NoError(t, r.err)
		require.Positive(t, r.ex.Ops.Info)
		calls := make(map[int]int64)
		for op := range r.h.Ops() {
			switch {
			case op.Type == histories.Invoke:
				calls[op.Process] = op.Time
			case op.Type == histories.Info && op.Process >= 0:
				require.InDelta(t, 2*time.Second, op.Time-calls[op.Process], float64(time.Millisecond))
			}
		}
	})
}

func planned(t *testing.T, strikes ...harness.Strike) harness.Nemesis {
	t.Helper()
	n, err := stock(t).New(harness.Plan{Strikes: strikes})
	require.NoError(t, err)
	return n
}

// TestSetUpAgain: the topics are there for the final reads, whatever happened to them.
func TestSetUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{}, 3)
		r := run(t.Context(), t, c, "none", func(x *harness.Test) {
			x.Nemesis = planned(t, harness.Strike{ID: 1, Fault: "kill", At: time.Second, For: time.Second})
		})
		require.NoError(t, r.err)
		calls := strings.Join(c.Calls(), "\n")
		require.Equal(t, 2, strings.Count(calls, "topic log"))
		require.Less(t, strings.Index(calls, "boot"), strings.LastIndex(calls, "topic log"))
	})
}

func TestFaultsAreHealedAndRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{Latency: time.Millisecond, Copies: 2}, 3)
		r := run(t.Context(), t, c, "kill,partition,pause", nil)
		require.NoError(t, r.err)
		require.Empty(t, c.Hurt())
		require.GreaterOrEqual(t, len(r.strikes()), 3)
		for _, s := range r.strikes() {
			require.NotEmpty(t, s.Effect, s.Name)
			require.True(t, s.Healed())
			require.Positive(t, s.Number)
			require.True(t, s.Harm.Known(), "%s says what it can destroy", s.Name)
			require.Greater(t, ms(s.To), ms(s.From))
			require.Less(t, ms(s.To), int64(20_000))
		}
		require.Equal(t, r.strikes(), histories.EventsOf(r.file).Strikes, "the file of the history tells the same")
		require.True(t, r.ex.Recovered)
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []harness.Progress
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{}, 3), "slow", func(x *harness.Test) {
			x.OnProgress = func(p harness.Progress) { seen = append(seen, p) }
		})
		require.NoError(t, r.err)
		phases := make(map[harness.Phase]int)
		faults := 0
		last := histories.OpCounts{}
		for _, p := range seen {
			phases[p.Phase]++
			faults += len(p.Faults)
			require.GreaterOrEqual(t, p.Ops.OK, last.OK)
			last = p.Ops
		}
		require.Equal(t, 1, phases[harness.Starting])
		require.InDelta(t, 20, phases[harness.Load], 1)
		require.Equal(t, 2, phases[harness.Reading])
		require.Positive(t, faults)
		require.EqualValues(t, 2000, last.OK)
	})
}

// Two groups: a partition is read from its own group only.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 2, 2), "kill:leader", nil)
		require.NoError(t, r.err)
		require.Len(t, notes(r.h, histories.NoteGroup), 2)
		for op := range r.h.Ops() {
			if op.F == histories.Scan {
				require.Contains(t, map[int32][]string{0: {"n1", "n2"}, 1: {"n3", "n4"}}[op.Part], op.Node)
			}
		}
		require.Equal(t, 4, count(r.h, histories.Scan, histories.OK))
		require.Equal(t, "n3", notes(r.h, histories.NoteLeader)[1].Node)
	})
}

// The harness works outside a synctest bubble, on the real clock.
func TestOnTheRealClock(t *testing.T) {
	c := fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 3)
	r := run(t.Context(), t, c, "none", func(x *harness.Test) {
		x.Time, x.Rate = 300*time.Millisecond, 500
		x.Nemesis = planned(t, harness.Strike{ID: 1, Fault: "kill", At: 50 * time.Millisecond, For: 100 * time.Millisecond})
	})
	require.NoError(t, r.err)
	require.Positive(t, r.ex.Ops.OK)
	require.Empty(t, c.Hurt())
	require.NotEmpty(t, r.strikes()[0].Effect)
	require.Less(t, r.took, 5*time.Second)
}
