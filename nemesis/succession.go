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

// leaderless returns the groups that lose their leader with nodes, or whose leader is not known, in
// their order. It returns none in a cluster in which nobody can be promoted.
func leaderless(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) ([]int, error) {
	g, ok := harness.Can[harness.Groups](c)
	if _, can := harness.Can[harness.Promoter](c); !ok || !can {
		return nil, nil
	}
	var all []int
	for number, members := range g.Groups() {
		if !slices.ContainsFunc(members, func(m harness.NodeID) bool { return slices.Contains(nodes, m) }) {
			continue
		}
		states, err := harness.States(ctx, g, number, members)
		if err != nil {
			return nil, err
		}
		if lead, led := harness.LeaderOf(states); !led || slices.Contains(nodes, lead.Node) {
			all = append(all, number)
		}
	}
	return all, nil
}

// succession gives groups whose leader was wiped a new one.
type succession struct {
	stage harness.Stage
	waits context.Context // ends when the run is not to be made to wait any more
	wiped []harness.NodeID
	said  string
	empty bool // some group has nothing left: whoever leads it now has an empty disk
}

// promote promotes in those of the groups that still have no leader, as an operator would: safely
// or, if that cannot be had, by force. That a group takes no leader is the system's doing and no
// error.
func (x *succession) promote(ctx context.Context, groups []int) error {
	p, ok := harness.Can[harness.Promoter](x.stage.Cluster)
	g, can := harness.Can[harness.Groups](x.stage.Cluster)
	if !ok || !can {
		return nil
	}
	for _, number := range groups {
		needed, err := x.needed(ctx, g, number)
		if err != nil {
			return err
		}
		if !needed {
			continue
		}
		said, err := x.promoteOne(ctx, p, number)
		x.said = and(x.said, said)
		if err != nil {
			return err
		}
	}
	return nil
}

// needed waits until a member of a group is up that can lead it. It reports whether there is one
// and nobody leads. Members that are down or frozen come back, and a wiped node that came back
// before them would find nobody to follow. When no other member has anything on its disk, whoever
// is up will do.
func (x *succession) needed(ctx context.Context, g harness.Groups, number int) (bool, error) {
	members := g.Groups()[number]
	if !slices.ContainsFunc(members, func(m harness.NodeID) bool { return !slices.Contains(x.wiped, m) }) {
		return false, nil // all were wiped: they begin anew as they are configured
	}
	for start := time.Now(); ; {
		states, err := harness.States(ctx, g, number, members)
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
			up := slices.ContainsFunc(states, func(s harness.NodeState) bool { return s.Up })
			x.empty = x.empty || up
			return up, nil
		}
	}
}

func (x *succession) promoteOne(ctx context.Context, p harness.Promoter, number int) (string, error) {
	ask := func(force bool) func(context.Context) (harness.Promotion, error) {
		return func(ctx context.Context) (harness.Promotion, error) { return p.Promote(ctx, number, "", force) }
	}
	// What can never be safe is not tried for long: the missing node will come back empty.
	maySucceed := func(err error) bool { return !errors.Is(err, harness.ErrNeverSafe) }
	done, err := retry(ctx, forceAfter, maySucceed, ask(false))
	if err != nil {
		x.stage.Logger.Info("no safe promote, so it is forced", "group", number, "err", err)
		done, err = retry(ctx, forceGiveUp, func(error) bool { return true }, ask(true))
	}
	if err != nil {
		op := histories.NewNote(histories.NotePromote)
		op.Part, op.Err = int32(number), err.Error()
		_, rerr := x.stage.Record(op)
		return fmt.Sprintf("group %d could not be promoted: %v", number, err), rerr
	}
	text, err := notePromotion(x.stage, done)
	return fmt.Sprintf("then group %d promoted: %s", number, text), err
}
