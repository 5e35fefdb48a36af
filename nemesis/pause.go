package nemesis

import (
	"context"

	"github.com/assay-project/assay/harness"
)

// pause freezes processes. The rest of the world goes on, and finds them in their old state when
// they thaw.
type pause struct {
	Victims
}

var _ harness.Fault = (*pause)(nil)

func newPause(s Spec, n *Nodes) harness.Fault { return &pause{Victims{s, n}} }

const pauseAbility = "freeze a process"

// Supports implements harness.Fault.
func (f *pause) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Pauser](c); !ok {
		return Unsupported(f.Spec, pauseAbility)
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (f *pause) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	p, ok := harness.Can[harness.Pauser](s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, pauseAbility)
	}
	return InjectEach(ctx, nodes, p.Pause)
}
