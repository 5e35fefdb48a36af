package sim

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/netsim"
)

const topic = "t"

// world is a started cluster in a bubble, with a topic of one partition.
type world struct {
	*testing.T
	*Cluster
}

func inBubble(t *testing.T, nodes int, set []string, f func(w world)) {
	t.Helper()
	inBubbleWith(t, specOf(nodes, set...), f)
}

// specOf configures a cluster of the reference broker.
func specOf(nodes int, set ...string) Config {
	c := target.Config{Mode: reference.MasterSlave, Nodes: nodes, Options: map[string]string{}}
	for i := 0; i < len(set); i += 2 {
		c.Options[set[i]] = set[i+1]
	}
	return Config{Target: reference.Target(), Config: c, Seed: 1}
}

// createTopic creates a topic as the operator does.
func createTopic(ctx context.Context, c *Cluster, partitions int) error {
	maker, _ := harness.Can[harness.TopicMaker](c)
	return maker.CreateTopic(ctx, topic, partitions)
}

// State asks a node for its part in its group.
func (w world) State(ctx context.Context, n harness.NodeID) (harness.NodeState, error) {
	g, _ := harness.Can[harness.Groups](w.Cluster)
	group := max(0, slices.IndexFunc(g.Groups(), func(members []harness.NodeID) bool { return slices.Contains(members, n) }))
	return g.State(ctx, group, n)
}

// Promote promotes as the operator does.
func (w world) Promote(ctx context.Context, group int, n harness.NodeID, force bool) (harness.Promotion, error) {
	p, _ := harness.Can[harness.Promoter](w.Cluster)
	return p.Promote(ctx, group, n, force)
}

func inBubbleWith(t *testing.T, cfg Config, f func(w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Stop(t.Context())) }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, c.Start(ctx))
		require.NoError(t, createTopic(ctx, c, 1))
		f(world{t, c})
	})
}

// kafka is a plain franz-go client on a host of its own, so that these tests do not depend on the
// harness's client.
func (w world) kafka(host string, opts ...kgo.Opt) (*kgo.Client, *netsim.Host) {
	w.Helper()
	h := w.net.Host(host)
	var seeds []string
	for _, n := range w.Nodes() {
		seeds = append(seeds, w.addr(n, "kafka"))
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.Dialer(h.Dial), kgo.DefaultProduceTopic(topic), kgo.MetadataMinAge(100 * time.Millisecond),
		// An idempotent producer of kgo does not give up a record that may have been sent.
		kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1),
	}, opts...)...)
	require.NoError(w, err)
	return cl, h
}

// send writes n values and returns those that were acknowledged.
func (w world) send(cl *kgo.Client, from, n int, limit time.Duration) (acked []string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), limit)
	defer cancel()
	for i := from; i < from+n; i++ {
		v := strconv.Itoa(i)
		if err := cl.ProduceSync(ctx, &kgo.Record{Partition: 0, Value: []byte(v)}).FirstErr(); err == nil {
			acked = append(acked, v)
		}
	}
	return acked
}

