package fakecluster

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-project/assay/harness"
)

// end takes a node down.
func (c *Cluster) end(how string, id harness.NodeID, also func(*node)) (harness.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("%s %s", how, id)
	n := c.nodes[id]
	if !n.up {
		return harness.Effect{}, nil
	}
	n.up = false
	if also != nil {
		also(n)
	}
	return harness.Effect{Count: 1, Text: fmt.Sprintf("%s: %s", id, how)}, nil
}

// Kill implements harness.Killer.
func (c *Cluster) Kill(_ context.Context, id harness.NodeID) (harness.Effect, error) {
	return c.end("kill", id, nil)
}

// Shutdown implements harness.Killer.
func (c *Cluster) Shutdown(_ context.Context, id harness.NodeID) (harness.Effect, error) {
	return c.end("shutdown", id, nil)
}

// Boot implements harness.Killer.
func (c *Cluster) Boot(_ context.Context, id harness.NodeID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("boot %s", id)
	if c.opt.BootErr != nil {
		if err := c.opt.BootErr(id); err != nil {
			return err
		}
	}
	if c.nodes[id].up {
		return fmt.Errorf("%s is up already", id)
	}
	c.nodes[id].up = true
	return nil
}

// CutPower implements harness.PowerCutter. The last message of every partition is lost.
func (c *Cluster) CutPower(_ context.Context, id harness.NodeID) (harness.Effect, error) {
	return c.end("power", id, func(n *node) {
		for p, log := range n.logs {
			n.logs[p] = log[:max(0, len(log)-1)]
		}
	})
}

// Wipe implements harness.Wiper.
func (c *Cluster) Wipe(_ context.Context, id harness.NodeID) (harness.Effect, error) {
	return c.end("wipe", id, func(n *node) {
		clear(n.logs)
		n.joining = true
	})
}

// begin turns a lasting fault on.
func (c *Cluster) begin(what string, also func(on bool)) (harness.Undo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("%s on", what)
	c.on[what]++
	if also != nil {
		also(true)
	}
	return func(context.Context) (harness.Effect, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.call("%s off", what)
		c.on[what]--
		if also != nil {
			also(false)
		}
		if c.opt.Idle {
			return harness.Effect{Text: "nothing happened"}, nil
		}
		return harness.Effect{Count: 1, Text: what}, nil
	}, nil
}

// Pause implements harness.Pauser.
func (c *Cluster) Pause(_ context.Context, id harness.NodeID) (harness.Undo, error) {
	return c.begin("pause "+string(id), func(on bool) { c.nodes[id].paused = on })
}

// ShapesClients implements harness.ClientShaper.
func (c *Cluster) ShapesClients() bool { return true }

// Shape implements harness.Network. The links behave as before: only that it was asked for is
// recorded.
func (c *Cluster) Shape(_ context.Context, rules []harness.Rule) (harness.Undo, error) {
	c.mu.Lock()
	c.rules = rules
	c.mu.Unlock()
	return c.begin(fmt.Sprintf("shape %d links", len(rules)), nil)
}

// Rules returns those of the latest Shape.
func (c *Cluster) Rules() []harness.Rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules
}

// FailSync implements harness.Disks.
func (c *Cluster) FailSync(_ context.Context, id harness.NodeID) (harness.Undo, error) {
	return c.begin("fsync "+string(id), nil)
}

// Fill implements harness.Disks.
func (c *Cluster) Fill(_ context.Context, id harness.NodeID) (harness.Undo, error) {
	return c.begin("full "+string(id), nil)
}

// Corrupt implements harness.Disks.
func (c *Cluster) Corrupt(_ context.Context, id harness.NodeID, _ uint64) (harness.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("corrupt %s", id)
	return harness.Effect{Count: 1, Text: "one bit flipped"}, nil
}

// Promote implements harness.Promoter, with the rule of master-slave mode for what is safe.
func (c *Cluster) Promote(ctx context.Context, group int, id harness.NodeID, force bool) (harness.Promotion, error) {
	select {
	case <-time.After(c.opt.Latency):
	case <-ctx.Done():
		return harness.Promotion{}, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answers, best := 0, harness.NodeID("")
	for _, m := range c.groups[group] {
		n := c.nodes[m]
		if !n.up || n.paused || n.joining {
			continue
		}
		answers++
		if best == "" || c.size(m) > c.size(best) || c.size(m) == c.size(best) && m == c.lead[group] {
			best = m
		}
	}
	if best == "" {
		c.call("promote %d refused", group)
		return harness.Promotion{}, fmt.Errorf("nobody of group %d answers: %w", group, harness.ErrUnsafePromote)
	}
	if id == "" {
		id = best
	}
	need := len(c.groups[group]) - c.opt.Copies + 1
	safe := answers >= need && c.size(id) >= c.size(best)
	if !safe && !force {
		c.call("promote %d refused", group)
		err := fmt.Errorf("%d of %d answers, %d needed: %w", answers, len(c.groups[group]), need, harness.ErrUnsafePromote)
		if c.opt.Copies == 1 && answers < need {
			err = fmt.Errorf("%w: %w", harness.ErrNeverSafe, err)
		}
		return harness.Promotion{}, err
	}
	c.epoch[group]++
	c.lead[group] = id
	c.call("promote %d %s safe=%v", group, id, safe)
	for _, m := range c.groups[group] { // what the new leader lacks is cut off
		for part, log := range c.nodes[m].logs {
			c.nodes[m].logs[part] = log[:min(len(log), len(c.nodes[id].logs[part]))]
		}
	}
	return harness.Promotion{Group: group, Leader: id, Epoch: c.epoch[group], Safe: safe, Forced: !safe}, nil
}

func (c *Cluster) size(id harness.NodeID) int {
	n := 0
	for _, log := range c.nodes[id].logs {
		n += len(log)
	}
	return n
}
