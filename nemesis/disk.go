package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assay-project/assay/harness"
)

// disk is a lasting fault of disks. A node may give up its disk meanwhile, and then writes no more
// until it is restarted. The heal restarts it, as an operator would.
type disk struct {
	Victims
	do func(harness.Disks) breakDisk
}

// breakDisk breaks the disk of a node.
type breakDisk func(ctx context.Context, n harness.NodeID) (harness.Undo, error)

var _ harness.Fault = (*disk)(nil)

// newFsync lets every fsync fail.
func newFsync(s Spec, n *Nodes) harness.Fault {
	return &disk{Victims{s, n}, func(d harness.Disks) breakDisk { return d.FailSync }}
}

// newFull lets the disk run out of space.
func newFull(s Spec, n *Nodes) harness.Fault {
	return &disk{Victims{s, n}, func(d harness.Disks) breakDisk { return d.Fill }}
}

const diskAbility = "break a disk"

// Supports implements harness.Fault.
func (f *disk) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Disks](c); !ok {
		return Unsupported(f.Spec, diskAbility)
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (f *disk) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	d, ok := harness.Can[harness.Disks](s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, diskAbility)
	}
	undo, err := InjectEach(ctx, nodes, f.do(d))
	return func(ctx context.Context) (harness.Effect, error) {
		effect, err := undo(ctx)
		restarted, rerr := f.restart(ctx, s.Cluster, nodes)
		effect.Text = and(effect.Text, restarted)
		return effect, errors.Join(err, rerr)
	}, err
}

// restart restarts those of the nodes whose disk failed. It leaves out nodes that another strike
// keeps down: that strike starts them again.
func (f *disk) restart(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) (string, error) {
	restarts := &Kind{Downs: true}
	var free []harness.NodeID
	err := f.Nodes.exclusive(ctx, func() error {
		free = slices.DeleteFunc(slices.Clone(nodes), f.Nodes.Down)
		f.Nodes.begin(restarts, free)
		return nil
	})
	if err != nil {
		return "", err
	}
	defer f.Nodes.end(restarts, free)
	return restartFailed(ctx, c, free)
}

// restartFailed restarts those of the nodes whose disk failed, and says which. Such a node has
// ended by itself, or runs on without writing.
func restartFailed(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) (string, error) {
	k, ok := harness.Can[harness.Killer](c)
	if !ok {
		return "", nil
	}
	states, err := failedStates(ctx, c, nodes)
	if err != nil {
		return "", err
	}
	text := ""
	for _, s := range states {
		if s.Up {
			if _, err := k.Shutdown(ctx, s.Node); err != nil {
				return text, err
			}
		}
		text = and(text, fmt.Sprintf("restarted %s, which had given up its disk", s.Node))
		refused, err := Boot(ctx, c, []harness.NodeID{s.Node})
		if err != nil {
			return text, err
		}
		text = and(text, refused)
	}
	return text, nil
}

// failedStates returns the state of each of the nodes that has given up its disk in one of its
// groups. It asks all nodes at once.
func failedStates(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) ([]harness.NodeState, error) {
	states := make([][]harness.NodeState, len(nodes))
	_, err := Each(nodes, func(n harness.NodeID) (effect harness.Effect, err error) {
		states[slices.Index(nodes, n)], err = statesOf(ctx, c, n)
		return effect, err
	})
	var failed []harness.NodeState
	for _, of := range states {
		if i := slices.IndexFunc(of, func(s harness.NodeState) bool { return s.Role == harness.RoleFailed }); i >= 0 {
			failed = append(failed, of[i])
		}
	}
	return failed, err
}

// corrupt flips a bit of a log. Nobody repairs it.
type corrupt struct {
	Victims
}

var _ harness.Fault = (*corrupt)(nil)

func newCorrupt(s Spec, n *Nodes) harness.Fault { return &corrupt{Victims{s, n}} }

// Supports implements harness.Fault.
func (f *corrupt) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Disks](c); !ok {
		return Unsupported(f.Spec, diskAbility)
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (f *corrupt) Inject(ctx context.Context, s harness.Stage, at harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	d, ok := harness.Can[harness.Disks](s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, diskAbility)
	}
	bits := make(map[harness.NodeID]uint64)
	rng := Random(at, streamBits)
	for _, n := range nodes {
		bits[n] = rng.Uint64()
	}
	effect, err := Each(nodes, func(n harness.NodeID) (harness.Effect, error) { return d.Corrupt(ctx, n, bits[n]) })
	return func(context.Context) (harness.Effect, error) { return effect, nil }, err
}