// readAll reads the partition from its start until nothing new has come for a second.
func (w world) readAll() (values []string) {
	w.Helper()
	cl, _ := w.kafka("reader", kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	for {
		ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return values
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
}

// await polls until the node is as wanted.
func (w world) await(n harness.NodeID, what string, ok func(harness.NodeState) bool) harness.NodeState {
	w.Helper()
	var s harness.NodeState
	for range 600 {
		var err error
		s, err = w.State(w.Context(), n)
		require.NoError(w, err)
		if ok(s) {
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Fail(w, "it never came", "%s is not %s: %+v", n, what, s)
	return s
}

func leads(s harness.NodeState) bool    { return s.Serving }
func caughtUp(s harness.NodeState) bool { return s.CaughtUp }
func down(s harness.NodeState) bool     { return !s.Up }

func (w world) boot(n harness.NodeID) {
	w.Helper()
	require.NoError(w, w.Boot(w.Context(), n))
}

func TestStartsAndServes(t *testing.T) {
	inBubble(t, 3, []string{"replication", "sync", "copies", "2"}, func(w world) {
		require.Equal(w, []harness.NodeID{"n1", "n2", "n3"}, w.Nodes())
		require.Equal(w, [][]harness.NodeID{{"n1", "n2", "n3"}}, harness.GroupsOf(w.Cluster))
		cl, _ := w.kafka("c1")
		defer cl.Close()
		acked := w.send(cl, 0, 100, time.Minute)
		require.Len(w, acked, 100)
		require.Equal(w, acked, w.readAll())
		leader := w.await("n1", "leader", leads)
		require.Equal(w, harness.RoleLeader, leader.Role)
		require.Equal(w, harness.RoleFollower, w.await("n2", "caught up", caughtUp).Role)
		_, err := w.State(w.Context(), "n9")
		require.ErrorContains(w, err, `no node "n9"`)
	})
}

func TestHarnessClient(t *testing.T) {
	inBubble(t, 3, []string{"replication", "sync", "copies", "2"}, func(w world) {
		cl, err := w.Open(w.Context(), 4)
		require.NoError(w, err)
		op := histories.New(histories.Invoke, 4, histories.Send)
		op.Value = 17
		op, err = cl.Invoke(w.Context(), op)
		require.NoError(w, err)
		require.Zero(w, op.Offset)
		require.NoError(w, cl.Close())
		require.NoError(w, cl.Close())

		cl, err = w.Open(w.Context(), 5)
		require.NoError(w, err)
		op = histories.New(histories.Invoke, 5, histories.Final)
		op.From = 0
		op, err = cl.Invoke(w.Context(), op)
		require.NoError(w, err)
		require.Equal(w, []histories.Message{{Offset: 0, Value: 17}}, op.Msgs)
		// Not closed: Stop does it.
	})
}

func TestClientWithoutATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(specOf(1))
		require.NoError(t, err)
		_, err = c.Open(t.Context(), 1)
		require.ErrorContains(t, err, "client of process 1")
		require.NoError(t, c.Stop(t.Context()))
	})
}

// TestLargeGroup: a leader has room for the connections of every follower and of whoever asks it.
func TestLargeGroup(t *testing.T) {
	inBubbleWith(t, specOf(64), func(w world) {
		g, ok := harness.Can[harness.Groups](w.Cluster)
		require.True(t, ok)
		st, err := harness.States(w.Context(), g, 0, w.Nodes())
		require.NoError(t, err)
		_, led := harness.LeaderOf(st)
		require.True(t, led)
	})
}

func TestGroupsOfNodes(t *testing.T) {
	inBubble(t, 4, []string{"groups", "2"}, func(w world) {
		require.Equal(w, [][]harness.NodeID{{"n1", "n2"}, {"n3", "n4"}}, harness.GroupsOf(w.Cluster))
		require.Equal(w, 1, w.await("n3", "leader of its group", leads).Group)
	})
}

func TestStopIsIdempotentAndWorksWithoutStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(specOf(2))
		require.NoError(t, err)
		require.NoError(t, c.Stop(t.Context()))
		require.NoError(t, c.Stop(t.Context()))
		_, err = New(specOf(2, "copies", "9"))
		require.Error(t, err)
	})
}

func TestStartFailsWhenTheClusterCannotBecomeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(specOf(2))
		require.NoError(t, err)
		undo, err := c.Shape(t.Context(), []harness.Rule{{From: harness.Endpoint{Node: "n2"}, To: harness.Endpoint{Node: "n1"}, Drop: true}})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err = c.Start(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "n1")
		require.NoError(t, c.Stop(t.Context()))
		_, err = undo(t.Context())
		require.NoError(t, err)
	})
}

