package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/assay-project/assay/harness"
)

// partition cuts links. A split is between nodes, and every client reaches every node. With
// clients, each of them is on one side.
type partition struct {
	Victims
}

var _ harness.Fault = (*partition)(nil)

func newPartition(s Spec, n *Nodes) harness.Fault { return &partition{Victims{s, n}} }

const splitAbility = "split the network"

func noLinks(s Spec) error {
	return fmt.Errorf("fault %s: one node has no links to others: add nodes", s)
}

// Supports implements harness.Fault.
func (f *partition) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Network](c); !ok {
		return Unsupported(f.Spec, splitAbility)
	}
	if f.Spec.WithClients {
		if s, ok := harness.Can[harness.ClientShaper](c); !ok || !s.ShapesClients() {
			return Unsupported(f.Spec, "split clients from nodes")
		}
	}
	n := largest(neighborhoods(c))
	if n < 2 {
		return noLinks(f.Spec)
	}
	if n < f.least() {
		return fmt.Errorf("fault %s: in a ring of %d nodes everybody has everybody for a neighbour: a group needs at least %d", f.Spec, n, f.least())
	}
	return f.Victims.Supports(c)
}

// Draw implements harness.Fault. The struck nodes are one side of the split; of a ring, all of it.
func (f *partition) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	sets := neighborhoods(c)
	nodes, err := draw(ctx, c, at, f.Spec.Role, func(n harness.NodeID) bool {
		return !f.Nodes.Down(n) && len(around(sets, n)) >= f.least()
	})
	if err != nil {
		return nil, err
	}
	everybody := f.Spec.Role == RoleAll // all on one side would leave nobody on the other
	switch {
	case f.Spec.Shape == shapeHalves, f.Spec.Shape == shapeOneway && everybody:
		nodes = half(sets, nodes, Random(at, streamSides))
	case f.Spec.Shape == shapeRing:
		nodes = slices.Clone(around(sets, nodes[0]))
	}
	return nodes, nil
}

// least is how many connected nodes the shape needs.
func (f *partition) least() int {
	if f.Spec.Shape == shapeRing {
		return 4
	}
	return 2
}

// half completes the victims to one half of each set that they are in, rounded down, so that a
// leader or one node is in the smaller half. Victims that are more than half of a set are thinned
// out to a half.
func half(sets [][]harness.NodeID, victims []harness.NodeID, rng *rand.Rand) []harness.NodeID {
	var side []harness.NodeID
	for _, members := range sets {
		in := slices.DeleteFunc(slices.Clone(members), func(n harness.NodeID) bool { return !slices.Contains(victims, n) })
		if len(in) == 0 {
			continue
		}
		out := slices.DeleteFunc(slices.Clone(members), func(n harness.NodeID) bool { return slices.Contains(victims, n) })
		rng.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		side = append(side, append(in, out...)[:len(members)/2]...)
	}
	slices.Sort(side)
	return side
}

// Inject implements harness.Fault.
func (f *partition) Inject(ctx context.Context, s harness.Stage, at harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	net, ok := harness.Can[harness.Network](s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, splitAbility)
	}
	links := newLinkSet(harness.Rule{Drop: true})
	rng := Random(at, streamSides)
	if f.Spec.Shape == shapeRing {
		ring(links, nodes, f.clients(s, rng, len(nodes)))
		return net.Shape(ctx, links.rules)
	}
	others := slices.DeleteFunc(s.Cluster.Nodes(), func(n harness.NodeID) bool { return slices.Contains(nodes, n) })
	sides := f.clients(s, rng, 2)
	a, b := ends(nodes, sides[0]), ends(others, sides[1])
	cut := links.both
	if f.Spec.Shape == shapeOneway {
		cut = links.oneway
		if rng.IntN(2) == 1 {
			a, b = b, a
		}
	}
	for _, x := range a {
		for _, y := range b {
			cut(x, y)
		}
	}
	if f.Spec.Shape == shapeAlone {
		for _, x := range nodes {
			for _, y := range nodes {
				links.both(harness.Endpoint{Node: x}, harness.Endpoint{Node: y})
			}
		}
	}
	return net.Shape(ctx, links.rules)
}

// clients deals the client slots out to n sides, at least one to each as far as they suffice.
// Without clients in the split all sides are empty.
func (f *partition) clients(s harness.Stage, rng *rand.Rand, n int) [][]harness.Endpoint {
	sides := make([][]harness.Endpoint, n)
	if !f.Spec.WithClients || s.Processes == nil {
		return sides
	}
	processes := s.Processes()
	rng.Shuffle(len(processes), func(i, j int) { processes[i], processes[j] = processes[j], processes[i] })
	for i, p := range processes {
		side := i
		if i >= n {
			side = rng.IntN(n)
		}
		sides[side] = append(sides[side], successors(s, p)...)
	}
	return sides
}

func ends(nodes []harness.NodeID, clients []harness.Endpoint) []harness.Endpoint {
	all := slices.Clone(clients)
	for _, n := range nodes {
		all = append(all, harness.Endpoint{Node: n})
	}
	return all
}

// ring cuts every link but those between neighbours. A client reaches the node of its side, and
// what that node reaches.
func ring(links *linkSet, nodes []harness.NodeID, clients [][]harness.Endpoint) {
	n := len(nodes)
	for i, x := range nodes {
		for j, y := range nodes {
			if j == i || j == (i+1)%n || i == (j+1)%n {
				continue
			}
			links.both(harness.Endpoint{Node: x}, harness.Endpoint{Node: y})
			for _, c := range clients[i] {
				links.both(c, harness.Endpoint{Node: y})
			}
		}
	}
}
