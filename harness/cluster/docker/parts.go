package docker

import (
	"context"
	"fmt"

	"github.com/assay-project/assay/harness"
)

// Parts implements harness.Composed: what containers can do, and what an operator of the target can.
func (c *Cluster) Parts() []any {
	parts := []any{c}
	if g, ok := c.sys.Operator.(harness.Groups); ok {
		parts = append(parts, groups{g, c}) // before the operator, whose answer it may replace
	}
	if c.sys.Operator != nil {
		parts = append(parts, c.sys.Operator)
	}
	return parts
}

// groups answers for nodes that are known to be down, so that nobody waits for them, and leaves all others to the target's operator.
type groups struct {
	operator harness.Groups
	c        *Cluster
}

var _ harness.Groups = groups{}

// Groups implements harness.Groups.
func (g groups) Groups() [][]harness.NodeID { return g.operator.Groups() }

// State implements harness.Groups. The role of a node that ended by itself is harness.RoleFailed.
func (g groups) State(ctx context.Context, group int, id harness.NodeID) (harness.NodeState, error) {
	if n, err := g.c.node(id); err == nil {
		if end := n.down.Load(); end != nil {
			s := harness.NodeState{Node: id, Group: group, Detail: fmt.Sprintf("node %s is down: %s", id, end.why)}
			if end.byItself {
				s.Role = harness.RoleFailed
			}
			return s, nil
		}
	}
	return g.operator.State(ctx, group, id)
}