func TestKillKeepsWhatWasWritten(t *testing.T) {
	inBubble(t, 1, []string{"flush", "async"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		acked := w.send(cl, 0, 50, time.Minute)
		require.Len(w, acked, 50)
		e, err := w.Kill(w.Context(), "n1")
		require.NoError(w, err)
		require.Equal(w, harness.Effect{Count: 1, Text: "n1 killed"}, e)
		s, err := w.State(w.Context(), "n1")
		require.NoError(w, err)
		require.False(w, s.Up)
		require.Equal(w, "killed", s.Detail)
		e, err = w.Kill(w.Context(), "n1")
		require.NoError(w, err)
		require.Zero(w, e, "a dead node cannot be killed")
		w.boot("n1")
		require.ErrorContains(w, w.Boot(w.Context(), "n1"), "runs already")
		w.await("n1", "leader", leads)
		require.Equal(w, acked, w.readAll())
	})
}

func TestShutdownAndBoot(t *testing.T) {
	inBubble(t, 2, nil, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		acked := w.send(cl, 0, 20, time.Minute)
		e, err := w.Shutdown(w.Context(), "n1")
		require.NoError(w, err)
		require.Equal(w, harness.Effect{Count: 1, Text: "n1 shut down"}, e)
		w.await("n1", "down", down)
		w.boot("n1")
		w.await("n1", "leader", leads)
		require.Equal(w, acked, w.readAll())
	})
}

// Power loss is seen to take what flush=async acknowledged, and never what flush=sync did, over
// several seeds: how much of the unsynced tail survives is drawn.
func TestPowerLoss(t *testing.T) {
	for flush, mayLose := range map[string]bool{"async": true, "sync": false} {
		t.Run(flush, func(t *testing.T) {
			lost := 0
			for seed := range uint64(12) {
				cfg := specOf(1, "flush", flush)
				cfg.Seed = seed
				inBubbleWith(t, cfg, func(w world) {
					cl, _ := w.kafka("c1")
					defer cl.Close()
					time.Sleep(time.Second)
					acked := w.send(cl, 0, 40, time.Minute)
					require.Len(w, acked, 40)
					e, err := w.CutPower(w.Context(), "n1")
					require.NoError(w, err)
					require.Equal(w, int64(1), e.Count)
					require.Contains(w, e.Text, "n1 lost power and ")
					require.Contains(w, e.Text, "unsynced bytes in ")
					time.Sleep(3 * time.Second)
					w.boot("n1")
					w.await("n1", "leader", leads)
					got := w.readAll()
					for i := range got {
						require.Equal(w, acked[i], got[i], "what is left is a prefix")
					}
					lost += len(acked) - len(got)
				})
			}
			require.Equal(t, mayLose, lost > 0, "%d messages lost", lost)
		})
	}
}

func TestWipeAndPromote(t *testing.T) {
	inBubble(t, 3, []string{"replication", "sync", "copies", "2"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		acked := w.send(cl, 0, 50, time.Minute)
		e, err := w.Wipe(w.Context(), "n1")
		require.NoError(w, err)
		require.Regexp(w, `^n1 killed, its disk with [1-9][0-9,]* bytes in [1-9] files deleted$`, e.Text)
		p, err := w.Promote(w.Context(), 0, "", false)
		require.NoError(w, err)
		require.True(w, p.Safe)
		require.False(w, p.Forced)
		require.NotEqual(w, harness.NodeID("n1"), p.Leader)
		w.boot("n1")
		w.await(p.Leader, "leader", leads)
		w.await("n1", "caught up", caughtUp)
		require.Equal(w, acked, w.readAll())
		require.Len(w, w.send(cl, 50, 10, time.Minute), 10)
	})
}

