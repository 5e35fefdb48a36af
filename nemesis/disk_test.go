package nemesis_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
)

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
		require.Contains(t, strikesOf(h)[0].Effect, "restarted n2")
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

// A node that another strike keeps down is started by that strike only: starting it twice would be
// an error of the harness.
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
