package netsim

import (
	"slices"
	"time"
)

// Rule shapes the segments that From sends to To. An empty name means every host. Rules of several sets that match add up: a segment
// passes when none of them drops it, and waits for the sum of their delays on top of the network's own.
type Rule struct {
	From, To string
	Drop     bool          // every segment
	Loss     float64       // probability of losing a segment, 0..1
	DelayMin time.Duration // each segment waits a random time in [DelayMin, DelayMax]
	DelayMax time.Duration
}

// Counts says what a set of rules did to segments, dials included.
type Counts struct {
	Dropped       int64 // transmissions lost, repeated ones included
	Retransmitted int64 // repeats that were needed because of a loss
	Delayed       int64 // segments that waited
}

func (r *Rule) matches(from, to string) bool {
	return (r.From == "" || r.From == from) && (r.To == "" || r.To == to)
}

// ruleSet is one call of Shape. Guarded by Network.mu.
type ruleSet struct {
	rules  []Rule
	counts Counts
	active bool
}

// shaper is a rule that applies to one direction of one pair of hosts.
type shaper struct {
	rule *Rule
	set  *ruleSet
}

// Shape puts rules into force for live and future connections, beside those of other calls. undo takes these out again and returns
// what they did; further calls of it return the same. Segments that already travel are not touched; those that wait for their
// retransmission go on waiting for it.
func (n *Network) Shape(rules []Rule) (undo func() Counts) {
	set := &ruleSet{rules: slices.Clone(rules), active: true}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sets = append(n.sets, set)
	n.reshape()
	return func() Counts {
		n.mu.Lock()
		defer n.mu.Unlock()
		if set.active {
			set.active = false
			n.sets = slices.DeleteFunc(n.sets, func(s *ruleSet) bool { return s == set })
			n.reshape()
		}
		return set.counts
	}
}

// reshape tells every stream the rules that now apply to it.
func (n *Network) reshape() {
	for c := range n.conns {
		c.out.rules = n.shapers(c.host.name, c.peer.host.name)
		c.in.rules = n.shapers(c.peer.host.name, c.host.name)
	}
	for c := range n.conns {
		c.in.payAcks()
		c.out.payAcks()
		c.in.lastSent, c.out.lastSent = -1, -1 // what is written from now on is a segment of its own
	}
}

func (n *Network) shapers(from, to string) []shaper {
	var out []shaper
	for _, set := range n.sets {
		for i := range set.rules {
			if set.rules[i].matches(from, to) {
				out = append(out, shaper{&set.rules[i], set})
			}
		}
	}
	return out
}

// pass sends one segment through rules: how long it travels, or which set lost it.
func (n *Network) pass(rules []shaper) (delay time.Duration, lostBy *ruleSet) {
	delay = n.between(n.min, n.max)
	for _, s := range rules {
		if s.rule.Drop || s.rule.Loss > 0 && n.rng.Float64() < s.rule.Loss {
			s.set.counts.Dropped++
			return 0, s.set
		}
	}
	for _, s := range rules {
		if s.rule.DelayMax > 0 || s.rule.DelayMin > 0 {
			s.set.counts.Delayed++
			delay += n.between(s.rule.DelayMin, s.rule.DelayMax)
		}
	}
	return delay, nil
}

// cut says whether nothing at all passes.
func cut(rules []shaper) bool {
	return slices.ContainsFunc(rules, func(s shaper) bool { return s.rule.Drop })
}
