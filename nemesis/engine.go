package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Bounds of the engine.
const (
	drawRetry = 200 * time.Millisecond
	// patience is how long a strike waits for its moment: for a leader, or until nobody else of a
	// group is down or damaged.
	patience = 12 * time.Second
	// healTime bounds one heal. It has a context of its own, which no interruption ends.
	healTime = time.Minute
)

// Nemesis carries out a plan. Set.New makes it; it runs once.
type Nemesis struct {
	plan   harness.Plan
	end    time.Duration // the last planned heal
	nodes  *Nodes
	faults map[string]built // by spelling

	mu sync.Mutex // guards on; held for slice operations only
	on []string
}

// built is a fault with its kind.
type built struct {
	harness.Fault
	kind *Kind
}

var _ harness.Nemesis = (*Nemesis)(nil)

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

// Run implements harness.Nemesis. Each strike has a goroutine, so that strikes overlap as planned.
// Each heals what it injected before it ends, after a panic too. The first error ends the others
// early.
func (n *Nemesis) Run(ctx context.Context, s harness.Stage) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var strikes, watches sync.WaitGroup
	wctx, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	errs, watched := make([]error, len(n.plan.Strikes)), make([]error, len(n.plan.Strikes))
	for i, at := range n.plan.Strikes {
		strikes.Go(func() {
			r := &strike{n: n, s: s, at: at, number: i + 1, built: n.faults[at.Fault]}
			errs[i] = r.run(ctx)
			if errs[i] != nil {
				cancel()
			} else if r.kind.damages() {
				watches.Go(func() { watched[i] = n.watch(wctx, s, r.nodes) })
			}
		})
	}
	strikes.Wait()
	stopWatching()
	watches.Wait()
	return errors.Join(append(errs, watched...)...)
}

// strike is one strike on its way.
type strike struct {
	n  *Nemesis
	s  harness.Stage
	at harness.Strike
	// number is its place in the plan, from 1. It ties the injection to its heal in the history,
	// even if another strike of the same fault hurts the same nodes meanwhile.
	number int
	built
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
	if _, err := r.s.Record(r.injection()); err != nil {
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
	undo, err = r.Inject(ctx, r.s, r.at, r.nodes)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted in the middle: what was done is healed
		}
		return fmt.Errorf("fault %s on %s: %w", r.at.Fault, join(r.nodes), err)
	}
	sleep(ctx, r.at.For-time.Since(began))
	return nil
}

// draw finds the victims. It waits for its moment if need be, but not beyond the end of the plan.
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
	return r.n.nodes.exclusive(ctx, func() error {
		nodes, err := r.Draw(ctx, r.s.Cluster, r.at)
		if err != nil {
			return err
		}
		r.nodes = nodes
		r.n.nodes.begin(r.kind, nodes)
		return nil
	})
}

// injection is the op that records the beginning.
func (r *strike) injection() histories.Op {
	event := histories.Event{Strike: r.number, Harm: r.kind.Harm, Instant: r.kind.instant()}
	return histories.NewInject(r.at.Fault, event, names(r.nodes)...)
}

// missed records a strike that did not take place.
func (r *strike) missed(why error) error {
	r.s.Logger.Info("a strike did not take place", "fault", r.at.Fault, "err", why)
	for _, op := range []histories.Op{r.injection(), histories.NewHeal(r.at.Fault, r.number)} {
		op.Err = why.Error()
		if _, err := r.s.Record(op); err != nil {
			return err
		}
	}
	return nil
}

// heal undoes the fault, and records its effect.
func (r *strike) heal(ctx context.Context, undo harness.Undo) error {
	hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTime)
	defer cancel()
	op := histories.NewHeal(r.at.Fault, r.number, names(r.nodes)...)
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
	r.n.nodes.end(r.kind, r.nodes)
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

// names returns nodes as texts.
func names(nodes []harness.NodeID) []string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = string(n)
	}
	return texts
}

// join names nodes as a history does.
func join(nodes []harness.NodeID) string { return strings.Join(names(nodes), ",") }
