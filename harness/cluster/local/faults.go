// Faults that end a process, and its start. Each holds the node's turn for as long as it takes.

package local

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-project/assay/harness"
)

// withNode does something to a node while nobody else does. Stop ends the context.
func (c *Cluster) withNode(ctx context.Context, id harness.NodeID, do func(context.Context, *node) error) error {
	if err := c.started(); err != nil {
		return err
	}
	n, err := c.node(id)
	if err != nil {
		return err
	}
	ctx, release := c.bound(ctx)
	defer release()
	if err := n.lock(ctx); err != nil {
		return err
	}
	defer n.unlock()
	if err := c.started(); err != nil { // a stop came first
		return err
	}
	return do(ctx, n)
}

// Kill implements harness.Killer. A frozen node is killed as well. On a node that is down it has no
// effect.
func (c *Cluster) Kill(ctx context.Context, id harness.NodeID) (effect harness.Effect, err error) {
	err = c.withNode(ctx, id, func(ctx context.Context, n *node) error {
		effect, err = c.kill(ctx, n)
		return err
	})
	return effect, err
}

func (c *Cluster) kill(ctx context.Context, n *node) (harness.Effect, error) {
	p := n.running()
	if p == nil {
		return harness.Effect{}, nil
	}
	n.endFreeze()
	if err := p.kill(ctx); err != nil {
		return harness.Effect{}, fmt.Errorf("node %s: %w", n.id, err)
	}
	if !p.exit.killed {
		return harness.Effect{Text: fmt.Sprintf("%s ended by itself before it could be killed: %s", n.id, p.exit.how)}, nil
	}
	return harness.Effect{Count: 1, Text: fmt.Sprintf("%s killed (process %d gone)", n.id, p.pid)}, nil
}

// Shutdown implements harness.Killer. A node that does not end within 10 s is killed, and the
// effect says so. A frozen node cannot end by itself.
func (c *Cluster) Shutdown(ctx context.Context, id harness.NodeID) (effect harness.Effect, err error) {
	err = c.withNode(ctx, id, func(ctx context.Context, n *node) error {
		p := n.running()
		if p == nil {
			return nil
		}
		begin := time.Now()
		ended, err := c.terminate(ctx, p)
		if err != nil {
			return fmt.Errorf("stop node %s: %w", n.id, err)
		}
		how := "ended by SIGTERM after " + time.Since(begin).Round(time.Millisecond).String()
		n.endFreeze()
		if !ended {
			if err := p.kill(ctx); err != nil {
				return fmt.Errorf("node %s: %w", n.id, err)
			}
			how = fmt.Sprintf("did not end by SIGTERM within %v and was killed", c.patience)
		}
		effect = harness.Effect{Count: 1, Text: fmt.Sprintf("%s %s, exit code %d", n.id, how, p.exit.code)}
		return nil
	})
	return effect, err
}

// terminate asks a process to end, and reports whether it did.
func (c *Cluster) terminate(ctx context.Context, p *process) (ended bool, err error) {
	p.asked.Store(true)
	if err := terminate(p.cmd.Process); err != nil && !p.over() {
		return false, err
	}
	limit := time.NewTimer(c.patience)
	defer limit.Stop()
	select {
	case <-p.ended:
		return true, nil
	case <-limit.C:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// Boot implements harness.Killer. It returns when the node accepts connections, or after 30 s
// without. A node that runs is left alone.
func (c *Cluster) Boot(ctx context.Context, id harness.NodeID) error {
	return c.withNode(ctx, id, func(ctx context.Context, n *node) error {
		if n.running() != nil {
			return nil
		}
		return c.boot(ctx, n)
	})
}

// Wipe implements harness.Wiper: the node's directory is deleted and made again, also when the node
// is down. The bytes are those that the node wrote, not those of the files that it is given before
// each start.
func (c *Cluster) Wipe(ctx context.Context, id harness.NodeID) (effect harness.Effect, err error) {
	err = c.withNode(ctx, id, func(ctx context.Context, n *node) error {
		struck, err := c.kill(ctx, n)
		if err != nil {
			return err
		}
		size, err := sizeOf(n.dir, n.files)
		if err != nil {
			return err
		}
		if err := c.erase(ctx, n); err != nil {
			return err
		}
		if p := n.proc.Load(); p != nil {
			p.asked.Store(true) // whatever it ended of, it is down for want of a disk now
		}
		switch {
		case struck.Count > 0:
			effect = harness.Effect{Count: 1, Text: fmt.Sprintf("%s killed, its disk with %d bytes deleted", n.id, size)}
		case size > 0:
			effect = harness.Effect{Count: 1, Text: fmt.Sprintf("%s was down, its disk with %d bytes deleted", n.id, size)}
		}
		return nil
	})
	return effect, err
}
