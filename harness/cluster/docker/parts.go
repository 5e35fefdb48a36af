package docker

import (
	"fmt"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// Parts implements harness.Composed: what containers can do, and what an operator of the target
// can.
func (c *Cluster) Parts() []any { return target.Parts(c, c.sys, c.down) }

// down answers for a node that is known to be down, so that nobody waits for it. The role of one
// that ended by itself is harness.RoleFailed.
func (c *Cluster) down(id harness.NodeID) (harness.NodeState, bool) {
	n, err := c.node(id)
	if err != nil {
		return harness.NodeState{}, false
	}
	end := n.down.Load()
	if end == nil {
		return harness.NodeState{}, false
	}
	s := harness.NodeState{Detail: fmt.Sprintf("node %s is down: %s", id, end.why)}
	if end.byItself {
		s.Role = harness.RoleFailed
	}
	return s, true
}
