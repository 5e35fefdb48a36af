package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Bounds of the engine.
const (
	drawRetry = 200 * time.Millisecond
	// patience is how long a strike waits for its moment: for a leader, or for a group to be whole again.
	patience = 12 * time.Second
	// healTime bounds one heal. It has a context of its own, which no interruption ends.
	healTime = time.Minute
)

// Nemesis carries out a plan.
type Nemesis struct {
	plan   harness.Plan
	end    time.Duration // the last planned heal
	ward   *ward
	faults map[string]harness.Fault
	kinds  map[string]kind

	mu sync.Mutex // guards on; held for slice operations only
	on []string
}

var _ harness.Nemesis = (*Nemesis)(nil)

// New returns the nemesis of a plan. The plan's strikes may be in any order.
func New(plan harness.Plan) (*Nemesis, error) {
	n := &Nemesis{plan: plan, ward: newWard(), faults: make(map[string]harness.Fault), kinds: make(map[string]kind)}
	for _, s := range plan.Strikes {
		n.end = max(n.end, s.At+s.For)
	}
	for _, text := range FaultsOf(plan) {
		s, err := Parse(text)
		if err != nil {
			return nil, err
		}
		k, err := kindOf(s.Name)
		if err != nil {
			return nil, err
		}
		n.kinds[text], n.faults[text] = k, k.build(s, n.ward)
	}
	return n, nil
}

// Supports implements harness.Nemesis.
func (n *Nemesis) Supports(c harness.Cluster) error {
	for _, text := range FaultsOf(n.plan) {
		if err := n.faults[text].Supports(c); err != nil {
			return err
		}
	}
	return nil
}

// Now implements harness.Nemesis.
func (n *Nemesis) Now() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.on)
}

// Run implements harness.Nemesis. Each strike has a goroutine, so that they overlap as planned; every one heals what it injected before it ends,
// after a panic too. The first error ends the others early.
func (n *Nemesis) Run(ctx context.Context, s harness.Stage) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var strikes, watches sync.WaitGroup
	wctx, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	errs := make([]error, len(n.plan.Strikes))
	for i, at := range n.plan.Strikes {
		strikes.Go(func() {
			r := &strike{n: n, s: s, at: at, fault: n.faults[at.Fault], kind: n.kinds[at.Fault]}
			errs[i] = r.run(ctx)
			if errs[i] != nil {
				cancel()
			} else if r.kind.damages {
				watches.Go(func() { n.watch(wctx, s, r.nodes) })
			}
		})
	}
	strikes.Wait()
	stopWatching()
	watches.Wait()
	return errors.Join(errs...)
}

// strike is one strike on its way.
type strike struct {
	n     *Nemesis
	s     harness.Stage
	at    harness.Strike
	fault harness.Fault
	kind  kind
	nodes []harness.NodeID
}

// run waits for the strike's time, injects, waits, and heals.
func (r *strike) run(ctx context.Context) (err error) {
	defer harness.Guard("fault "+r.at.Fault, &err)
	if !sleep(ctx, r.at.At-time.Since(r.s.Start)) {
		return nil
	}
	if err := r.draw(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, harness.ErrNotNow) {
			return r.missed(err)
		}
		return fmt.Errorf("fault %s: choosing its victims: %w", r.at.Fault, err)
	}
	if _, err := r.s.Record(histories.Op{F: histories.Inject, Fault: r.at.Fault, Node: join(r.nodes)}); err != nil {
		return err
	}
	began := time.Now()
	label := strings.TrimSpace(r.at.Fault + " " + join(r.nodes))
	r.n.show(label)
	var undo harness.Undo
	// From here on there is something to heal, whatever happens.
	defer func() {
		err = errors.Join(err, r.heal(ctx, undo))
		r.n.hide(label)
	}()
	undo, err = r.fault.Inject(ctx, r.s, r.at, r.nodes)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted in the middle: what was done is healed
		}
		return fmt.Errorf("fault %s on %s: %w", r.at.Fault, join(r.nodes), err)
	}
	sleep(ctx, r.at.For-time.Since(began))
	return nil
}

