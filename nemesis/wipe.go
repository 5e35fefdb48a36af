package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assay-project/assay/harness"
)

// wipe deletes disks. A node returns empty, after somebody else of its group was promoted if it led: an empty leader must never lead on.
//
// Unless majority or all asks for it, a wipe waits while another node of the group is down, or has not caught up from a damage of its own: one operator's mistake at a
// time is what replication is for.
type wipe struct {
	spec Spec
	ward *ward
}

var _ harness.Fault = (*wipe)(nil)

func newWipe(s Spec, w *ward) harness.Fault { return &wipe{s, w} }

// Name implements harness.Fault.
func (f *wipe) Name() string { return f.spec.Text }

// Supports implements harness.Fault.
func (f *wipe) Supports(c harness.Cluster) error {
	if _, ok := c.(harness.Wiper); !ok {
		return unsupported(f.spec, "delete a node's disk")
	}
	if _, ok := c.(harness.Killer); !ok {
		return unsupported(f.spec, "start a node again")
	}
	return supportsRole(c, f.spec)
}

// Draw implements harness.Fault.
func (f *wipe) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	nodes, err := draw(ctx, c, at, f.spec.Role, func(n harness.NodeID) bool { return !f.ward.isDown(n) })
	if err != nil || f.spec.Role == RoleMajority || f.spec.Role == RoleAll {
		return nodes, err
	}
	for _, n := range nodes {
		_, members := groupOf(c, n)
		for _, m := range members {
			if !slices.Contains(nodes, m) && f.ward.isHurt(m) {
				return nil, fmt.Errorf("%w: %s of the same group is down or has not caught up", harness.ErrNotNow, m)
			}
		}
	}
	return nodes, nil
}

// Inject implements harness.Fault.
func (f *wipe) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	w, ok := s.Cluster.(harness.Wiper)
	if !ok {
		return nil, unsupported(f.spec, "delete a node's disk")
	}
	effect, err := each(nodes, func(n harness.NodeID) (harness.Effect, error) { return w.Wipe(ctx, n) })
	injected := ctx
	return func(ctx context.Context) (harness.Effect, error) {
		var perr error
		if injected.Err() == nil { // else the run is being interrupted, and is not to be made to wait
			var said string
			said, perr = promoteOrphans(ctx, s, nodes)
			effect.Text += said
		}
		refused, err := boot(ctx, s.Cluster, nodes)
		if refused != "" {
			effect.Text += "; " + refused
		}
		return effect, errors.Join(perr, err)
	}, err
}
