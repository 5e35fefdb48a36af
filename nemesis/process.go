package nemesis

import (
	"context"
	"errors"
	"fmt"

	"github.com/assay-project/assay/harness"
)

// stop ends processes in one way or another; the heal starts them again.
type stop struct {
	victims
	ability string
	// end returns how c ends a process; ok false: it cannot.
	end func(c harness.Cluster) (do func(context.Context, harness.NodeID) (harness.Effect, error), ok bool)
}

var _ harness.Fault = (*stop)(nil)

// newKill is SIGKILL. What the process wrote is in the page cache, which is the machine's.
func newKill(s Spec, w *ward) harness.Fault {
	return &stop{victims{s, w}, "kill a process", func(c harness.Cluster) (func(context.Context, harness.NodeID) (harness.Effect, error), bool) {
		k, ok := c.(harness.Killer)
		if !ok {
			return nil, false
		}
		return k.Kill, true
	}}
}

// newRestart is SIGTERM: the process may finish what it does.
func newRestart(s Spec, w *ward) harness.Fault {
	return &stop{victims{s, w}, "stop a process", func(c harness.Cluster) (func(context.Context, harness.NodeID) (harness.Effect, error), bool) {
		k, ok := c.(harness.Killer)
		if !ok {
			return nil, false
		}
		return k.Shutdown, true
	}}
}

// newPower is a power cut: what was not synced is gone.
func newPower(s Spec, w *ward) harness.Fault {
	return &stop{victims{s, w}, "cut the power, so that unsynced bytes are lost", func(c harness.Cluster) (func(context.Context, harness.NodeID) (harness.Effect, error), bool) {
		p, ok := c.(harness.PowerCutter)
		if !ok {
			return nil, false
		}
		return p.CutPower, true
	}}
}

// Supports implements harness.Fault.
func (f *stop) Supports(c harness.Cluster) error {
	if _, ok := f.end(c); !ok {
		return unsupported(f.spec, f.ability)
	}
	if _, ok := c.(harness.Killer); !ok {
		return unsupported(f.spec, "start a node again")
	}
	return supportsRole(c, f.spec)
}

// Inject implements harness.Fault.
func (f *stop) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	end, ok := f.end(s.Cluster)
	if !ok {
		return nil, unsupported(f.spec, f.ability)
	}
	effect, err := each(nodes, func(n harness.NodeID) (harness.Effect, error) { return end(ctx, n) })
	return func(ctx context.Context) (harness.Effect, error) {
		refused, err := boot(ctx, s.Cluster, nodes)
		effect.Text = and(effect.Text, refused)
		return effect, err
	}, err
}

// boot starts nodes. A node that starts and ends by itself is what the system does, not an error of the harness: refused says so.
func boot(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) (refused string, err error) {
	k, ok := c.(harness.Killer)
	if !ok {
		return "", fmt.Errorf("starting nodes again: %w", harness.ErrUnsupported)
	}
	e, err := each(nodes, func(n harness.NodeID) (harness.Effect, error) {
		err := k.Boot(ctx, n)
		if errors.Is(err, harness.ErrNodeExited) {
			return harness.Effect{Text: fmt.Sprintf("%s did not come back: %v", n, err)}, nil
		}
		return harness.Effect{}, err
	})
	return e.Text, err
}
