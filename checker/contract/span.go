package contract

import (
	"cmp"
	"math"
	"slices"

	"github.com/assay-project/assay/histories"
)

// AnyGroup is the group of what is about none in particular.
const AnyGroup = -1

// fenced is how long after a promote, with every fault healed, the leader before it may go on: a
// generous bound on how long it takes to hear of the new epoch (docs/guarantees.md, Reads).
const fenced = int64(2e9)

// Span is where and when an event excuses anomalies.
type Span struct {
	Group int   // AnyGroup: everywhere
	From  int64 // ns: an anomaly that was complete before that has another reason
	Until int64 // ns: a message that was sent later was not lost by it; math.MaxInt64: unknown
}

func (s Span) covers(c Case) bool {
	return (s.Group == c.Group || s.Group == AnyGroup || c.Group == AnyGroup) && c.Seen >= s.From && c.Sent <= s.Until
}

// Always is the span of what needs no event.
func Always() []Span { return []Span{{Group: AnyGroup, Until: math.MaxInt64}} }

// DamageSpans returns the spans of the damages of a kind. That of a lost disk or lost unsynced
// bytes ends when the node has caught up and everybody knows who leads; but a follower that is
// ahead of a leader without its tail may be chosen by a promote much later, so that of unsynced
// bytes lasts until the last one. The others have no end: a flipped bit is found by the next start.
func (f *Facts) DamageSpans(is func(*Damage) bool) []Span {
	var spans []Span
	for i := range f.Damages {
		d := &f.Damages[i]
		if !is(d) {
			continue
		}
		until := int64(math.MaxInt64)
		switch d.Harm {
		case histories.HarmDisk:
			until = f.quiet(d.Until)
		case histories.HarmUnsynced:
			until = max(f.quiet(d.Until), f.promoted(d))
		}
		spans = append(spans, Span{Group: d.Group, From: d.From, Until: until})
	}
	return spans
}

// promoted returns when everybody knew of the last promote of a damaged node's group; 0 when there
// was none.
func (f *Facts) promoted(d *Damage) int64 {
	last := int64(0)
	for i := range f.Promotions {
		if p := &f.Promotions[i]; p.Group == d.Group || d.Group == AnyGroup {
			last = max(last, f.quiet(p.Done))
		}
	}
	return last
}

// PromoteSpans returns the spans of the promotes of a kind, until the leader before has heard of
// it.
func (f *Facts) PromoteSpans(is func(*Promotion) bool) []Span {
	var spans []Span
	for i := range f.Promotions {
		if p := &f.Promotions[i]; is(p) {
			spans = append(spans, Span{Group: p.Group, From: p.From, Until: f.quiet(p.Done)})
		}
	}
	return spans
}

// quiet returns when no fault has been on for long enough after t that every leader knows whether
// it still leads.
func (f *Facts) quiet(t int64) int64 {
	if t > math.MaxInt64-fenced {
		return math.MaxInt64
	}
	strikes := slices.SortedFunc(slices.Values(f.Strikes), func(a, b Strike) int { return cmp.Compare(a.From, b.From) })
	for _, s := range strikes {
		if s.Until > t && s.From <= t+fenced {
			t = s.Until
		}
		if t > math.MaxInt64-fenced {
			return math.MaxInt64
		}
	}
	return t + fenced
}
