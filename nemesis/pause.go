package nemesis

import (
	"context"

	"github.com/assay-project/assay/harness"
)

// pause freezes processes. The rest of the world goes on, and finds them in their old state when they thaw.
type pause struct {
	victims
}

var _ harness.Fault = (*pause)(nil)

func newPause(s Spec, w *ward) harness.Fault { return &pause{victims{s, w}} }

// Supports implements harness.Fault.
func (f *pause) Supports(c harness.Cluster) error {
	if _, ok := c.(harness.Pauser); !ok {
		return unsupported(f.spec, "freeze a process")
	}
	return supportsRole(c, f.spec)
}

// Inject implements harness.Fault.
func (f *pause) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	p, ok := s.Cluster.(harness.Pauser)
	if !ok {
		return nil, unsupported(f.spec, "freeze a process")
	}
	return lasting(ctx, nodes, p.Pause)
}
