package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-project/assay/harness"
)

// restoreTime bounds the making of topics after a group has lost every disk.
const restoreTime = 20 * time.Second

// wipe deletes disks. A node returns empty, after somebody else of its group was promoted if it led: an empty leader must never lead on.
//
// Unless majority or all asks for it, a wipe waits while another node of the group is down, or has not caught up from a damage of its own: one operator's mistake at a
// time is what replication is for.
type wipe struct {
	victims
}

var _ harness.Fault = (*wipe)(nil)

func newWipe(s Spec, w *ward) harness.Fault { return &wipe{victims{s, w}} }

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
	nodes, err := f.victims.Draw(ctx, c, at)
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
	groups, err := bereaved(ctx, s.Cluster, nodes)
	if err != nil {
		return nil, err
	}
	effect, err := each(nodes, func(n harness.NodeID) (harness.Effect, error) { return w.Wipe(ctx, n) })
	injected := ctx
	return func(ctx context.Context) (harness.Effect, error) {
		interrupted := injected.Err() != nil // then the run is not to be made to wait
		x := succession{stage: s, waits: injected, nodes: nodes}
		var perr error
		if !interrupted {
			perr = x.promote(ctx, groups)
			effect.Text = and(effect.Text, x.said)
		}
		refused, err := boot(ctx, s.Cluster, nodes)
		effect.Text = and(effect.Text, refused)
		if !interrupted && refused == "" && s.Restore != nil && (x.empty || wholeGroup(s.Cluster, nodes)) {
			effect.Text = and(effect.Text, restore(ctx, s))
		}
		return effect, errors.Join(perr, err)
	}, err
}

// wholeGroup reports whether nodes are all of a group, so that nobody is left who knows of any topic.
func wholeGroup(c harness.Cluster, nodes []harness.NodeID) bool {
	return slices.ContainsFunc(groupsOf(c), func(members []harness.NodeID) bool {
		return !slices.ContainsFunc(members, func(n harness.NodeID) bool { return !slices.Contains(nodes, n) })
	})
}

// restore makes the topics again, as an operator would who has lost every disk. That it fails is the system's doing and no error.
func restore(ctx context.Context, s harness.Stage) string {
	ctx, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	if err := s.Restore(ctx); err != nil {
		return fmt.Sprintf("the topics could not be made again: %v", err)
	}
	return "topics made again"
}
