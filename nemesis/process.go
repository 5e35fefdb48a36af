package nemesis

import (
	"context"

	"github.com/assay-project/assay/harness"
)

// endNode ends the process of a node in one way or another.
type endNode func(ctx context.Context, n harness.NodeID) (harness.Effect, error)

// stop ends processes; the heal starts them again.
type stop struct {
	Victims
	ability string
	// end returns how c ends a process. ok is false if it cannot.
	end func(c harness.Cluster) (do endNode, ok bool)
}

var _ harness.Fault = (*stop)(nil)

// newKill is SIGKILL. What the process wrote is in the page cache, which is the machine's.
func newKill(s Spec, n *Nodes) harness.Fault {
	return &stop{Victims{s, n}, "kill a process", func(c harness.Cluster) (endNode, bool) {
		k, ok := harness.Can[harness.Killer](c)
		if !ok {
			return nil, false
		}
		return k.Kill, true
	}}
}

// newRestart is SIGTERM: the process may finish what it does.
func newRestart(s Spec, n *Nodes) harness.Fault {
	return &stop{Victims{s, n}, "stop a process", func(c harness.Cluster) (endNode, bool) {
		k, ok := harness.Can[harness.Killer](c)
		if !ok {
			return nil, false
		}
		return k.Shutdown, true
	}}
}

// newPower is a power cut: what was not synced is gone.
func newPower(s Spec, n *Nodes) harness.Fault {
	return &stop{Victims{s, n}, "cut the power, so that unsynced bytes are lost", func(c harness.Cluster) (endNode, bool) {
		p, ok := harness.Can[harness.PowerCutter](c)
		if !ok {
			return nil, false
		}
		return p.CutPower, true
	}}
}

// Supports implements harness.Fault.
func (f *stop) Supports(c harness.Cluster) error {
	if _, ok := f.end(c); !ok {
		return Unsupported(f.Spec, f.ability)
	}
	if _, ok := harness.Can[harness.Killer](c); !ok {
		return Unsupported(f.Spec, "start a node again")
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (f *stop) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	end, ok := f.end(s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, f.ability)
	}
	effect, err := Each(nodes, func(n harness.NodeID) (harness.Effect, error) { return end(ctx, n) })
	return func(ctx context.Context) (harness.Effect, error) {
		refused, err := Boot(ctx, s.Cluster, nodes)
		effect.Text = and(effect.Text, refused)
		return effect, err
	}, err
}
