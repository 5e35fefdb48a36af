package nemesis

import (
	"context"

	"github.com/assay-project/assay/harness"
)

// victims is what most faults have in common: how they are written, and that they strike nodes of their role that no other strike keeps down.
type victims struct {
	spec Spec
	ward *ward
}

// Name implements harness.Fault.
func (f *victims) Name() string { return f.spec.Text }

// Draw implements harness.Fault.
func (f *victims) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	return draw(ctx, c, at, f.spec.Role, func(n harness.NodeID) bool { return !f.ward.isDown(n) })
}
