package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/agent"
)

// rulebook is every set of rules that is active now: what the containers' rules are made to be. The
// zero rulebook is empty.
type rulebook struct {
	mu     sync.Mutex // guards all; held for field access only
	last   int        // number of the newest shape
	shapes []*shape
	counts map[string]*shape // by ID: those whose effect is still to be told
}

// shape is one call of Shape.
type shape struct {
	id      string
	rules   []harness.Rule
	bySend  []bool // per rule: its receiver could not be told (it is paused), so that the sender drops
	dropped int64  // as collected so far
	delayed int64
}

// add makes rules active. frozen names the nodes that cannot be told now.
func (b *rulebook) add(rules []harness.Rule, frozen map[harness.NodeID]bool) *shape {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	s := &shape{id: "s" + strconv.Itoa(b.last), rules: rules, bySend: make([]bool, len(rules))}
	for i, r := range rules {
		s.bySend[i] = frozen[r.To.Node]
	}
	b.shapes = append(b.shapes, s)
	if b.counts == nil {
		b.counts = make(map[string]*shape)
	}
	b.counts[s.id] = s
	return s
}

// remove ends a shape; its effect is still to be told.
func (b *rulebook) remove(s *shape) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.shapes {
		if other == s {
			b.shapes = append(b.shapes[:i:i], b.shapes[i+1:]...)
			return
		}
	}
}

// any says whether any shape is active.
func (b *rulebook) any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.shapes) > 0
}

// of compiles what a node's container has to do. Drops and losses are the receiver's, as on a real
// network, where a sender learns nothing; delays are the sender's.
func (b *rulebook) of(id harness.NodeID, addr func(harness.NodeID) netip.Addr) agent.RuleSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	set := agent.RuleSet{Rules: []agent.Rule{}}
	for _, s := range b.shapes {
		for i, r := range s.rules {
			if r.From.Node == "" || r.To.Node == "" {
				continue // a client's link: see links
			}
			if r.To.Node == id && (r.Drop || r.Loss > 0) {
				set.Rules = append(set.Rules, agent.Rule{ID: s.id, Dir: agent.In, Peer: addr(r.From.Node), Drop: r.Drop, Loss: r.Loss})
			}
			if r.From.Node != id {
				continue
			}
			out := agent.Rule{ID: s.id, Dir: agent.Out, Peer: addr(r.To.Node)}
			if s.bySend[i] {
				out.Drop, out.Loss = r.Drop, r.Loss
			}
			if !r.Drop {
				out.DelayMin, out.DelayMax = r.DelayMin, r.DelayMax
			}
			if out.Drop || out.Loss > 0 || out.DelayMax > 0 {
				set.Rules = append(set.Rules, out)
			}
		}
	}
	return set
}

// count adds what an agent reported.
func (b *rulebook) count(report agent.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, c := range report.Counts {
		if s, ok := b.counts[id]; ok {
			s.dropped += c.Dropped
			s.delayed += c.Delayed
		}
	}
}

// effect tells what a shape did; nothing is counted for it afterwards.
func (b *rulebook) effect(s *shape) (dropped, delayed int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.counts, s.id)
	return s.dropped, s.delayed
}

// ShapesClients implements harness.ClientShaper.
func (c *Cluster) ShapesClients() bool { return true }

