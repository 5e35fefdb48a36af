package nemesis

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/assay-project/assay/harness"
)

// This file asks which nodes belong together. A group is a set of nodes that replicates one log,
// and a node may be in several groups, with another role in each.

// group is a replication group with its number.
type group struct {
	number  int
	members []harness.NodeID
}

// groupsWith returns the groups that n is in.
func groupsWith(c harness.Cluster, n harness.NodeID) []group {
	var all []group
	for i, members := range harness.GroupsOf(c) {
		if slices.Contains(members, n) {
			all = append(all, group{i, members})
		}
	}
	return all
}

// shuffled returns the groups in random order.
func shuffled(c harness.Cluster, rng *rand.Rand) []group {
	var all []group
	for i, members := range harness.GroupsOf(c) {
		all = append(all, group{i, members})
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// largest returns the size of the largest group.
func largest(groups [][]harness.NodeID) int {
	n := 0
	for _, members := range groups {
		n = max(n, len(members))
	}
	return n
}

// peers returns the other members of all groups of n. The peers of a node without a group are all
// other nodes: nothing is known about it.
func peers(c harness.Cluster, n harness.NodeID) []harness.NodeID {
	groups := groupsWith(c, n)
	if len(groups) == 0 {
		groups = []group{{members: c.Nodes()}}
	}
	var all []harness.NodeID
	for _, g := range groups {
		for _, m := range g.members {
			if m != n && !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	return all
}

// neighborhoods divides the nodes into sets that do not share a group: a group, or groups that
// overlap. A node without a group may be connected to any other, so all nodes are one set then.
func neighborhoods(c harness.Cluster) [][]harness.NodeID {
	var all [][]harness.NodeID
	for _, members := range harness.GroupsOf(c) {
		if len(members) > 0 {
			all = merge(all, members)
		}
	}
	nodes := c.Nodes()
	if slices.ContainsFunc(nodes, func(n harness.NodeID) bool { return len(around(all, n)) == 0 }) {
		return [][]harness.NodeID{nodes}
	}
	return all
}

// merge adds a group to disjoint sets. Those that overlap with it become one with it.
func merge(sets [][]harness.NodeID, members []harness.NodeID) [][]harness.NodeID {
	var apart [][]harness.NodeID
	var one []harness.NodeID
	for _, set := range sets {
		if slices.ContainsFunc(set, func(n harness.NodeID) bool { return slices.Contains(members, n) }) {
			one = append(one, set...)
		} else {
			apart = append(apart, set)
		}
	}
	for _, n := range members {
		if !slices.Contains(one, n) {
			one = append(one, n)
		}
	}
	return append(apart, one)
}

// around returns the one of sets that n is in; nil if it is in none.
func around(sets [][]harness.NodeID, n harness.NodeID) []harness.NodeID {
	for _, set := range sets {
		if slices.Contains(set, n) {
			return set
		}
	}
	return nil
}

// statesOf asks n for its part in each of its groups. A cluster without Groups tells nothing.
func statesOf(ctx context.Context, c harness.Cluster, n harness.NodeID) ([]harness.NodeState, error) {
	g, ok := harness.Can[harness.Groups](c)
	if !ok {
		return nil, nil
	}
	var all []harness.NodeState
	for _, in := range groupsWith(c, n) {
		states, err := harness.States(ctx, g, in.number, []harness.NodeID{n})
		if err != nil {
			return nil, err
		}
		all = append(all, states...)
	}
	return all, nil
}