// A wipe deletes the disk of a node that is down, too: one that ended by itself would otherwise
// come back with what everybody else has lost.
func TestWipeOfANodeThatIsDown(t *testing.T) {
	inBubble(t, 2, []string{"replication", "sync", "copies", "2"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		w.send(cl, 0, 50, time.Minute)
		_, err := w.Kill(w.Context(), "n2")
		require.NoError(w, err)
		e, err := w.Wipe(w.Context(), "n2")
		require.NoError(w, err)
		require.Regexp(w, `^n2 was down, its disk with [1-9][0-9,]* bytes in [1-9] files deleted$`, e.Text)
		e, err = w.Wipe(w.Context(), "n2")
		require.NoError(w, err)
		require.Zero(w, e, "nothing was left")
		w.boot("n2")
		w.await("n2", "caught up", caughtUp)
	})
}

func TestPromoteWithASingleCopyIsNeverSafe(t *testing.T) {
	inBubble(t, 2, []string{"replication", "async"}, func(w world) {
		_, err := w.Wipe(w.Context(), "n1")
		require.NoError(w, err)
		_, err = w.Promote(w.Context(), 0, "", false)
		require.ErrorIs(w, err, harness.ErrUnsafePromote)
		require.ErrorIs(w, err, harness.ErrNeverSafe)
		p, err := w.Promote(w.Context(), 0, "n2", true)
		require.NoError(w, err)
		require.Equal(w, harness.NodeID("n2"), p.Leader)
		require.True(w, p.Forced)
		require.False(w, p.Safe)
		w.boot("n1")
		w.await("n2", "leader", leads)
		w.await("n1", "caught up", caughtUp)
	})
}

func TestUnsafePromoteWithSeveralCopiesMayBecomeSafe(t *testing.T) {
	inBubble(t, 3, []string{"replication", "sync", "copies", "2"}, func(w world) {
		for _, n := range []harness.NodeID{"n1", "n2"} {
			_, err := w.Kill(w.Context(), n)
			require.NoError(w, err)
		}
		_, err := w.Promote(w.Context(), 0, "", false)
		require.ErrorIs(w, err, harness.ErrUnsafePromote)
		require.NotErrorIs(w, err, harness.ErrNeverSafe)
	})
}

func TestPauseHoldsEverythingBack(t *testing.T) {
	inBubble(t, 2, []string{"replication", "sync", "copies", "2"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		undo, err := w.Pause(w.Context(), "n2")
		require.NoError(w, err)
		done := make(chan []string, 1)
		go func() { done <- w.send(cl, 0, 1, time.Minute) }()
		time.Sleep(2 * time.Second)
		require.Empty(w, done, "the follower's copy is missing")
		s, err := w.State(w.Context(), "n2")
		require.NoError(w, err)
		require.False(w, s.Up, "it does not answer")
		e, err := undo(w.Context())
		require.NoError(w, err)
		require.Positive(w, e.Count)
		require.Regexp(w, `^n2 paused: [1-9][0-9]* segments? and [0-9]+ disk operations? held back$`, e.Text)
		require.Len(w, <-done, 1)
		w.await("n2", "caught up", caughtUp)
	})
}

func TestPausedNodeCanBeKilledAndStopped(t *testing.T) {
	inBubble(t, 3, nil, func(w world) {
		undo, err := w.Pause(w.Context(), "n2")
		require.NoError(w, err)
		_, err = w.Kill(w.Context(), "n2")
		require.NoError(w, err)
		w.boot("n2")
		w.await("n2", "caught up", caughtUp)
		_, err = undo(w.Context())
		require.NoError(w, err)
		_, err = w.Pause(w.Context(), "n3") // and never undone
		require.NoError(w, err)
		_, err = w.Kill(w.Context(), "n1")
		require.NoError(w, err)
		undo, err = w.Pause(w.Context(), "n1")
		require.NoError(w, err)
		e, err := undo(w.Context())
		require.NoError(w, err)
		require.Zero(w, e, "a dead node cannot be paused")
	})
}

func split(a, b harness.NodeID) []harness.Rule {
	from, to := harness.Endpoint{Node: a}, harness.Endpoint{Node: b}
	return []harness.Rule{{From: from, To: to, Drop: true}, {From: to, To: from, Drop: true}}
}