// draw finds the victims, and waits for its moment if need be, but not beyond the end of the plan.
func (r *strike) draw(ctx context.Context) error {
	until := min(r.at.At+patience, r.n.end)
	for {
		err := r.drawOnce(ctx)
		if !errors.Is(err, harness.ErrNotNow) || time.Since(r.s.Start) >= until || !sleep(ctx, drawRetry) {
			return err
		}
	}
}

func (r *strike) drawOnce(ctx context.Context) error {
	return r.n.ward.choose(ctx, func() error {
		nodes, err := r.fault.Draw(ctx, r.s.Cluster, r.at)
		if err != nil {
			return err
		}
		r.nodes = nodes
		r.n.ward.admit(r.kind, nodes)
		return nil
	})
}

// missed records a strike that did not take place.
func (r *strike) missed(why error) error {
	r.s.Logger.Info("a strike did not take place", "fault", r.at.Fault, "err", why)
	op := histories.Op{F: histories.Inject, Fault: r.at.Fault, Err: why.Error()}
	if _, err := r.s.Record(op); err != nil {
		return err
	}
	op.F = histories.Heal
	_, err := r.s.Record(op)
	return err
}

// heal undoes the fault, and records its effect.
func (r *strike) heal(ctx context.Context, undo harness.Undo) error {
	hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTime)
	defer cancel()
	op := histories.Op{F: histories.Heal, Fault: r.at.Fault, Node: join(r.nodes)}
	var effect harness.Effect
	var herr error
	if undo != nil {
		effect, herr = undo(hctx)
	}
	if herr != nil {
		op.Err = herr.Error()
		herr = fmt.Errorf("fault %s on %s was not healed: %w", r.at.Fault, join(r.nodes), herr)
	}
	if effect.Count > 0 {
		op.Effect = effect.Text
		if op.Effect == "" {
			op.Effect = fmt.Sprint(effect.Count)
		}
	} else if op.Err == "" {
		op.Err = effect.Text
	}
	r.n.ward.up(r.kind, r.nodes)
	_, err := r.s.Record(op)
	return errors.Join(herr, err)
}

func (n *Nemesis) show(label string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on = append(n.on, label)
}

func (n *Nemesis) hide(label string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.on, label); i >= 0 {
		n.on = slices.Delete(n.on, i, i+1)
	}
}

// watch waits until nodes whose disks were damaged have caught up, and notes it for each. It gives up when ctx ends.
func (n *Nemesis) watch(ctx context.Context, s harness.Stage, nodes []harness.NodeID) {
	g, ok := s.Cluster.(harness.Groups)
	if !ok {
		return
	}
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			if !awaitCaughtUp(ctx, s.Cluster, g, node) {
				return
			}
			n.ward.well(node)
			if _, err := s.Record(histories.Op{F: histories.Note, Fault: contract.NoteCaughtUp, Node: string(node)}); err != nil {
				s.Logger.Error("recording that a node has caught up", "node", node, "err", err)
			}
		})
	}
	wg.Wait()
}

// awaitCaughtUp waits until node has what its leader had when the leader was first seen to serve after the node's return; under load it may never
// have all that the leader has at one moment.
func awaitCaughtUp(ctx context.Context, c harness.Cluster, g harness.Groups, node harness.NodeID) bool {
	_, members := groupOf(c, node)
	target, epoch := int64(-1), int64(-1)
	for sleep(ctx, drawRetry) {
		states, err := harness.States(ctx, g, members)
		if err != nil {
			continue
		}
		lead, ok := harness.LeaderOf(states)
		if !ok || !lead.Serving {
			continue
		}
		if lead.Node == node {
			return true
		}
		if lead.Epoch != epoch { // of another leader, the log may be another
			target, epoch = lead.End, lead.Epoch
		}
		for _, s := range states {
			if s.Node == node && s.Up && s.Role == harness.RoleFollower && s.Refused == "" && (s.CaughtUp || s.End >= target && s.Epoch == epoch) {
				return true
			}
		}
	}
	return false
}

// sleep waits for d, and reports whether ctx is still on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func join(nodes []harness.NodeID) string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = string(n)
	}
	return strings.Join(texts, ",")
}
