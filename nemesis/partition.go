package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/assay-project/assay/harness"
)

// partition cuts links. Splits are between nodes, and every client reaches every node; with clients, each of them is on one side.
type partition struct {
	victims
}

var _ harness.Fault = (*partition)(nil)

func newPartition(s Spec, w *ward) harness.Fault { return &partition{victims{s, w}} }

func alone(s Spec) error {
	return fmt.Errorf("fault %s: one node has no links to others: add nodes", s)
}

// Supports implements harness.Fault.
func (f *partition) Supports(c harness.Cluster) error {
	if _, ok := c.(harness.Network); !ok {
		return unsupported(f.spec, "split the network")
	}
	if f.spec.WithClients {
		if s, ok := c.(harness.ClientShaper); !ok || !s.ShapesClients() {
			return unsupported(f.spec, "split clients from nodes")
		}
	}
	largest := 0
	for _, g := range groupsOf(c) {
		largest = max(largest, len(g))
	}
	if largest < 2 {
		return alone(f.spec)
	}
	if f.spec.Shape == shapeRing && largest < 4 {
		return fmt.Errorf("fault %s: in a ring of %d nodes everybody has everybody for a neighbour: a group needs at least 4", f.spec, largest)
	}
	return supportsRole(c, f.spec)
}

// Draw implements harness.Fault. The struck nodes are one side of the split; of a ring, all of it.
func (f *partition) Draw(ctx context.Context, c harness.Cluster, at harness.Strike) ([]harness.NodeID, error) {
	nodes, err := draw(ctx, c, at, f.spec.Role, func(n harness.NodeID) bool {
		_, members := groupOf(c, n)
		return !f.ward.isDown(n) && len(members) >= f.least()
	})
	if err != nil {
		return nil, err
	}
	switch {
	case f.spec.Shape == shapeHalves, f.spec.Shape == shapeOneway && f.spec.Role == RoleAll: // all on one side would leave nobody on the other
		nodes = half(c, nodes, random(at, streamSides))
	case f.spec.Shape == shapeRing:
		_, nodes = groupOf(c, nodes[0])
	}
	return nodes, nil
}

// least is how many nodes a group needs for the shape.
func (f *partition) least() int {
	if f.spec.Shape == shapeRing {
		return 4
	}
	return 2
}

// half completes the victims to one half of their group, rounded down, so that a leader or one node is in the smaller half. Victims who are more than half of a
// group, or all of it, are thinned out to a half.
func half(c harness.Cluster, victims []harness.NodeID, rng *rand.Rand) []harness.NodeID {
	var side []harness.NodeID
	for _, members := range groupsOf(c) {
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
	net, ok := s.Cluster.(harness.Network)
	if !ok {
		return nil, unsupported(f.spec, "split the network")
	}
	links := newLinkSet(harness.Rule{Drop: true})
	rng := random(at, streamSides)
	if f.spec.Shape == shapeRing {
		ring(links, nodes, f.clients(s, rng, len(nodes)))
		return net.Shape(ctx, links.rules)
	}
	others := slices.DeleteFunc(s.Cluster.Nodes(), func(n harness.NodeID) bool { return slices.Contains(nodes, n) })
	sides := f.clients(s, rng, 2)
	a, b := ends(nodes, sides[0]), ends(others, sides[1])
	cut := links.both
	if f.spec.Shape == shapeOneway {
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
	if f.spec.Shape == shapeAlone {
		for _, x := range nodes {
			for _, y := range nodes {
				links.both(harness.Endpoint{Node: x}, harness.Endpoint{Node: y})
			}
		}
	}
	return net.Shape(ctx, links.rules)
}

// clients deals the client slots out to n sides, at least one to each as far as they suffice. Without clients in the split all sides are empty.
func (f *partition) clients(s harness.Stage, rng *rand.Rand, n int) [][]harness.Endpoint {
	sides := make([][]harness.Endpoint, n)
	if !f.spec.WithClients || s.Processes == nil {
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

// ring cuts every link but those between neighbours. A client reaches what the node of its side reaches, and that node.
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
