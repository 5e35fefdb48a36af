package nemesis_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/nemesis"
)

// stage runs a plan of strikes against c, and returns the history.
func stage(ctx context.Context, t *testing.T, c harness.Cluster, strikes ...harness.Strike) (histories.History, error) {
	t.Helper()
	for i := range strikes {
		strikes[i].ID = i + 1
	}
	n, err := nemesis.New(harness.Plan{Strikes: strikes})
	require.NoError(t, err)
	require.NoError(t, n.Supports(c))
	start := time.Now()
	rec := histories.NewRecorder(io.Discard, func() time.Duration { return time.Since(start) }).Keep()
	s := harness.Stage{
		Cluster: c, Start: start, Clients: 2, Processes: func() []int { return []int{4, 5} }, Logger: slog.New(slog.DiscardHandler),
		Restore: func(ctx context.Context) error { return c.(harness.TopicMaker).CreateTopic(ctx, "log", 1) },
		Record: func(op histories.Op) (histories.Op, error) {
			op.Process, op.Type = histories.NemesisProcess, histories.Info
			return rec.Record(op)
		},
	}
	err = n.Run(ctx, s)
	require.Empty(t, n.Now())
	return rec.History(), err
}

func strike(fault string, at, lasts time.Duration) harness.Strike {
	return harness.Strike{Fault: fault, At: at, For: lasts, Pick: 11}
}

func started(t *testing.T, opt fakecluster.Options, sizes ...int) *fakecluster.Cluster {
	t.Helper()
	c := fakecluster.New(opt, sizes...)
	require.NoError(t, c.Start(t.Context()))
	return c
}

// ops writes the ops of a history as "inject kill:leader n1", leaving out the group notes.
func ops(h histories.History) []string {
	var all []string
	for op := range h.Ops() {
		s := strings.TrimSpace(op.F + " " + op.Fault + " " + op.Node)
		if op.Effect != "" {
			s += " (" + op.Effect + ")"
		}
		if op.Err != "" {
			s += " !" + op.Err
		}
		all = append(all, s)
	}
	return all
}

// Every fault is injected, has an effect, and is healed at its time.
func TestEveryFault(t *testing.T) {
	for fault, want := range map[string][]string{
		"kill:leader":      {"kill n1", "boot n1"},
		"power:leader":     {"power n1", "boot n1"},
		"restart:leader":   {"shutdown n1", "boot n1"},
		"corrupt:leader":   {"corrupt n1"},
		"pause:leader":     {"pause n1 on", "pause n1 off"},
		"slow:leader":      {"shape 36 links on", "shape 36 links off"}, // 2 nodes, 2 clients with 8 generations each, both ways,
		"loss:leader":      {"shape 36 links on", "shape 36 links off"},
		"fsync:leader":     {"fsync n1 on", "fsync n1 off"},
		"full:leader":      {"full n1 on", "full n1 off"},
		"promote":          {"promote 0 n1 safe=true"},
		"promote:leader":   {"promote 0 n1 safe=true"},
		"wipe:leader":      {"wipe n1", "promote 0 refused", "promote 0 n2 safe=false", "boot n1"},
		"partition:leader": {"shape 4 links on", "shape 4 links off"},
	} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, fakecluster.Options{}, 3)
				start := time.Now()
				h, err := stage(t.Context(), t, c, strike(fault, 3*time.Second, 2*time.Second))
				require.NoError(t, err)
				require.Equal(t, append([]string{"start"}, want...), c.Calls())
				require.Empty(t, c.Hurt())
				recs := harness.Faults(h)
				require.Len(t, recs, 1)
				require.NotEmpty(t, recs[0].Effect)
				require.EqualValues(t, 3000, recs[0].AtMS)
				require.EqualValues(t, 5000, recs[0].HealedMS)
				require.Equal(t, 5*time.Second, time.Since(start))
			})
		})
	}
}

func TestRoles(t *testing.T) {
	for fault, sizes := range map[string][2]int{ // least and most nodes struck
		"kill": {1, 1}, "kill:leader": {1, 1}, "kill:follower": {1, 1}, "kill:minority": {2, 2}, "kill:majority": {3, 3}, "kill:all": {5, 5},
	} {
		seen := make(map[harness.NodeID]bool)
		for pick := range uint64(40) {
			synctest.Test(t, func(t *testing.T) {
				s := strike(fault, time.Second, time.Second)
				s.Pick = pick
				h, err := stage(t.Context(), t, started(t, fakecluster.Options{}, 5), s)
				require.NoError(t, err)
				nodes := harness.Faults(h)[0].Nodes
				require.Len(t, nodes, sizes[0], fault)
				require.True(t, slices.IsSorted(nodes))
				require.Len(t, slices.Compact(slices.Clone(nodes)), sizes[1])
				for _, n := range nodes {
					seen[n] = true
				}
			})
		}
		switch fault {
		case "kill:leader":
			require.Equal(t, map[harness.NodeID]bool{"n1": true}, seen)
		case "kill:follower":
			require.Len(t, seen, 4)
			require.NotContains(t, seen, harness.NodeID("n1"))
		default:
			require.Len(t, seen, 5, "%s draws anew each time", fault)
		}
	}
}

