package logview

import (
	"slices"
	"strings"

	"github.com/assay-project/assay/histories"
)

func (v *View) sortParts() {
	slices.SortFunc(v.Parts, func(a, b *Part) int { return int(a.ID) - int(b.ID) })
	for _, p := range v.Parts {
		p.Leader = v.Events.Leader(p.ID)
	}
	v.inTruth = make([]bool, len(v.Sends))
}

// chains puts the chunks of finals and scans together.
func (v *View) chains(p *Part) {
	type owner struct {
		proc int
		node string
	}
	finals, scans := newChainer[int](v), newChainer[owner](v)
	for _, i := range p.full {
		if r := &v.Reads[i]; r.F == histories.Final {
			finals.add(r.Proc, i)
		} else {
			scans.add(owner{r.Proc, r.Node}, i)
		}
	}
	p.Finals = finals.all
	best := make(map[string]Chain)
	for _, c := range scans.all {
		if old, ok := best[c.Node]; !ok || c.Complete || !old.Complete {
			best[c.Node] = c
		}
	}
	for _, c := range best {
		p.Scans = append(p.Scans, c)
	}
	slices.SortFunc(p.Scans, func(a, b Chain) int { return strings.Compare(a.Node, b.Node) })
}

// chainer collects chains; O says whose chunks belong together.
type chainer[O comparable] struct {
	v    *View
	all  []Chain
	last map[O]int // the chain that an owner's next chunk may continue
}

func newChainer[O comparable](v *View) *chainer[O] {
	return &chainer[O]{v: v, last: make(map[O]int)}
}

// add gives the owner's next chunk to its chain: offset 0 begins a new one, anything beyond what
// the chain has reached breaks it.
func (c *chainer[O]) add(o O, i int32) {
	r := &c.v.Reads[i]
	at, ok := c.last[o]
	switch {
	case r.From == 0:
		at = len(c.all)
		c.all = append(c.all, Chain{Node: r.Node, Proc: r.Proc})
		c.last[o] = at
	case !ok:
		return
	case r.From > c.all[at].next:
		delete(c.last, o)
		return
	}
	ch := &c.all[at]
	ch.Reads = append(ch.Reads, i)
	ch.next = max(ch.next, r.Next())
	ch.End = r.HW
	ch.Complete = r.HW >= 0 && ch.next >= r.HW
}

// findTruth decides what p holds in the end: the union of the complete final reads, or else the
// complete scan of its leader.
func (v *View) findTruth(p *Part) {
	t := &p.Truth
	for _, c := range p.Finals {
		if c.Complete {
			t.Chains = append(t.Chains, c)
		}
	}
	t.Source, t.Client = "the final read", true
	if len(t.Chains) == 0 {
		c, ok := p.LeaderScan()
		if !ok || !c.Complete {
			return
		}
		t.Chains = []Chain{c}
		t.Source, t.Client = "the final scan of the leader "+c.Node, false
	}
	t.Known = true
	t.At = Never
	for _, c := range t.Chains {
		t.At = min(t.At, v.Reads[c.Reads[0]].Call)
		t.Began = max(t.Began, v.Reads[c.Reads[0]].Invoke)
		t.Done = max(t.Done, v.Reads[c.Reads[len(c.Reads)-1]].Done)
		v.Each(c, func(m histories.Message, _ *Read) {
			if s := v.SendOf(m.Value); s >= 0 && v.Sends[s].Part == p.ID {
				v.inTruth[s] = true
			}
		})
	}
}

// LeaderScan returns the scan of the partition's leader, and whether there is one.
func (p *Part) LeaderScan() (Chain, bool) { return p.ScanOf(p.Leader) }

// ScanOf returns the scan of a node, and whether there is one.
func (p *Part) ScanOf(node string) (Chain, bool) {
	for _, c := range p.Scans {
		if c.Node == node && node != "" {
			return c, true
		}
	}
	return Chain{}, false
}

// Holds reports whether a scan of one of nodes was asked for: whether one of them has a replica of
// p.
func (p *Part) Holds(nodes []string) bool {
	return slices.ContainsFunc(nodes, func(n string) bool { return slices.Contains(p.Tried, n) })
}

// Each calls do for every message of a chain. Where chunks overlap, a message comes once per chunk.
func (v *View) Each(c Chain, do func(m histories.Message, r *Read)) {
	for _, i := range c.Reads {
		r := &v.Reads[i]
		for _, m := range r.Msgs {
			do(m, r)
		}
	}
}
