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

// bereaved returns the groups of nodes that lose their leader with these nodes, or whose leader is not known, in their order. A cluster in which nobody is
// promoted has none.
func bereaved(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) ([]int, error) {
	g, ok := c.(harness.Groups)
	if _, can := c.(harness.Promoter); !ok || !can {
		return nil, nil
	}
	var all []int
	for group, members := range g.Groups() {
		if !slices.ContainsFunc(members, func(m harness.NodeID) bool { return slices.Contains(nodes, m) }) {
			continue
		}
		states, err := harness.States(ctx, g, members)
		if err != nil {
			return nil, err
		}
		if lead, led := harness.LeaderOf(states); !led || slices.Contains(nodes, lead.Node) {
			all = append(all, group)
		}
	}
	return all, nil
}

// succession finds new leaders for groups whose leader was wiped.
type succession struct {
	stage harness.Stage
	waits context.Context // ends when the run is not to be made to wait any more
	nodes []harness.NodeID
	said  string
	empty bool // some group is left with nothing: whoever leads it now has an empty disk
}

// promote promotes in those of the groups that nobody leads, as an operator would: safely, and if that can't be had, by
// force. That a group takes no leader is the system's doing and no error.
func (x *succession) promote(ctx context.Context, groups []int) error {
	p, ok := x.stage.Cluster.(harness.Promoter)
	g, can := x.stage.Cluster.(harness.Groups)
	if !ok || !can {
		return nil
	}
	for _, group := range groups {
		orphan, err := x.orphan(ctx, g, g.Groups()[group])
		if err != nil {
			return err
		}
		if !orphan {
			continue
		}
		said, err := x.promoteOne(ctx, p, group)
		x.said = and(x.said, said)
		if err != nil {
			return err
		}
	}
	return nil
}

// orphan waits until somebody of a group is up who can lead it, and reports whether there is somebody and nobody leads. Those who are down or frozen come
// back, and a wiped node that came back before them would find nobody to follow. When nobody else has a disk with anything on it, whoever is up will do.
func (x *succession) orphan(ctx context.Context, g harness.Groups, members []harness.NodeID) (bool, error) {
	if !slices.ContainsFunc(members, func(m harness.NodeID) bool { return !slices.Contains(x.nodes, m) }) {
		return false, nil // all were wiped: they begin anew as they are configured
	}
	for start := time.Now(); ; {
		states, err := harness.States(ctx, g, members)
		if err != nil {
			return false, err
		}
		if _, led := harness.LeaderOf(states); led {
			return false, nil
		}
		if slices.ContainsFunc(states, func(s harness.NodeState) bool { return s.Up && s.Role != harness.RoleJoining }) {
			return true, nil
		}
		if !sleep(x.waits, drawRetry) {
			return false, nil
		}
		if time.Since(start) >= patience {
			x.empty = slices.ContainsFunc(states, func(s harness.NodeState) bool { return s.Up })
			return x.empty, nil
		}
	}
}

func (x *succession) promoteOne(ctx context.Context, p harness.Promoter, group int) (string, error) {
	ask := func(force bool) func(context.Context) (harness.Promotion, error) {
		return func(ctx context.Context) (harness.Promotion, error) { return p.Promote(ctx, group, "", force) }
	}
	maySucceed := func(err error) bool { return !errors.Is(err, harness.ErrNeverSafe) } // the missing node will come back empty
	done, err := retry(ctx, forceAfter, maySucceed, ask(false))
	if err != nil {
		x.stage.Logger.Info("no safe promote, so it is forced", "group", group, "err", err)
		done, err = retry(ctx, forceGiveUp, func(error) bool { return true }, ask(true))
	}
	if err != nil {
		_, rerr := x.stage.Record(histories.Op{F: histories.Note, Fault: contract.NotePromote, Part: int32(group), Err: err.Error()})
		return fmt.Sprintf("group %d could not be promoted: %v", group, err), rerr
	}
	text, err := notePromotion(x.stage, done)
	return fmt.Sprintf("then group %d promoted: %s", group, text), err
}