// Shape implements harness.Network. Rules between nodes are programmed inside the containers, rules
// between a client and a node in the client's connections, where a chunk that was written or read
// at once counts as a packet, and a lost one as one that comes late: TCP would send it again.
func (c *Cluster) Shape(ctx context.Context, rules []harness.Rule) (harness.Undo, error) {
	e, err := c.use()
	if err != nil {
		return nil, err
	}
	if err := c.checkRules(rules); err != nil {
		return nil, err
	}
	frozen, err := c.frozen(ctx)
	if err != nil {
		return nil, err
	}
	s := c.rules.add(rules, frozen)
	c.links.add(s.id, rules)
	undo := func(ctx context.Context) (harness.Effect, error) { return c.unshape(ctx, e, s) }
	if err := c.syncAll(ctx, e); err != nil {
		_, undone := undo(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("shape the network: %w", errors.Join(err, undone))
	}
	return undo, nil
}

func (c *Cluster) unshape(ctx context.Context, e *engine, s *shape) (harness.Effect, error) {
	c.rules.remove(s)
	held := c.links.remove(s.id)
	err := c.syncAll(ctx, e)
	dropped, delayed := c.rules.effect(s)
	var parts []string
	if dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d packets dropped", dropped))
	}
	if delayed > 0 {
		parts = append(parts, fmt.Sprintf("%d packets delayed", delayed))
	}
	if held > 0 {
		parts = append(parts, fmt.Sprintf("%d messages of clients held back", held))
	}
	effect := harness.Effect{Count: dropped + delayed + held, Text: strings.Join(parts, ", ")}
	if err != nil {
		return effect, fmt.Errorf("heal the network: %w", err)
	}
	return effect, nil
}

func (c *Cluster) checkRules(rules []harness.Rule) error {
	for _, r := range rules {
		for _, end := range []harness.Endpoint{r.From, r.To} {
			if end.Node == "" {
				continue
			}
			if _, err := c.node(end.Node); err != nil {
				return fmt.Errorf("shape the network: %w", err)
			}
		}
		switch {
		case r.From.Node == "" && r.To.Node == "":
			return errors.New("shape the network: a rule between two clients means nothing")
		case !(r.Loss >= 0 && r.Loss <= 1):
			return fmt.Errorf("shape the network: loss %v is not within 0..1", r.Loss)
		case r.DelayMin < 0 || r.DelayMax < r.DelayMin:
			return fmt.Errorf("shape the network: delay %v..%v is not a range", r.DelayMin, r.DelayMax)
		}
	}
	return nil
}

// frozen tells which nodes are paused now.
func (c *Cluster) frozen(ctx context.Context) (map[harness.NodeID]bool, error) {
	all := make(map[harness.NodeID]bool)
	for _, n := range c.nodes {
		if err := n.lock(ctx); err != nil {
			return nil, err
		}
		all[n.id] = n.paused > 0
		n.unlock()
	}
	return all, nil
}

// syncAll makes the rules in all containers what the rulebook says, and counts what the former ones
// did.
func (c *Cluster) syncAll(ctx context.Context, e *engine) error {
	return c.each(func(n *node) error {
		if err := n.lock(ctx); err != nil {
			return err
		}
		defer n.unlock()
		if _, err := c.use(); err != nil {
			return nil // stopped: there is no network any more
		}
		return c.sync(ctx, e, n)
	})
}

// sync makes the rules in n's container what the rulebook says. The caller holds n's turn. A node
// that is down gets its rules when it starts, a paused one when it goes on; nothing can be run in
// it before.
func (c *Cluster) sync(ctx context.Context, e *engine, n *node) error {
	if n.down.Load() != nil || n.paused > 0 {
		return nil
	}
	set := c.rules.of(n.id, c.address)
	rules, err := set.Encode()
	if err != nil {
		return err
	}
	if bytes.Equal(rules, n.applied) || (n.applied == nil && len(set.Rules) == 0) {
		return nil
	}
	if set.HasDelays() {
		if err := e.detach(ctx, n.name, agent.CmdDelay); err != nil { // it ends at once when there is one
			return err
		}
	}
	report, err := e.agent(ctx, n.name, agent.CmdApply, rules)
	if err != nil {
		if now, gone := e.state(ctx, n); gone == nil && !now.Running {
			n.endedByItself(now) // and its rules with it
			return nil
		}
		return err
	}
	n.applied = rules
	c.rules.count(report)
	return nil
}

// collect counts what n's rules did before they are lost with its process. What cannot be read is
// not counted.
func (c *Cluster) collect(ctx context.Context, e *engine, n *node) {
	if n.down.Load() != nil || n.paused > 0 || !c.rules.any() {
		return
	}
	report, err := e.agent(ctx, n.name, agent.CmdCounters, nil)
	if err != nil {
		c.logger.Warn("what the rules in a node did is not counted", "node", n.id, "err", err)
		return
	}
	c.rules.count(report)
}