// The same pick strikes the same nodes.
func TestPickDecides(t *testing.T) {
	for pick := range uint64(10) {
		var nodes [2][]harness.NodeID
		for i := range nodes {
			synctest.Test(t, func(t *testing.T) {
				s := strike("kill:minority", time.Second, time.Second)
				s.Pick = pick
				h, err := stage(t.Context(), t, started(t, fakecluster.Options{}, 5), s)
				require.NoError(t, err)
				nodes[i] = harness.Faults(h)[0].Nodes
			})
		}
		require.Equal(t, nodes[0], nodes[1])
	}
}

// Whatever ends the run, everything is healed: at once, with a context that the interruption does not reach.
func TestHealedWhenInterrupted(t *testing.T) {
	for _, fault := range []string{"kill:all", "power", "wipe:leader", "restart", "pause:all", "partition", "slow", "loss", "fsync", "full", "promote"} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, fakecluster.Options{}, 3)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			_, err := stage(ctx, t, c, strike(fault, 2*time.Second, time.Hour), strike("kill", 30*time.Minute, time.Second))
			require.NoError(t, err)
			require.Empty(t, c.Hurt(), fault)
			require.Equal(t, 5*time.Second, time.Since(start))
		})
	}
}

// An error of one fault ends the others, healed.
func TestErrorHealsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{BootErr: func(harness.NodeID) error { return errors.New("no engine") }}, 3)
		h, err := stage(t.Context(), t, c, strike("pause:leader", time.Second, time.Hour), strike("kill", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "no engine")
		require.NotContains(t, strings.Join(c.Hurt(), " "), "pause")
		require.Contains(t, strings.Join(ops(h), "\n"), "heal pause:leader n1")
	})
}

// A node that ends by itself is the system's doing: recorded, and no error.
func TestNodeThatRefusesToStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{BootErr: func(harness.NodeID) error {
			return errors.Join(harness.ErrNodeExited, errors.New("log.0 is damaged at 4711"))
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("kill:leader", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, harness.Faults(h)[0].Effect, "n1 did not come back")
		require.Contains(t, harness.Faults(h)[0].Effect, "damaged at 4711")
	})
}

// broken is a cluster whose network panics.
type broken struct{ *fakecluster.Cluster }

func (broken) Shape(context.Context, []harness.Rule) (harness.Undo, error) { panic("wires crossed") }

// Pause is called for several nodes at once, each in a goroutine of its own.
func (b broken) Pause(ctx context.Context, n harness.NodeID) (harness.Undo, error) {
	if n == "n2" {
		panic("frozen stiff")
	}
	return b.Cluster.Pause(ctx, n)
}

func TestPanicHealsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		_, err := stage(t.Context(), t, broken{c}, strike("kill:leader", time.Second, time.Hour), strike("slow", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "wires crossed")
		require.Empty(t, c.Hurt())
	})
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		_, err := stage(t.Context(), t, broken{c}, strike("kill:leader", time.Second, time.Hour), strike("pause:all", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "n2 panicked: frozen stiff")
		require.Empty(t, c.Hurt())
	})
}

// A fault that did nothing says so.
func TestNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := stage(t.Context(), t, started(t, fakecluster.Options{Idle: true}, 3), strike("slow", time.Second, time.Second))
		require.NoError(t, err)
		require.Empty(t, harness.Faults(h)[0].Effect)
		require.Equal(t, "nothing happened", harness.Faults(h)[0].Err)
	})
}

// With copies=2 of 2, the follower of a wiped leader has everything, so its promote is safe, and it comes before the node's return.
func TestWipedLeaderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Copies: 2}, 2)
		h, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, 2*time.Second), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		require.Equal(t, []string{"start", "wipe n1", "promote 0 n2 safe=true", "boot n1"}, c.Calls()[:4])
		require.Equal(t, harness.NodeID("n2"), c.Leader(0))
		require.Contains(t, ops(h), "note promote n2 (epoch 2, leader n2, safe)")
		require.Contains(t, ops(h), "note caught-up n1")
		f := contract.FactsOf(h)
		require.Len(t, f.Promotions, 1)
		require.True(t, f.Promotions[0].Safe)
		require.Less(t, f.Damages[0].Until, int64(10*time.Second), "the damage is over when the node has caught up")
	})
}

