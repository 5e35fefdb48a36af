package nemesis_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

// lateAnswers is a cluster whose answers of one moment arrive half a second late.
type lateAnswers struct {
	*fakecluster.Cluster
	late func() bool
}

func (c lateAnswers) State(ctx context.Context, group int, n harness.NodeID) (harness.NodeState, error) {
	s, err := c.Cluster.State(ctx, group, n)
	if c.late() {
		time.Sleep(500 * time.Millisecond) // in the bubble
	}
	return s, err
}

// An answer that is older than a strike does not tell that the node has caught up after it.
func TestCaughtUpIsNotOlderThanTheStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := lateAnswers{started(t, fakecluster.Options{}, 3), func() bool {
			at := time.Since(start)
			return at > 2100*time.Millisecond && at < 2300*time.Millisecond
		}}
		h, err := stage(t.Context(), t, c,
			strike("power", time.Second, time.Second), strike("power", 2400*time.Millisecond, time.Second), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		strikes := strikesOf(h)
		require.Equal(t, strikes[0].Nodes, strikes[1].Nodes)
		require.Greater(t, caughtUpAt(t, h, strikes[0].Nodes[0]), 3400*time.Millisecond)
		require.Len(t, notesOf(h, histories.NoteCaughtUp), 2)
	})
}

// A node that is damaged twice has to reach what its leader had after the second strike.
func TestCaughtUpAfterTheLastStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ends := func(s *harness.NodeState, before5, before20, after int64) {
			switch at := time.Since(start); {
			case at < 5*time.Second:
				s.End = before5
			case at < 20*time.Second:
				s.End = before20
			default:
				s.End = after
			}
		}
		c := started(t, fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
			s.CaughtUp = false // by the load
			if s.Role == harness.RoleLeader {
				ends(&s, 100, 200, 200)
			} else {
				ends(&s, 0, 150, 200)
			}
			return s
		}}, 2)
		h, err := stage(t.Context(), t, c,
			strike("power:follower", time.Second, time.Second), strike("power:follower", 4*time.Second, time.Second), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		require.GreaterOrEqual(t, caughtUpAt(t, h, "n2"), 20*time.Second)
	})
}

// panicky is a cluster that panics when it is asked for its groups, from some moment on.
type panicky struct {
	*fakecluster.Cluster
	from time.Time
}

func (c panicky) Groups() [][]harness.NodeID {
	if time.Now().After(c.from) {
		panic("no such shard")
	}
	return c.Cluster.Groups()
}

// A panic while the nemesis waits is an error of the run, and everything is healed.
func TestPanicWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := panicky{started(t, fakecluster.Options{}, 3), time.Now().Add(2100 * time.Millisecond)}
		_, err := stage(t.Context(), t, c, strike("power", time.Second, time.Second), strike("pause", 1500*time.Millisecond, 3*time.Second))
		require.ErrorContains(t, err, "has caught up panicked: no such shard")
		require.Empty(t, c.Hurt())
	})
}
