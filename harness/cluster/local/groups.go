// What the target's operator can do, beside what processes can do. States of nodes that are down
// are answered here.

package local

import (
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// Parts implements harness.Composed: the abilities of processes, and those of the target's
// operator.
func (c *Cluster) Parts() []any { return target.Parts(c, c.sys, c.down) }

// down answers for a node that is known to be down. The role of one that ended by itself is
// harness.RoleFailed.
func (c *Cluster) down(id harness.NodeID) (harness.NodeState, bool) {
	n, err := c.node(id)
	if err != nil {
		return harness.NodeState{}, false
	}
	s := n.status()
	state := harness.NodeState{Detail: s.why}
	if s.failed {
		state.Role = harness.RoleFailed
	}
	return state, s.down
}
