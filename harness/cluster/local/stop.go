// The end of a cluster, at whatever point it is.

package local

import (
	"context"
	"errors"
	"fmt"
)

// Stop implements harness.Cluster: it kills whatever runs, however far Start came, and removes the
// directories. It waits for an operation that is under way to end, which it does at once, since
// Stop ends its context.
func (c *Cluster) Stop(ctx context.Context) error {
	c.end(ErrStopped)
	if err := c.startIsOver(ctx); err != nil {
		return err
	}
	select {
	case c.stopTurn <- struct{}{}:
		defer func() { <-c.stopTurn }()
	case <-ctx.Done():
		return fmt.Errorf("stop the cluster: another stop is under way: %w", ctx.Err())
	}
	c.starter.close() // nothing is started from here on
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	defer c.holdNodes(ctx)()
	errs := make([]error, 0, len(c.nodes)+2)
	for _, n := range c.nodes {
		if p := n.proc.Load(); p != nil {
			errs = append(errs, p.kill(ctx))
		}
	}
	errs = append(errs, c.home.sweep(ctx), c.home.remove())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the cluster (assay clean tries again): %w", err)
	}
	return nil
}

// startIsOver waits until no Start is under way.
func (c *Cluster) startIsOver(ctx context.Context) error {
	c.mu.Lock()
	idle := c.idle
	c.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the cluster: a start is still under way: %w", ctx.Err())
	}
}

// holdNodes waits for what is being done to nodes, and keeps anything else from being done until
// release. It does not wait for ever: killing processes while an operation hangs is better than not
// at all.
func (c *Cluster) holdNodes(ctx context.Context) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, holdTime/2)
	defer cancel()
	var held []*node
	for _, n := range c.nodes {
		if n.lock(ctx) == nil {
			held = append(held, n)
		}
	}
	return func() {
		for _, n := range held {
			n.unlock()
		}
	}
}
