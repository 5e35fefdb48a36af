package harness_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

// A cluster that is not well in time is a finding, not an error, and the final reads are tried all
// the same.
func TestRecoveryNotReached(t *testing.T) {
	for says, unwell := range map[string]func(s harness.NodeState) harness.NodeState{
		"group 0: n2 does not answer (gone)": func(s harness.NodeState) harness.NodeState {
			if s.Node == "n2" {
				return harness.NodeState{Node: "n2", Detail: "gone"}
			}
			return s
		},
		"nobody leads":                 func(s harness.NodeState) harness.NodeState { s.Role = harness.RoleFollower; return s },
		"the leader n1 does not serve": func(s harness.NodeState) harness.NodeState { s.Serving = false; return s },
		"n3 (follower) has not caught up": func(s harness.NodeState) harness.NodeState {
			s.CaughtUp = s.Node != "n3"
			return s
		},
		"n3 is refused: ahead": func(s harness.NodeState) harness.NodeState {
			if s.Node == "n3" {
				s.Refused = "ahead"
			}
			return s
		},
		"n2 leads too": func(s harness.NodeState) harness.NodeState {
			if s.Node == "n2" {
				s.Role, s.Epoch = harness.RoleLeader, 0
			}
			return s
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{Unwell: unwell}, 3)
			r := run(t.Context(), t, c, "none", func(x *harness.Test) { x.Recovery = 7 * time.Second })
			require.NoError(t, r.err)
			require.False(t, r.ex.Recovered)
			require.Contains(t, r.ex.Unwell, says)
			note := notes(r.h, histories.NoteRecovery)
			require.Len(t, note, 1)
			require.Contains(t, note[0].Err, says)
			require.Equal(t, 2, count(r.h, histories.Final, histories.OK))
			require.InDelta(t, 27*time.Second, r.took, float64(time.Second))
		})
	}
}

// With divergence permitted, a refused follower is as well as it can be, and so is the leader that
// it keeps from serving.
func TestRecoveryWithDivergence(t *testing.T) {
	refused := func(s harness.NodeState) harness.NodeState {
		if s.Node == "n3" {
			s.Refused, s.CaughtUp = "ahead", false
		}
		return s
	}
	notServing := func(s harness.NodeState) harness.NodeState {
		s = refused(s)
		s.Serving = false
		return s
	}
	asked := 0
	diverge := func(x *harness.Test) {
		x.Divergence = func(h histories.Reader, group int) bool {
			require.Zero(t, group)
			asked++
			require.Len(t, notes(slices.Collect(values(h)), histories.NoteGroup), 1, "it sees what the nemesis did")
			return true
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Unwell: refused}, 3), "none", diverge)
		require.True(t, r.ex.Recovered)
		require.Less(t, r.took, 21*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Unwell: notServing}, 3), "none", diverge)
		require.True(t, r.ex.Recovered)
		require.GreaterOrEqual(t, r.took, 25*time.Second, "only when it stays so")
	})
	require.Equal(t, 2, asked)
}

func values(h histories.Reader) func(func(histories.Op) bool) {
	return func(yield func(histories.Op) bool) {
		for op := range h.Ops() {
			if !yield(*op) {
				return
			}
		}
	}
}

// A final read goes on in chunks, by one process, until the committed end, and is tried again when
// it fails.
func TestFinalReadsInChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		c := fakecluster.New(fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
			if op.F == histories.Final {
				if tries.Add(1)%3 == 0 {
					return op, errors.New("not leader yet")
				}
				op.Msgs = op.Msgs[:min(len(op.Msgs), 100)]
			}
			return op, err
		}}, 3)
		r := run(t.Context(), t, c, "none", nil)
		require.NoError(t, r.err)
		require.Greater(t, count(r.h, histories.Final, histories.OK), 8)
		require.Positive(t, count(r.h, histories.Final, histories.Fail))
		got := make(map[int32]int64)
		for op := range r.h.Ops() {
			if op.F == histories.Final && op.Type == histories.OK {
				require.Equal(t, got[op.Part], op.From)
				got[op.Part] += int64(len(op.Msgs))
			}
		}
		require.EqualValues(t, 1000, got[0]+got[1])
	})
}
