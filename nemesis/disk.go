package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assay-project/assay/harness"
)

// disk is a lasting fault of disks. When it is healed, a node that gave up its disk meanwhile is restarted, as an operator would: it writes no more
// until then.
type disk struct {
	victims
	do func(harness.Disks) func(context.Context, harness.NodeID) (harness.Undo, error)
}

var _ harness.Fault = (*disk)(nil)

// newFsync lets every fsync fail.
func newFsync(s Spec, w *ward) harness.Fault {
	return &disk{victims{s, w}, func(d harness.Disks) func(context.Context, harness.NodeID) (harness.Undo, error) { return d.FailSync }}
}

// newFull lets the disk run out of space.
func newFull(s Spec, w *ward) harness.Fault {
	return &disk{victims{s, w}, func(d harness.Disks) func(context.Context, harness.NodeID) (harness.Undo, error) { return d.Fill }}
}

const diskAbility = "break a disk"

// Supports implements harness.Fault.
func (f *disk) Supports(c harness.Cluster) error {
	if _, ok := c.(harness.Disks); !ok {
		return unsupported(f.spec, diskAbility)
	}
	return supportsRole(c, f.spec)
}

// Inject implements harness.Fault.
func (f *disk) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	d, ok := s.Cluster.(harness.Disks)
	if !ok {
		return nil, unsupported(f.spec, diskAbility)
	}
	undo, err := lasting(ctx, nodes, f.do(d))
	return func(ctx context.Context) (harness.Effect, error) {
		effect, err := undo(ctx)
		restarted, rerr := f.restart(ctx, s.Cluster, nodes)
		effect.Text = and(effect.Text, restarted)
		return effect, errors.Join(err, rerr)
	}, err
}

// restart restarts those of the nodes whose disk failed, unless another strike keeps them down, which starts them again itself.
func (f *disk) restart(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) (string, error) {
	mine := kind{downs: true}
	var free []harness.NodeID
	err := f.ward.choose(ctx, func() error {
		free = slices.DeleteFunc(slices.Clone(nodes), f.ward.isDown)
		f.ward.admit(mine, free)
		return nil
	})
	if err != nil {
		return "", err
	}
	defer f.ward.up(mine, free)
	return restartFailed(ctx, c, free)
}

// restartFailed restarts those of the nodes whose disk failed, and says which. Such a node has ended by itself, or runs on without writing.
func restartFailed(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) (string, error) {
	g, ok := c.(harness.Groups)
	k, can := c.(harness.Killer)
	if !ok || !can {
		return "", nil
	}
	states, err := harness.States(ctx, g, nodes)
	if err != nil {
		return "", err
	}
	text := ""
	for _, s := range states {
		if s.Role != harness.RoleFailed {
			continue
		}
		if s.Up {
			if _, err := k.Shutdown(ctx, s.Node); err != nil {
				return text, err
			}
		}
		text = and(text, fmt.Sprintf("restarted %s, which had given up its disk", s.Node))
		refused, err := boot(ctx, c, []harness.NodeID{s.Node})
		if err != nil {
			return text, err
		}
		text = and(text, refused)
	}
	return text, nil
}

// corrupt flips a bit of a log. Nobody repairs it.
type corrupt struct {
	victims
}

var _ harness.Fault = (*corrupt)(nil)

func newCorrupt(s Spec, w *ward) harness.Fault { return &corrupt{victims{s, w}} }

// Supports implements harness.Fault.
func (f *corrupt) Supports(c harness.Cluster) error {
	if _, ok := c.(harness.Disks); !ok {
		return unsupported(f.spec, diskAbility)
	}
	return supportsRole(c, f.spec)
}

// Inject implements harness.Fault.
func (f *corrupt) Inject(ctx context.Context, s harness.Stage, at harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	d, ok := s.Cluster.(harness.Disks)
	if !ok {
		return nil, unsupported(f.spec, diskAbility)
	}
	bits := make(map[harness.NodeID]uint64)
	rng := random(at, streamBits)
	for _, n := range nodes {
		bits[n] = rng.Uint64()
	}
	effect, err := each(nodes, func(n harness.NodeID) (harness.Effect, error) { return d.Corrupt(ctx, n, bits[n]) })
	return func(context.Context) (harness.Effect, error) { return effect, nil }, err
}
