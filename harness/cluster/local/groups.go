// What the target's operator can do, beside what processes can do. States of nodes that are down are
// answered here.

package local

import (
	"context"

	"github.com/assay-project/assay/harness"
)

// compose lists the values that have the cluster's abilities: the processes' first, then those of
// the target's operator.
func (c *Cluster) compose() []any {
	parts := []any{c}
	if g, ok := c.sys.Operator.(harness.Groups); ok {
		parts = append(parts, &groups{of: g, c: c})
	}
	if c.sys.Operator != nil {
		parts = append(parts, c.sys.Operator)
	}
	return parts
}

// groups are the operator's, but for nodes that are down: what those would answer is known without
// asking.
type groups struct {
	of harness.Groups
	c  *Cluster
}

var _ harness.Groups = (*groups)(nil)

// Groups implements harness.Groups.
func (g *groups) Groups() [][]harness.NodeID { return g.of.Groups() }

// State implements harness.Groups.
func (g *groups) State(ctx context.Context, group int, id harness.NodeID) (harness.NodeState, error) {
	n, err := g.c.node(id)
	if err != nil {
		return harness.NodeState{}, err
	}
	if s := n.status(); s.down {
		return s.state(group, id), nil
	}
	state, err := g.of.State(ctx, group, id)
	if s := n.status(); s.down { // meanwhile
		return s.state(group, id), nil
	}
	return state, err
}

// state is what a node that is down is said to be.
func (s status) state(group int, id harness.NodeID) harness.NodeState {
	state := harness.NodeState{Node: id, Group: group, Detail: s.why}
	if s.failed {
		state.Role = harness.RoleFailed
	}
	return state
}
