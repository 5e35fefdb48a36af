package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Waits of promotes.
const (
	promoteRetry = 300 * time.Millisecond
	// forceAfter is how long an operator tries for a safe promote before forcing one.
	forceAfter = 2500 * time.Millisecond
	// forceGiveUp is how long a forced promote is tried.
	forceGiveUp = 10 * time.Second
)

// promote does what `assay admin promote` does. Without a role, and of the present leader, it never
// forces. A follower that was asked for by role is forced where it has to be.
type promote struct{ spec Spec }

var _ harness.Fault = (*promote)(nil)

func newPromote(s Spec, _ *Nodes) harness.Fault { return &promote{s} }

const promoteAbility = "promote a node"

// Name implements harness.Fault.
func (f *promote) Name() string { return f.spec.Text }

// Supports implements harness.Fault.
func (f *promote) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Promoter](c); !ok {
		return Unsupported(f.spec, promoteAbility)
	}
	if f.spec.Role == roleGreatest {
		return nil
	}
	return supportsRole(c, f.spec)
}

// Draw implements harness.Fault. Without a role nobody is struck: the promote itself chooses.
func (f *promote) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	if len(harness.GroupsOf(c)) == 0 {
		return nil, fmt.Errorf("%w: there is no group to promote in", harness.ErrNotNow)
	}
	if f.spec.Role == roleGreatest {
		return nil, nil
	}
	return draw(ctx, c, at, f.spec.Role, func(harness.NodeID) bool { return true })
}

// Inject implements harness.Fault. A promote that is refused is tried again until at.For is over;
// then it had no effect.
func (f *promote) Inject(ctx context.Context, s harness.Stage, at harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	p, ok := harness.Can[harness.Promoter](s.Cluster)
	if !ok {
		return nil, Unsupported(f.spec, promoteAbility)
	}
	who, number, err := f.choose(ctx, s.Cluster, at, nodes)
	if err != nil {
		return nil, err
	}
	try := func(ctx context.Context) (harness.Promotion, error) {
		done, err := p.Promote(ctx, number, who, false)
		if errors.Is(err, harness.ErrUnsafePromote) && f.spec.Role == RoleFollower {
			return p.Promote(ctx, number, who, true)
		}
		return done, err
	}
	done, err := retry(ctx, at.For, func(error) bool { return true }, try)
	if err != nil {
		why := harness.Effect{Text: "no promote: " + err.Error()}
		return func(context.Context) (harness.Effect, error) { return why, nil }, nil
	}
	text, err := notePromotion(s, done)
	return func(context.Context) (harness.Effect, error) { return harness.Effect{Count: 1, Text: text}, nil }, err
}

// choose returns whom to promote in which group. Without a victim, the group is drawn. Otherwise it
// is the group for which the victim was drawn: the first, in the order of the draw, in which it has
// the role now.
func (f *promote) choose(ctx context.Context, c harness.Cluster, at harness.Strike, nodes []harness.NodeID) (who harness.NodeID, number int, err error) {
	rng := Random(at, streamVictims)
	if len(nodes) == 0 {
		return "", rng.IntN(len(harness.GroupsOf(c))), nil
	}
	who = nodes[0]
	of := slices.DeleteFunc(shuffled(c, rng), func(g group) bool { return !slices.Contains(g.members, who) })
	if len(of) == 0 {
		return "", 0, fmt.Errorf("%s is in no group any more", who)
	}
	g, ok := harness.Can[harness.Groups](c)
	if len(of) == 1 || !ok {
		return who, of[0].number, nil
	}
	for _, in := range of {
		states, err := harness.States(ctx, g, in.number, in.members)
		if err != nil {
			return "", 0, err
		}
		if slices.Contains(ofRole(states, f.spec.Role), who) {
			return who, in.number, nil
		}
	}
	return who, of[0].number, nil // it lost the role since: a promote may still be of use
}

// retry calls try until it succeeds, its error is not worth another try, d is over, or ctx ends.
func retry(ctx context.Context, d time.Duration, worth func(error) bool, try func(context.Context) (harness.Promotion, error)) (harness.Promotion, error) {
	start := time.Now()
	for {
		done, err := try(ctx)
		if err == nil || !worth(err) || time.Since(start)+promoteRetry > d || !sleep(ctx, promoteRetry) {
			return done, err
		}
	}
}

// notePromotion records a promote, and returns what it says.
func notePromotion(s harness.Stage, p harness.Promotion) (string, error) {
	note := histories.NewPromoteNote(p.Group, string(p.Leader), histories.Promote{Epoch: p.Epoch, Safe: p.Safe, Forced: p.Forced})
	_, err := s.Record(note)
	return note.Effect, err
}
