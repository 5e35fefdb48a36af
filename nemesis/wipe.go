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

// wipe deletes disks. A node returns empty. If it led, somebody else of its group is promoted
// first: an empty leader must never lead on.
//
// Unless majority or all asks for it, a wipe waits while another node of one of the victim's groups
// is down, or was damaged and has not caught up. Replication is for one operator's mistake at a
// time.
type wipe struct {
	Victims
}

var _ harness.Fault = (*wipe)(nil)

func newWipe(s Spec, n *Nodes) harness.Fault { return &wipe{Victims{s, n}} }

const wipeAbility = "delete a node's disk"

// Supports implements harness.Fault.
func (f *wipe) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Wiper](c); !ok {
		return Unsupported(f.Spec, wipeAbility)
	}
	if _, ok := harness.Can[harness.Killer](c); !ok {
		return Unsupported(f.Spec, "start a node again")
	}
	return f.Victims.Supports(c)
}

// Draw implements harness.Fault.
func (f *wipe) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	nodes, err := f.Victims.Draw(ctx, c, at)
	if err != nil || f.Spec.Role == RoleMajority || f.Spec.Role == RoleAll {
		return nodes, err
	}
	for _, n := range nodes {
		for _, m := range peers(c, n) {
			if !slices.Contains(nodes, m) && (f.Nodes.Down(m) || f.Nodes.Damaged(m)) {
				return nil, fmt.Errorf("%w: %s of the same group is down or has not caught up", harness.ErrNotNow, m)
			}
		}
	}
	return nodes, nil
}

// Inject implements harness.Fault.
func (f *wipe) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	w, ok := harness.Can[harness.Wiper](s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, wipeAbility)
	}
	groups, err := leaderless(ctx, s.Cluster, nodes)
	if err != nil {
		return nil, err
	}
	effect, err := Each(nodes, func(n harness.NodeID) (harness.Effect, error) { return w.Wipe(ctx, n) })
	injected := ctx
	return func(ctx context.Context) (harness.Effect, error) {
		interrupted := injected.Err() != nil // then the run is not to be made to wait
		x := succession{stage: s, waits: injected, wiped: nodes}
		var perr error
		if !interrupted {
			perr = x.promote(ctx, groups)
			effect.Text = and(effect.Text, x.said)
		}
		refused, err := Boot(ctx, s.Cluster, nodes)
		effect.Text = and(effect.Text, refused)
		if !interrupted && refused == "" && s.Restore != nil && (x.empty || wholeGroup(s.Cluster, nodes)) {
			effect.Text = and(effect.Text, restore(ctx, s))
		}
		return effect, errors.Join(perr, err)
	}, err
}

// wholeGroup reports whether nodes are all of a group, so that nobody is left who knows its topics.
func wholeGroup(c harness.Cluster, nodes []harness.NodeID) bool {
	return slices.ContainsFunc(harness.GroupsOf(c), func(members []harness.NodeID) bool {
		return len(members) > 0 && !slices.ContainsFunc(members, func(n harness.NodeID) bool { return !slices.Contains(nodes, n) })
	})
}

// restore makes the topics again, as an operator would who has lost every disk. That it fails is
// the system's doing and no error.
func restore(ctx context.Context, s harness.Stage) string {
	ctx, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	if err := s.Restore(ctx); err != nil {
		return fmt.Sprintf("the topics could not be made again: %v", err)
	}
	return "topics made again"
}
