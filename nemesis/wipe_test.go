package nemesis_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
)

// With copies=2 of 2, the follower of a wiped leader has everything. So its promote is safe, and it
// comes before the node's return.
func TestWipedLeaderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Copies: 2}, 2)
		h, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, 2*time.Second), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		require.Equal(t, []string{"start", "wipe n1", "promote 0 n2 safe=true", "boot n1"}, c.Calls()[:4])
		require.Equal(t, harness.NodeID("n2"), c.Leader(0))
		require.Contains(t, ops(h), "note promote n2 (epoch 2, leader n2, safe)")
		require.Contains(t, ops(h), "note caught-up n1")
		promotes := promotesOf(h)
		require.Len(t, promotes, 1)
		require.True(t, promotes[0].Promote.Safe)
		require.Less(t, caughtUpAt(t, h, "n1"), 10*time.Second)
	})
}

// The others of the group may be frozen or down when a wiped leader is due back. It waits for one
// of them, which is promoted first. If the wiped node did not lead, nobody is promoted, even while
// the leader is frozen.
func TestWipedLeaderWaitsForAnother(t *testing.T) {
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

// When all that is left of a group is empty, somebody leads all the same, and the topics are made
// again.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
			s.Role = harness.RoleJoining
			return s
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("wipe:majority", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, strikesOf(h)[0].Effect, "group 0 promoted")
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
			require.Contains(t, strikesOf(h)[0].Effect, "topics made again")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		_, err := stage(t.Context(), t, c, strike("wipe:majority", time.Second, time.Second))
		require.NoError(t, err)
		require.NotContains(t, c.Calls(), "topic log 1")
	})
	// Not while a node is missing: somebody has to start it first.
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{BootErr: func(n harness.NodeID) error {
			if n == "n3" {
				return harness.ErrNodeExited
			}
			return nil
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("wipe:all", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, strikesOf(h)[0].Effect, "n3 did not come back")
		require.NotContains(t, c.Calls(), "topic log 1")
	})
}

// Where a safe promote might still be had, it is tried for a while. Then it is forced, and the
// history says so.
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
			require.False(t, promotesOf(h)[0].Promote.Safe)
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
		recs := strikesOf(h)
		require.NotEmpty(t, recs[1].Effect)
		require.GreaterOrEqual(t, recs[1].From, int64(9*time.Second))
	})
	// When it never comes to that, the strike is recorded as missed, with the reason.
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Copies: 2}, 2)
		h, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 20*time.Second), strike("wipe:leader", 3*time.Second, time.Second))
		require.NoError(t, err)
		recs := strikesOf(h)
		require.Equal(t, "wipe", recs[1].Name)
		require.Empty(t, recs[1].Effect)
		require.Contains(t, recs[1].Err, "n2 of the same group is down")
		require.NotContains(t, c.Calls(), "wipe n1")
		require.Equal(t, recs[1].From, recs[1].To)
	})
	synctest.Test(t, func(t *testing.T) { // unless all are asked for
		c := started(t, fakecluster.Options{Copies: 2}, 2)
		_, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 20*time.Second), strike("wipe:all", 3*time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, c.Calls(), "wipe n1")
	})
}
