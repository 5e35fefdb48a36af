package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/assay-project/assay/harness"
)

// Streams keep apart the random numbers that derive from one Strike.Pick.
const (
	streamVictims = iota + 1
	streamSides
	streamLoss
	streamBits
)

func random(at harness.Strike, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(at.Pick, stream))
}

// groupsOf returns the members of each group; a cluster that knows no groups is one.
func groupsOf(c harness.Cluster) [][]harness.NodeID {
	if g, ok := c.(harness.Groups); ok {
		return g.Groups()
	}
	return [][]harness.NodeID{c.Nodes()}
}

// groupOf returns the number and the members of n's group.
func groupOf(c harness.Cluster, n harness.NodeID) (int, []harness.NodeID) {
	for i, members := range groupsOf(c) {
		if slices.Contains(members, n) {
			return i, members
		}
	}
	return 0, c.Nodes()
}

// supportsRole says why nobody of a cluster can have a role.
func supportsRole(c harness.Cluster, s Spec) error {
	groups := groupsOf(c)
	switch s.Role {
	case RoleLeader, RoleFollower:
		if _, ok := c.(harness.Groups); !ok {
			return fmt.Errorf("fault %s: this cluster does not tell who leads: %w", s, harness.ErrUnsupported)
		}
		if s.Role == RoleFollower && !slices.ContainsFunc(groups, func(g []harness.NodeID) bool { return len(g) > 1 }) {
			return fmt.Errorf("fault %s: no group has a follower: add nodes", s)
		}
	case RoleMinority:
		if !slices.ContainsFunc(groups, func(g []harness.NodeID) bool { return minority(len(g)) > 0 }) {
			return fmt.Errorf("fault %s: a minority of %d nodes is nobody: a group needs at least 3", s, len(groups[0]))
		}
	}
	return nil
}

func minority(n int) int { return (n - 1) / 2 }

func majority(n int) int { return n/2 + 1 }

// draw picks victims of a role among the nodes that usable allows.
func draw(ctx context.Context, c harness.Cluster, at harness.Strike, role string, usable func(harness.NodeID) bool) ([]harness.NodeID, error) {
	rng := random(at, streamVictims)
	groups := slices.Clone(groupsOf(c))
	rng.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	unusable := func(n harness.NodeID) bool { return !usable(n) }
	switch role {
	case RoleOne, RoleAll:
		all := slices.DeleteFunc(c.Nodes(), unusable)
		if len(all) == 0 {
			return nil, fmt.Errorf("%w: every node is down already", harness.ErrNotNow)
		}
		if role == RoleAll {
			return all, nil
		}
		return []harness.NodeID{all[rng.IntN(len(all))]}, nil
	case RoleLeader, RoleFollower:
		return drawByLead(ctx, c, groups, role, func(nodes []harness.NodeID) []harness.NodeID {
			nodes = slices.DeleteFunc(nodes, unusable)
			if len(nodes) == 0 {
				return nil
			}
			return []harness.NodeID{nodes[rng.IntN(len(nodes))]}
		})
	}
	for _, g := range groups {
		want := minority(len(g))
		if role == RoleMajority {
			want = majority(len(g))
		}
		left := slices.DeleteFunc(slices.Clone(g), unusable)
		if want == 0 || len(left) < want {
			continue
		}
		rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		left = left[:want]
		slices.Sort(left)
		return left, nil
	}
	return nil, fmt.Errorf("%w: too few nodes are up for a %s", harness.ErrNotNow, role)
}

// drawByLead asks the groups in turn who leads, and lets choose pick among the leader, or the followers, of the first that has any.
func drawByLead(ctx context.Context, c harness.Cluster, groups [][]harness.NodeID, role string, choose func([]harness.NodeID) []harness.NodeID) ([]harness.NodeID, error) {
	g, ok := c.(harness.Groups)
	if !ok {
		return nil, fmt.Errorf("this cluster does not tell who leads: %w", harness.ErrUnsupported)
	}
	for _, members := range groups {
		states, err := harness.States(ctx, g, members)
		if err != nil {
			return nil, err
		}
		lead, ok := harness.LeaderOf(states)
		if !ok {
			continue
		}
		nodes := []harness.NodeID{lead.Node}
		if role == RoleFollower {
			nodes = nil
			for _, s := range states {
				if s.Up && s.Node != lead.Node {
					nodes = append(nodes, s.Node)
				}
			}
		}
		if chosen := choose(nodes); chosen != nil {
			return chosen, nil
		}
	}
	return nil, fmt.Errorf("%w: no group has a %s that is up", harness.ErrNotNow, role)
}
