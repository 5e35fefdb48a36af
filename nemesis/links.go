package nemesis

import (
	"context"
	"time"

	"github.com/assay-project/assay/harness"
)

// Bounds of slow and loss.
const (
	slowMin = 20 * time.Millisecond
	slowMax = 100 * time.Millisecond
	lossMin = 0.05
	lossMax = 0.20
)

// links makes every link of its victims worse, in both directions: those to other nodes and, where
// the environment can shape them, those to clients.
type links struct {
	Victims
	rule func(at harness.Strike) harness.Rule // without its ends
}

var _ harness.Fault = (*links)(nil)

// newSlow delays packets.
func newSlow(s Spec, n *Nodes) harness.Fault {
	return &links{Victims{s, n}, func(harness.Strike) harness.Rule { return harness.Rule{DelayMin: slowMin, DelayMax: slowMax} }}
}

// newLoss loses packets; how many is drawn with each strike.
func newLoss(s Spec, n *Nodes) harness.Fault {
	return &links{Victims{s, n}, func(at harness.Strike) harness.Rule {
		return harness.Rule{Loss: lossMin + Random(at, streamLoss).Float64()*(lossMax-lossMin)}
	}}
}

const netAbility = "shape the network"

// Supports implements harness.Fault.
func (f *links) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Network](c); !ok {
		return Unsupported(f.Spec, netAbility)
	}
	if len(c.Nodes()) < 2 {
		return noLinks(f.Spec)
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (f *links) Inject(ctx context.Context, s harness.Stage, at harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	net, ok := harness.Can[harness.Network](s.Cluster)
	if !ok {
		return nil, Unsupported(f.Spec, netAbility)
	}
	shape := f.rule(at)
	links := newLinkSet(shape)
	for _, n := range nodes {
		for _, other := range s.Cluster.Nodes() {
			links.both(harness.Endpoint{Node: n}, harness.Endpoint{Node: other})
		}
		for _, c := range clientEnds(s) {
			links.both(harness.Endpoint{Node: n}, c)
		}
	}
	return net.Shape(ctx, links.rules)
}

// generations is how many processes in a row of one client slot a shape covers. While it lasts,
// processes retire and fresh ones take their place.
const generations = 8

// clientEnds are the clients of now and those that may follow them while a shape lasts.
func clientEnds(s harness.Stage) []harness.Endpoint {
	shaper, ok := harness.Can[harness.ClientShaper](s.Cluster)
	if !ok || !shaper.ShapesClients() || s.Processes == nil {
		return nil
	}
	var all []harness.Endpoint
	for _, p := range s.Processes() {
		all = append(all, successors(s, p)...)
	}
	return all
}

// successors are a process and those that take its slot after it.
func successors(s harness.Stage, process int) []harness.Endpoint {
	all := make([]harness.Endpoint, generations)
	for g := range all {
		all[g].Process = process + g*s.Clients
	}
	return all
}

// linkSet collects rules of one shape, one per direction of a link.
type linkSet struct {
	shape harness.Rule
	rules []harness.Rule
	known map[[2]harness.Endpoint]bool
}

func newLinkSet(shape harness.Rule) *linkSet {
	return &linkSet{shape: shape, known: make(map[[2]harness.Endpoint]bool)}
}

// oneway adds the direction from a to b; a link of an end to itself, or between two clients, is
// none.
func (l *linkSet) oneway(a, b harness.Endpoint) {
	k := [2]harness.Endpoint{a, b}
	if a == b || a.Node == "" && b.Node == "" || l.known[k] {
		return
	}
	l.known[k] = true
	rule := l.shape
	rule.From, rule.To = a, b
	l.rules = append(l.rules, rule)
}

func (l *linkSet) both(a, b harness.Endpoint) {
	l.oneway(a, b)
	l.oneway(b, a)
}