func TestSplitFollowerLagsAndCatchesUp(t *testing.T) {
	inBubble(t, 3, []string{"replication", "sync", "copies", "2"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		undo, err := w.Shape(w.Context(), append(split("n1", "n3"), split("n2", "n3")...))
		require.NoError(w, err)
		require.Len(w, w.send(cl, 0, 100, time.Minute), 100)
		leader := w.await("n1", "leader", leads)
		lagging, err := w.State(w.Context(), "n3")
		require.NoError(w, err)
		require.True(w, lagging.Up, "the operator reaches it")
		require.Less(w, lagging.End, leader.End)
		require.False(w, lagging.CaughtUp, lagging.Detail)
		e, err := undo(w.Context())
		require.NoError(w, err)
		require.Positive(w, e.Count)
		require.Regexp(w, `^[1-9][0-9]* segments? dropped$`, e.Text)
		require.Equal(w, leader.End, w.await("n3", "caught up", caughtUp).End)
	})
}

func TestClientsCanBeSplitFromNodes(t *testing.T) {
	inBubble(t, 1, nil, func(w world) {
		require.True(w, w.ShapesClients())
		cut, _ := w.kafka("c7")
		defer cut.Close()
		free, _ := w.kafka("c8")
		defer free.Close()
		from, to := harness.Endpoint{Process: 7}, harness.Endpoint{Node: "n1"}
		undo, err := w.Shape(w.Context(), []harness.Rule{{From: from, To: to, Drop: true}, {From: to, To: from, Drop: true}})
		require.NoError(w, err)
		require.Empty(w, w.send(cut, 0, 1, 3*time.Second))
		require.Len(w, w.send(free, 1, 1, 3*time.Second), 1)
		_, err = undo(w.Context())
		require.NoError(w, err)
		require.Len(w, w.send(cut, 2, 1, 10*time.Second), 1)
		_, err = w.Shape(w.Context(), []harness.Rule{{From: harness.Endpoint{Node: "n5"}}})
		require.Error(w, err)
	})
}

func TestSlowLinkDelays(t *testing.T) {
	inBubble(t, 2, []string{"replication", "sync", "copies", "2"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		require.Len(w, w.send(cl, 0, 1, time.Minute), 1)
		start := time.Now()
		require.Len(w, w.send(cl, 1, 1, time.Minute), 1)
		fast := time.Since(start)
		from, to := harness.Endpoint{Node: "n1"}, harness.Endpoint{Node: "n2"}
		undo, err := w.Shape(w.Context(), []harness.Rule{{From: from, To: to, DelayMin: 50 * time.Millisecond, DelayMax: 50 * time.Millisecond}})
		require.NoError(w, err)
		start = time.Now()
		require.Len(w, w.send(cl, 2, 1, time.Minute), 1)
		require.Greater(w, time.Since(start), fast+45*time.Millisecond)
		e, err := undo(w.Context())
		require.NoError(w, err)
		require.Regexp(w, `^[1-9][0-9]* segments? delayed$`, e.Text)
	})
}

func TestFailingSyncEndsTheNode(t *testing.T) {
	inBubble(t, 2, []string{"replication", "sync", "copies", "2", "flush", "sync"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		acked := w.send(cl, 0, 10, time.Minute)
		undo, err := w.FailSync(w.Context(), "n1")
		require.NoError(w, err)
		require.Empty(w, w.send(cl, 10, 1, 5*time.Second))
		s := w.await("n1", "down", down)
		require.Contains(w, s.Detail, "ended by itself, its disk has failed: ")
		require.Contains(w, s.Detail, "input/output error")
		require.Equal(w, harness.RoleFailed, s.Role)
		require.ErrorIs(w, w.Boot(w.Context(), "n1"), harness.ErrNodeExited, "the disk is still broken")
		e, err := undo(w.Context())
		require.NoError(w, err)
		require.Regexp(w, `^[1-9][0-9]* syncs? of n1 failed$`, e.Text)
		w.boot("n1")
		w.await("n1", "leader", leads)
		got := w.readAll()
		require.GreaterOrEqual(w, len(got), len(acked))
		require.Equal(w, acked, got[:len(acked)])
	})
}

