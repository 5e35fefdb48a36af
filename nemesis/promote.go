package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-project/assay/checker/contract"
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

// promote does what `assay admin promote` does. Bare, and of the present leader, it never forces; a follower that was asked for by role is
// forced where it has to be.
type promote struct{ spec Spec }

var _ harness.Fault = (*promote)(nil)

func newPromote(s Spec, _ *ward) harness.Fault { return &promote{s} }

// Name implements harness.Fault.
func (f *promote) Name() string { return f.spec.Text }

// Supports implements harness.Fault.
func (f *promote) Supports(c harness.Cluster) error {
	if _, ok := c.(harness.Promoter); !ok {
		return unsupported(f.spec, "promote a node")
	}
	if f.spec.Role == roleGreatest {
		return nil
	}
	return supportsRole(c, f.spec)
}

// Draw implements harness.Fault. Bare, nobody is struck: the promote itself chooses.
func (f *promote) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	if f.spec.Role == roleGreatest {
		return nil, nil
	}
	return draw(ctx, c, at, f.spec.Role, func(harness.NodeID) bool { return true })
}

// Inject implements harness.Fault. A promote that is refused is tried again until at.For is over; then it had no effect.
func (f *promote) Inject(ctx context.Context, s harness.Stage, at harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	p, ok := s.Cluster.(harness.Promoter)
	if !ok {
		return nil, unsupported(f.spec, "promote a node")
	}
	who, group := harness.NodeID(""), random(at, streamVictims).IntN(len(groupsOf(s.Cluster)))
	if len(nodes) > 0 {
		who = nodes[0]
		group, _ = groupOf(s.Cluster, who)
	}
	try := func(ctx context.Context) (harness.Promotion, error) {
		done, err := p.Promote(ctx, group, who, false)
		if errors.Is(err, harness.ErrUnsafePromote) && f.spec.Role == RoleFollower {
			return p.Promote(ctx, group, who, true)
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
	text := contract.Promotion{Group: p.Group, Leader: string(p.Leader), Epoch: p.Epoch, Safe: p.Safe, Forced: p.Forced}.String()
	_, err := s.Record(histories.Op{F: histories.Note, Fault: contract.NotePromote, Part: int32(p.Group), Node: string(p.Leader), Effect: text})
	return text, err
}

// promoteOrphans promotes in those groups of nodes that nobody leads, as an operator would: safely, and if that can't be had, by
// force. It says what it did. That a group takes no leader is the system's doing and no error.
func promoteOrphans(ctx context.Context, s harness.Stage, nodes []harness.NodeID) (string, error) {
	p, ok := s.Cluster.(harness.Promoter)
	g, can := s.Cluster.(harness.Groups)
	if !ok || !can {
		return "", nil
	}
	text := ""
	seen := make(map[int]bool)
	for _, n := range nodes {
		group, members := groupOf(s.Cluster, n)
		if seen[group] {
			continue
		}
		seen[group] = true
		states, err := harness.States(ctx, g, members)
		if err != nil {
			return text, err
		}
		if !orphaned(states) {
			continue
		}
		said, err := promoteOrphan(ctx, s, p, group)
		text = and(text, said)
		if err != nil {
			return text, err
		}
	}
	return text, nil
}

// orphaned reports whether nobody leads a group that somebody is left of.
func orphaned(states []harness.NodeState) bool {
	_, led := harness.LeaderOf(states)
	return !led && slices.ContainsFunc(states, func(st harness.NodeState) bool { return st.Up })
}

func promoteOrphan(ctx context.Context, s harness.Stage, p harness.Promoter, group int) (string, error) {
	ask := func(force bool) func(context.Context) (harness.Promotion, error) {
		return func(ctx context.Context) (harness.Promotion, error) { return p.Promote(ctx, group, "", force) }
	}
	maySucceed := func(err error) bool { return !errors.Is(err, harness.ErrNeverSafe) } // the missing node will come back empty
	done, err := retry(ctx, forceAfter, maySucceed, ask(false))
	if err != nil {
		s.Logger.Info("no safe promote, so it is forced", "group", group, "err", err)
		done, err = retry(ctx, forceGiveUp, func(error) bool { return true }, ask(true))
	}
	if err != nil {
		_, rerr := s.Record(histories.Op{F: histories.Note, Fault: contract.NotePromote, Part: int32(group), Err: err.Error()})
		return fmt.Sprintf("group %d could not be promoted: %v", group, err), rerr
	}
	text, err := notePromotion(s, done)
	return fmt.Sprintf("then group %d promoted: %s", group, text), err
}
