package contract

import (
	"math"
	"slices"

	"github.com/assay-project/assay/histories"
)

// Facts are the events of a run that promises depend on.
type Facts struct {
	Damages    []Damage
	Promotions []Promotion
	Strikes    []Strike
	// Operated: a strike tried to move the leadership, as an operator does, with success or
	// without.
	Operated bool
}

// Damage is one fault that may have destroyed what a node's disk held, or that makes the node stop
// for good.
type Damage struct {
	Harm  histories.Harm // disk, unsynced, bits, writes
	Node  string
	Group int   // AnyGroup: no note says which
	Led   bool  // the node led its group when it was struck
	From  int64 // ns, when it was struck
	Until int64 // ns, when it had caught up again; math.MaxInt64 if it was not seen to
}

// Strike is the time that one fault was on.
type Strike struct {
	From, Until int64 // ns; math.MaxInt64: it was not healed
}

// Promotion is one promote that happened.
type Promotion struct {
	Group  int
	Leader string
	Epoch  int64
	Safe   bool // nothing acknowledged was left behind
	Forced bool
	Moved  bool  // another node led before
	From   int64 // ns, not after it was asked for: when the strike began that did
	Done   int64 // ns, when it was noted
}

// FactsOf draws the facts from the events of a history. A node of which no note tells the group may
// be of any, and is taken for one that may have led.
func FactsOf(e *histories.Events) Facts {
	r := reader{group: make(map[string][]int), leader: make(map[int]string)}
	for i := range e.Strikes {
		s := &e.Strikes[i]
		until := int64(math.MaxInt64)
		if s.Healed() {
			until = s.To
		}
		r.facts.Strikes = append(r.facts.Strikes, Strike{From: s.From, Until: until})
		r.facts.Operated = r.facts.Operated || s.Harm == histories.HarmLeadership && !s.Missed
	}
	next := 0
	for i := range e.Notes {
		n := &e.Notes[i]
		for ; next < len(e.Strikes) && e.Strikes[next].Inject < n.Index; next++ {
			r.damage(&e.Strikes[next])
		}
		r.note(e, n)
	}
	for ; next < len(e.Strikes); next++ {
		r.damage(&e.Strikes[next])
	}
	return r.facts
}

// reader collects Facts.
type reader struct {
	facts  Facts
	group  map[string][]int // node -> groups
	leader map[int]string   // group -> node
}

func (r *reader) note(e *histories.Events, n *histories.Noted) {
	switch {
	case n.Note == histories.NoteGroup:
		g := int(n.Part)
		for i, node := range n.Nodes {
			if i == 0 {
				r.leader[g] = node
			}
			if !slices.Contains(r.group[node], g) {
				r.group[node] = append(r.group[node], g)
			}
		}
	case n.Note == histories.NotePromote && n.Promote != nil:
		r.promotion(e, n)
	case n.Note == histories.NoteCaughtUp:
		for i := range r.facts.Damages {
			if d := &r.facts.Damages[i]; d.Node == n.Node() && d.Until == math.MaxInt64 {
				d.Until = n.Time
			}
		}
	}
}

// damage notes what a strike did to each node, in each of its groups.
func (r *reader) damage(s *histories.Strike) {
	switch s.Harm {
	case histories.HarmDisk, histories.HarmUnsynced, histories.HarmBits, histories.HarmWrites:
	default:
		return
	}
	if s.Missed {
		return
	}
	for _, n := range s.Nodes {
		groups := r.group[n]
		if len(groups) == 0 {
			groups = []int{AnyGroup}
		}
		for _, g := range groups {
			leader, known := r.leader[g]
			r.facts.Damages = append(r.facts.Damages, Damage{
				Harm: s.Harm, Node: n, Group: g, Led: !known || leader == n, From: s.From, Until: math.MaxInt64,
			})
		}
	}
}

func (r *reader) promotion(e *histories.Events, n *histories.Noted) {
	p := Promotion{
		Group: int(n.Part), Leader: n.Node(), Epoch: n.Promote.Epoch, Safe: n.Promote.Safe, Forced: n.Promote.Forced,
		Moved: r.leader[int(n.Part)] != n.Node(), From: asked(e, n), Done: n.Time,
	}
	r.facts.Promotions = append(r.facts.Promotions, p)
	r.leader[p.Group] = p.Leader
}

// asked returns when the earliest of the strikes began that were on at a promote, one of which
// asked for it; 0 if there is none.
func asked(e *histories.Events, n *histories.Noted) int64 {
	for i := range e.Strikes {
		s := &e.Strikes[i]
		if s.Inject < n.Index && (!s.Healed() || s.Heal > n.Index) {
			return s.From
		}
	}
	return 0
}