// The others of the group may be frozen or down when a wiped leader is due back: it waits for one of them, which is promoted first. Whoever was wiped without
// leading leaves the leader alone, be it frozen.
func TestWipedLeaderWaitsForItsHeir(t *testing.T) {
	for other, calls := range map[string][]string{ // nobody leads by then: one is all that is up
		"pause": {"start", "wipe n1", "pause n2 on", "pause n2 off", "promote 0 n2 safe=true", "boot n1"},
		"kill":  {"start", "wipe n1", "kill n2", "boot n2", "promote 0 n2 safe=true", "boot n1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, fakecluster.Options{Copies: 2}, 2)
			_, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, 2*time.Second), strike(other, 1500*time.Millisecond, 7*time.Second))
			require.NoError(t, err)
			require.Equal(t, calls, c.Calls())
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Copies: 2}, 3)
		_, err := stage(t.Context(), t, c, strike("wipe:follower", time.Second, 2*time.Second), strike("pause:leader", 1500*time.Millisecond, 7*time.Second))
		require.NoError(t, err)
		require.NotContains(t, strings.Join(c.Calls(), "\n"), "promote")
	})
}

// When all that is left of a group is empty, somebody leads all the same, and the topics are made again.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
			s.Role = harness.RoleJoining
			return s
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("wipe:majority", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, harness.Faults(h)[0].Effect, "group 0 promoted")
		require.Equal(t, "topic log 1", c.Calls()[len(c.Calls())-1])
	})
}

// Who has lost every disk of a group has lost its topics: an operator makes them again.
func TestTopicsAreMadeAgain(t *testing.T) {
	for fault, sizes := range map[string][]int{"wipe:all": {3}, "wipe": {1}, "wipe:majority": {1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, fakecluster.Options{}, sizes...)
			h, err := stage(t.Context(), t, c, strike(fault, time.Second, time.Second))
			require.NoError(t, err)
			require.Equal(t, "topic log 1", c.Calls()[len(c.Calls())-1])
			require.Contains(t, harness.Faults(h)[0].Effect, "topics made again")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		_, err := stage(t.Context(), t, c, strike("wipe:majority", time.Second, time.Second))
		require.NoError(t, err)
		require.NotContains(t, c.Calls(), "topic log 1")
	})
	synctest.Test(t, func(t *testing.T) { // not without a node that is missing: it waits for somebody to start it, not for topics
		c := started(t, fakecluster.Options{BootErr: func(n harness.NodeID) error {
			if n == "n3" {
				return harness.ErrNodeExited
			}
			return nil
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("wipe:all", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, harness.Faults(h)[0].Effect, "n3 did not come back")
		require.NotContains(t, c.Calls(), "topic log 1")
	})
}

// Where a safe promote might still be had, it is tried for a while; then it is forced, and the history says so.
func TestForcedPromoteIsRecorded(t *testing.T) {
	forced := 0
	for pick := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, fakecluster.Options{Copies: 2}, 3)
			s := strike("wipe:majority", time.Second, time.Second)
			s.Pick = pick
			h, err := stage(t.Context(), t, c, s)
			require.NoError(t, err)
			if c.Leader(0) == "n1" {
				return // the leader was not among the victims
			}
			forced++
			refused := 0
			for _, call := range c.Calls() {
				if call == "promote 0 refused" {
					refused++
				}
			}
			require.Greater(t, refused, 3)
			require.Contains(t, strings.Join(ops(h), "\n"), "forced)")
			require.False(t, contract.FactsOf(h).Promotions[0].Safe)
		})
	}
	require.Positive(t, forced)
}

// No second node of a group is wiped until the first has caught up, or while another is down.
func TestWipeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var joined atomic.Bool
		c := started(t, fakecluster.Options{Copies: 2, Unwell: func(s harness.NodeState) harness.NodeState {
			if s.Node == "n1" && !joined.Load() {
				s.Role, s.CaughtUp = harness.RoleJoining, false
			}
			return s
		}}, 3)
		time.AfterFunc(9*time.Second, func() { joined.Store(true) })
		h, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, time.Second), strike("wipe:leader", 4*time.Second, time.Second), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		recs := harness.Faults(h)
		require.NotEmpty(t, recs[1].Effect)
		require.GreaterOrEqual(t, recs[1].AtMS, int64(9000))
	})
	synctest.Test(t, func(t *testing.T) { // it never comes to that: the strike is recorded as missed, with the reason
		c := started(t, fakecluster.Options{Copies: 2}, 2)
		h, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 20*time.Second), strike("wipe:leader", 3*time.Second, time.Second))
		require.NoError(t, err)
		recs := harness.Faults(h)
		require.Equal(t, "wipe", recs[1].Name)
		require.Empty(t, recs[1].Effect)
		require.Contains(t, recs[1].Err, "n2 of the same group is down")
		require.NotContains(t, c.Calls(), "wipe n1")
		require.Equal(t, recs[1].AtMS, recs[1].HealedMS)
	})
	synctest.Test(t, func(t *testing.T) { // unless all are asked for
		c := started(t, fakecluster.Options{Copies: 2}, 2)
		_, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 20*time.Second), strike("wipe:all", 3*time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, c.Calls(), "wipe n1")
	})
}

