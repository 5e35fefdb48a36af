package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/assay-project/assay/harness"
)

// Streams of the stock faults. They keep apart the random numbers that derive from one Strike.Pick.
const (
	streamVictims = iota + 1
	streamSides
	streamLoss
	streamBits
)

// Random returns the random numbers of a strike. Equal strikes give equal numbers, and each stream
// has numbers of its own. Streams below 100 are the stock faults': Nodes.Draw uses one of them.
func Random(at harness.Strike, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(at.Pick, stream))
}

// Victims is what most faults have in common: they are written as their spec says, and strike nodes
// of its role that no other strike keeps down. Embed it to get all of a harness.Fault but Inject.
type Victims struct {
	Spec  Spec
	Nodes *Nodes
}

// Name implements harness.Fault.
func (v Victims) Name() string { return v.Spec.Text }

// Supports implements harness.Fault for a fault that needs nothing but victims: it says why nobody
// of a cluster can have the role. A fault that needs an ability asks for that first, with
// harness.Can, and returns Unsupported where it is missing.
func (v Victims) Supports(c harness.Cluster) error { return supportsRole(c, v.Spec) }

// Draw implements harness.Fault.
func (v Victims) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	return v.Nodes.Draw(ctx, c, at, v.Spec)
}

// Draw picks the victims of a strike: nodes of c that have the role of spec, as they are now, and
// that no other strike keeps down. at.Pick is the only randomness. The error wraps
// harness.ErrNotNow when there is no such node at the moment. A fault calls it from its own Draw.
func (t *Nodes) Draw(ctx context.Context, c harness.Cluster, at harness.Strike, spec Spec) ([]harness.NodeID, error) {
	return draw(ctx, c, at, spec.Role, func(n harness.NodeID) bool { return !t.Down(n) })
}

// supportsRole says why nobody of a cluster can have a role.
func supportsRole(c harness.Cluster, s Spec) error {
	groups := harness.GroupsOf(c)
	switch s.Role {
	case RoleOne, RoleMajority, RoleAll:
	case RoleLeader, RoleFollower:
		if _, ok := harness.Can[harness.Groups](c); !ok {
			return fmt.Errorf("fault %s: this cluster does not tell who leads: %w", s, harness.ErrUnsupported)
		}
		if s.Role == RoleFollower && largest(groups) < 2 {
			return fmt.Errorf("fault %s: no group has a follower: add nodes", s)
		}
	case RoleMinority:
		if n := largest(groups); minority(n) == 0 {
			return fmt.Errorf("fault %s: a minority of %d nodes is nobody: a group needs at least 3", s, n)
		}
	default:
		return fmt.Errorf("fault %s: no node can be drawn by the role %q: the fault has to draw its victims itself", s, s.Role)
	}
	return nil
}

func minority(n int) int { return (n - 1) / 2 }

func majority(n int) int { return n/2 + 1 }

// drawing is one draw of victims.
type drawing struct {
	c      harness.Cluster
	rng    *rand.Rand
	groups []group // in the order in which they are tried
	usable func(harness.NodeID) bool
}

// draw picks victims of a role among the nodes that usable allows.
func draw(ctx context.Context, c harness.Cluster, at harness.Strike, role string, usable func(harness.NodeID) bool) ([]harness.NodeID, error) {
	d := drawing{c: c, rng: Random(at, streamVictims), usable: usable}
	d.groups = shuffled(c, d.rng)
	switch role {
	case RoleOne, RoleAll:
		all := d.among(c.Nodes())
		if len(all) == 0 {
			return nil, fmt.Errorf("%w: every node is down already", harness.ErrNotNow)
		}
		if role == RoleAll {
			return all, nil
		}
		return d.one(all), nil
	case RoleLeader, RoleFollower:
		return d.byLead(ctx, role)
	case RoleMinority:
		return d.part(role, minority)
	case RoleMajority:
		return d.part(role, majority)
	}
	return nil, fmt.Errorf("no node can be drawn by the role %q", role)
}

// among returns those of nodes that are usable.
func (d *drawing) among(nodes []harness.NodeID) []harness.NodeID {
	return slices.DeleteFunc(slices.Clone(nodes), func(n harness.NodeID) bool { return !d.usable(n) })
}

// one picks one of nodes.
func (d *drawing) one(nodes []harness.NodeID) []harness.NodeID {
	return []harness.NodeID{nodes[d.rng.IntN(len(nodes))]}
}

// part picks some of the first group that has enough usable nodes. size is how many of n are
// picked.
func (d *drawing) part(role string, size func(n int) int) ([]harness.NodeID, error) {
	for _, g := range d.groups {
		want, left := size(len(g.members)), d.among(g.members)
		if want == 0 || len(left) < want {
			continue
		}
		d.rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		left = left[:want]
		slices.Sort(left)
		return left, nil
	}
	return nil, fmt.Errorf("%w: too few nodes are up for a %s", harness.ErrNotNow, role)
}

// byLead picks the leader or a follower of the first group that has one that is up and usable.
func (d *drawing) byLead(ctx context.Context, role string) ([]harness.NodeID, error) {
	g, ok := harness.Can[harness.Groups](d.c)
	if !ok {
		return nil, fmt.Errorf("this cluster does not tell who leads: %w", harness.ErrUnsupported)
	}
	for _, in := range d.groups {
		states, err := harness.States(ctx, g, in.number, in.members)
		if err != nil {
			return nil, err
		}
		if nodes := d.among(ofRole(states, role)); len(nodes) > 0 {
			return d.one(nodes), nil
		}
	}
	return nil, fmt.Errorf("%w: no group has a %s that is up", harness.ErrNotNow, role)
}

// ofRole returns the leader, or the followers that are up, among the states of one group. There is
// nobody when nobody leads.
func ofRole(states []harness.NodeState, role string) []harness.NodeID {
	lead, ok := harness.LeaderOf(states)
	if !ok {
		return nil
	}
	if role == RoleLeader {
		return []harness.NodeID{lead.Node}
	}
	var nodes []harness.NodeID
	for _, s := range states {
		if s.Up && s.Node != lead.Node {
			nodes = append(nodes, s.Node)
		}
	}
	return nodes
}
