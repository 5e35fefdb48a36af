package harness_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Parts of a composed cluster.
type (
	killPart  struct{ harness.Killer }
	groupPart struct{ name string }
	composed  struct {
		registers
		harness.Pauser // an ability of its own type
		parts          []any
	}
	listed struct{ composed }
)

func (p groupPart) Groups() [][]harness.NodeID { return [][]harness.NodeID{{harness.NodeID(p.name)}} }

func (groupPart) State(context.Context, int, harness.NodeID) (harness.NodeState, error) {
	return harness.NodeState{}, nil
}

func (c *composed) Parts() []any { return c.parts }

func (c *listed) Parts() []any { return append(slices.Clone(c.parts), c) }

// An ability of a composed cluster is that of the first of its parts that has it. Its own type says
// nothing, unless it lists itself.
func TestCan(t *testing.T) {
	c := &composed{parts: []any{killPart{}, groupPart{name: "a"}, nil, "text", groupPart{name: "b"}}}
	k, ok := harness.Can[harness.Killer](c)
	require.True(t, ok)
	require.Equal(t, killPart{}, k)
	g, ok := harness.Can[harness.Groups](c)
	require.True(t, ok)
	require.Equal(t, groupPart{name: "a"}, g, "the first one counts")
	require.Equal(t, [][]harness.NodeID{{"a"}}, harness.GroupsOf(c))
	p, ok := harness.Can[harness.Pauser](c)
	require.False(t, ok, "the cluster's own type is not asked")
	require.Nil(t, p)
	_, ok = harness.Can[harness.Promoter](c)
	require.False(t, ok)

	l := &listed{composed{parts: []any{killPart{}}}}
	p, ok = harness.Can[harness.Pauser](l)
	require.True(t, ok, "it lists itself")
	require.Same(t, l, p)
	require.Equal(t, [][]harness.NodeID{{"r1"}}, harness.GroupsOf(l), "who knows no groups is one")

	plain := struct {
		*registers
		killPart
	}{}
	_, ok = harness.Can[harness.Killer](plain)
	require.True(t, ok, "a cluster that is not composed is asked itself")
	_, ok = harness.Can[harness.Pauser](plain)
	require.False(t, ok)
	none := &composed{}
	_, ok = harness.Can[harness.Composed](none)
	require.False(t, ok)
}

// perPartition are three groups of the same three nodes, each led by another of them.
type perPartition struct {
	mu    sync.Mutex // guards asked
	asked []string
}

func (*perPartition) Groups() [][]harness.NodeID {
	all := []harness.NodeID{"r1", "r2", "r3"}
	return [][]harness.NodeID{all, all, all}
}

func (p *perPartition) State(_ context.Context, group int, n harness.NodeID) (harness.NodeState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, fmt.Sprintf("%s in %d", n, group))
	s := harness.NodeState{Up: true, Role: harness.RoleFollower, CaughtUp: true, Epoch: int64(10 + group)}
	if string(n) == fmt.Sprintf("r%d", group+1) {
		s.Role, s.Serving = harness.RoleLeader, true
	}
	return s, nil
}

// A node may be in several groups, with another role in each: the engine asks for each by its
// group, over the parts of a composed cluster too.
func TestNodesInSeveralGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		groups := &perPartition{}
		c := &composed{registers: registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }}, parts: []any{groups}}
		var finals []harness.FinalRead
		for part := range int32(4) {
			op := asking(read, int64(part))
			op.Part = part
			finals = append(finals, harness.FinalRead{Op: op})
		}
		r := engine(t, c, &script{functions: registerFunctions(), finals: [][]harness.FinalRead{finals}})
		require.NoError(t, r.err)
		require.True(t, r.ex.Recovered)
		e := histories.EventsOf(r.h)
		require.Equal(t, map[int][]string{0: {"r1", "r2", "r3"}, 1: {"r2", "r1", "r3"}, 2: {"r3", "r1", "r2"}}, e.Groups(), "the leader first")
		require.Equal(t, []string{"r1", "r2", "r3", "r1"}, []string{e.Leader(0), e.Leader(1), e.Leader(2), e.Leader(3)})
		require.Subset(t, groups.asked, []string{"r1 in 0", "r2 in 0", "r1 in 1", "r3 in 2"})
		states, err := harness.States(t.Context(), groups, 2, []harness.NodeID{"r3", "r1"})
		require.NoError(t, err)
		require.Equal(t, []harness.NodeState{
			{Node: "r3", Group: 2, Up: true, Role: harness.RoleLeader, Serving: true, CaughtUp: true, Epoch: 12},
			{Node: "r1", Group: 2, Up: true, Role: harness.RoleFollower, CaughtUp: true, Epoch: 12},
		}, states)
	})
}

// A cluster that tells nothing of its groups is not waited for, and that is noted.
func TestRecoveryOfAClusterThatTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }}
		r := engine(t, c, &script{functions: registerFunctions()})
		require.NoError(t, r.err)
		require.True(t, r.ex.Recovered)
		e := histories.EventsOf(r.h)
		require.Empty(t, e.Groups())
		require.Empty(t, e.Recovery().Err)
		require.Contains(t, notes(r.h, histories.NoteRecovery)[0].Effect, "not measured")
	})
}