// A bare promote never forces: while it is not safe it is tried again, and then has no effect.
func TestBarePromoteNeverForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 2)
		h, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 10*time.Second), strike("promote", 2*time.Second, 2*time.Second))
		require.NoError(t, err)
		rec := harness.Faults(h)[1]
		require.Empty(t, rec.Effect)
		require.Contains(t, rec.Err, "no promote")
		require.Empty(t, contract.FactsOf(h).Promotions)
	})
	synctest.Test(t, func(t *testing.T) { // it succeeds once it is safe
		c := started(t, fakecluster.Options{}, 2)
		h, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 2*time.Second), strike("promote", 2*time.Second, 3*time.Second))
		require.NoError(t, err)
		require.Contains(t, harness.Faults(h)[1].Effect, "safe")
	})
}

// A follower that is asked for by role is forced where it has to be.
func TestPromoteFollowerForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Lag: 3}, 2)
		client, err := c.Open(t.Context(), 0)
		require.NoError(t, err)
		op := histories.New(histories.Invoke, 0, histories.Send)
		_, err = client.Invoke(t.Context(), op)
		require.NoError(t, err)
		h, err := stage(t.Context(), t, c, strike("promote:follower", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, ops(h), "note promote n2 (epoch 2, leader n2, forced)")
	})
}

// A disk that a node has given up is replaced by an operator, who restarts the node.
func TestFailedNodeIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
			if s.Node == "n2" {
				s.Role = harness.RoleFailed
			}
			return s
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("fsync:all", time.Second, 2*time.Second))
		require.NoError(t, err)
		require.Equal(t, []string{"shutdown n2", "boot n2"}, c.Calls()[len(c.Calls())-2:], "one that runs on is stopped first")
		require.Contains(t, harness.Faults(h)[0].Effect, "restarted n2")
	})
	synctest.Test(t, func(t *testing.T) { // one that has ended by itself is only started
		c := started(t, fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
			if s.Node == "n2" {
				s.Up, s.Role = false, harness.RoleFailed
			}
			return s
		}}, 3)
		_, err := c.Kill(t.Context(), "n2")
		require.NoError(t, err)
		_, err = stage(t.Context(), t, c, strike("full:all", time.Second, 2*time.Second))
		require.NoError(t, err)
		require.Equal(t, "boot n2", c.Calls()[len(c.Calls())-1])
		require.NotContains(t, c.Calls(), "shutdown n2")
	})
}

// plain has no ability beyond Cluster's.
type plain struct{ harness.Cluster }

// A node that another strike keeps down is that strike's to start: two that start it would be an error of the harness.
func TestFailedNodeThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
			if !s.Up {
				s.Role = harness.RoleFailed
			}
			return s
		}}
		c := started(t, down, 1)
		h, err := stage(t.Context(), t, c, strike("fsync", time.Second, 3*time.Second), strike("power", 2*time.Second, 4*time.Second))
		require.NoError(t, err)
		require.Equal(t, 1, boots(c), "%v", c.Calls())
		require.NotContains(t, strings.Join(ops(h), "\n"), "restarted")
		require.NoError(t, c.Stop(t.Context()))
	})
}

func boots(c *fakecluster.Cluster) int {
	n := 0
	for _, call := range c.Calls() {
		if strings.HasPrefix(call, "boot ") {
			n++
		}
	}
	return n
}

// What an environment cannot do is refused before the run, with a sentence.
func TestRefusedBeforeTheRun(t *testing.T) {
	three := fakecluster.New(fakecluster.Options{}, 3)
	for _, info := range nemesis.List() {
		faults, err := nemesis.Faults(info.Name)
		require.NoError(t, err)
		require.NoError(t, faults[0].Supports(three), info.Name)
		err = faults[0].Supports(plain{three})
		require.ErrorIs(t, err, harness.ErrUnsupported, info.Name)
		require.ErrorContains(t, err, "fault "+info.Name+": this environment cannot")
	}
	for fault, sizes := range map[string][]int{
		"kill:minority":    {2},
		"kill:follower":    {1, 1},
		"partition":        {1, 1},
		"slow":             {1},
		"partition/ring":   {3},
		"power:minority":   {1, 2},
		"promote:follower": {1},
	} {
		faults, err := nemesis.Faults(fault)
		require.NoError(t, err)
		require.Error(t, faults[0].Supports(fakecluster.New(fakecluster.Options{}, sizes...)), fault)
		require.NoError(t, faults[0].Supports(fakecluster.New(fakecluster.Options{}, 5)), fault)
	}
}