func TestFullDisk(t *testing.T) {
	inBubble(t, 1, nil, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		acked := w.send(cl, 0, 10, time.Minute)
		undo, err := w.Fill(w.Context(), "n1")
		require.NoError(w, err)
		require.Empty(w, w.send(cl, 10, 1, 5*time.Second))
		e, err := undo(w.Context())
		require.NoError(w, err)
		require.Regexp(w, `^[1-9][0-9]* writes? of n1 refused$`, e.Text)
		w.await("n1", "down", down)
		w.boot("n1")
		w.await("n1", "leader", leads)
		require.Equal(w, acked, w.readAll())
	})
}

func TestDiskFaultsOfOneKindOverlap(t *testing.T) {
	inBubble(t, 1, nil, func(w world) {
		first, err := w.FailSync(w.Context(), "n1")
		require.NoError(w, err)
		second, err := w.FailSync(w.Context(), "n1")
		require.NoError(w, err)
		_, err = first(w.Context())
		require.NoError(w, err)
		require.ErrorContains(w, w.machines[0].drive().SyncDir(), "input/output error")
		e, err := second(w.Context())
		require.NoError(w, err)
		require.Positive(w, e.Count)
		require.NoError(w, w.machines[0].drive().SyncDir())
	})
}

func TestCorruptFlipsOneBit(t *testing.T) {
	inBubble(t, 2, []string{"flush", "sync"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		require.Len(w, w.send(cl, 0, 50, time.Minute), 50)
		before := w.machines[1].drive().Counters().FlippedBits
		e, err := w.Corrupt(w.Context(), "n2", 7)
		require.NoError(w, err)
		require.Equal(w, int64(1), e.Count)
		require.Regexp(w, `^bit [0-7] of byte [0-9,]+ of \d{20}\.seg \(the tail\) of n2 flipped$`, e.Text)
		require.Equal(w, before+1, w.machines[1].drive().Counters().FlippedBits)
	})
}

func TestAContextThatEndsBoundsTheWaitForAMachine(t *testing.T) {
	inBubble(t, 1, nil, func(w world) {
		m := w.machines[0]
		m.turn <- struct{}{}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		_, err := w.Kill(ctx, "n1")
		require.ErrorIs(w, err, context.DeadlineExceeded)
		require.ErrorIs(w, w.Boot(ctx, "n1"), context.DeadlineExceeded)
		m.give()
	})
}

// The same kill over and over leaves nothing behind: the bubble would not end otherwise.
func TestManyDeaths(t *testing.T) {
	inBubble(t, 3, []string{"replication", "sync", "copies", "2", "flush", "sync"}, func(w world) {
		cl, _ := w.kafka("c1")
		defer cl.Close()
		var acked []string
		for i := range 30 {
			n := w.Nodes()[i%3]
			var err error
			switch i % 2 {
			case 0:
				_, err = w.Kill(w.Context(), n)
			default:
				_, err = w.CutPower(w.Context(), n)
			}
			require.NoError(w, err)
			time.Sleep(time.Second)
			w.boot(n)
			w.await("n1", "leader", leads)
			acked = append(acked, w.send(cl, 10*i, 10, 10*time.Second)...)
		}
		require.Greater(w, len(acked), 200)
		got := make(map[string]bool)
		for _, v := range w.readAll() {
			got[v] = true
		}
		for _, v := range acked {
			require.True(w, got[v], "%s is lost", v)
		}
	})
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 18432: "18,432", 1234567: "1,234,567"} {
		require.Equal(t, want, thousands(n))
	}
	require.Equal(t, "1 file", count(1, "file"))
	require.Equal(t, "0 files", count(0, "file"))
}
