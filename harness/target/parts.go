package target

import (
	"context"
	"fmt"
	"slices"

	"github.com/assay-project/assay/harness"
)

// Parts are the parts of a cluster that an environment makes of a system, for harness.Composed: the
// environment's own abilities, and those of the system's operator. down answers for nodes of which
// the environment knows that they do not run, so that they need not be asked; ok is false for the
// others.
func Parts(env any, s *System, down func(n harness.NodeID) (state harness.NodeState, ok bool)) []any {
	parts := []any{env}
	if g, ok := s.Operator.(harness.Groups); ok {
		parts = append(parts, groups{g, s.Nodes, down})
	}
	if s.Operator != nil {
		parts = append(parts, s.Operator)
	}
	return parts
}

// groups is an operator's view of the groups that does not ask nodes that are down.
type groups struct {
	operator harness.Groups
	nodes    []harness.NodeID
	down     func(n harness.NodeID) (harness.NodeState, bool)
}

var _ harness.Groups = groups{}

// Groups implements harness.Groups.
func (g groups) Groups() [][]harness.NodeID { return g.operator.Groups() }

// State implements harness.Groups.
func (g groups) State(ctx context.Context, group int, n harness.NodeID) (harness.NodeState, error) {
	if !slices.Contains(g.nodes, n) {
		return harness.NodeState{}, fmt.Errorf("there is no node %q; there are %v", n, g.nodes)
	}
	if s, ok := g.known(group, n); ok {
		return s, nil
	}
	s, err := g.operator.State(ctx, group, n)
	if err == nil && s.Up {
		return s, nil
	}
	if s, ok := g.known(group, n); ok { // it ended while it was asked
		return s, nil
	}
	return s, err
}

// known returns the state of a node that is known to be down.
func (g groups) known(group int, n harness.NodeID) (harness.NodeState, bool) {
	s, ok := g.down(n)
	s.Node, s.Group = n, group
	return s, ok
}
