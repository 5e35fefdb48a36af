package judge

import (
	"cmp"
	"math"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// permits decides for every anomaly whether the contract permits it.
//
// A class may be permitted outright. Beyond that, where messages may be lost, what their loss
// implies is permitted *for the same messages* (checker.Follower). A message
// vanished when it was acknowledged or read at some offset, or a read stated a committed end above
// it, and it is absent from the end state of its partition. Messages that vanished together make a
// range of offsets; others are written there afterwards. So an anomaly of an implied class is
// permitted if it concerns a vanished message, or only offsets within ranges of vanished messages
// of its partition. Of a poll-skip every message that was skipped counts, and as a replica diverges
// from one offset on, of a replica-divergence what is at the first; an anomaly that names neither
// messages nor offsets is permitted if any message of its partition vanished.
//
// If only visible=appended is what permits it (rolled-back-read but not lost-write), only messages
// count that were not strongly acknowledged, and an anomaly that names one that was is excluded. If
// a partition's end state is unknown, nothing can be said about its messages; then the class is
// what counts, and the verdict is unknown for the missing read anyway. So is that of a
// nonmonotonic-send there: a send that takes the offset of a lost one is in order (checker/order),
// and which ones are lost is what nobody knows.
//
// An event excuses only what it may have caused (contract.Span): nothing in another replication
// group, nothing that was complete before.
type permits struct {
	contract *contract.Contract
	groups   int
	times    map[int64]int64 // index of a witness -> its time; ops of clients only
	sent     map[int64]int64 // lost message -> when it was sent
	parts    map[int32]*vanished
	follow   []checker.Class // follow from a loss by the word of a checker
}

// vanished is what vanished from one partition.
type vanished struct {
	known  bool // the end state is known
	values map[int64]bool
	broken map[int64]bool // values that vanished although nothing permits it
	ranges []offsetRange  // in order
}

// offsetRange is a range of offsets, both included.
type offsetRange struct{ from, to int64 }

// newPermits looks at the history only if it matters: if some anomaly may be permitted, and again
// if one may be for what it follows from.
func newPermits(v *logview.View, h histories.Reader, in *Input, j *Judgement) *permits {
	p := &permits{contract: &j.Contract, groups: in.Promise.Groups, times: make(map[int64]int64), sent: make(map[int64]int64)}
	for _, c := range j.Checkers {
		if f, ok := c.(checker.Follower); ok {
			p.follow = append(p.follow, f.FollowsLoss()...)
		}
	}
	all, k := j.Report.Anomalies(), &j.Contract
	if len(all) == 0 || len(k.Permissions()) == 0 {
		return p
	}
	p.index(v, h, all)
	lost, _ := k.Permits(checker.LostWrite)
	rolled, _ := k.Permits(checker.RolledBackRead)
	if (lost || rolled) && slices.ContainsFunc(all, func(a checker.Anomaly) bool { return p.implied(a.Class) || a.Class == checker.NonmonotonicSend }) {
		p.parts = vanishedOf(v, func(part int32) bool {
			at := contract.Case{Group: p.group(part), Seen: math.MaxInt64}
			ok, _ := k.Covers(checker.LostWrite, at)
			return !ok
		})
	}
	return p
}

// index notes the times of all witnesses, and when lost messages were sent.
func (p *permits) index(v *logview.View, h histories.Reader, all []checker.Anomaly) {
	const wanted = -1
	for i := range all {
		for _, w := range all[i].Witnesses {
			p.times[w] = wanted
		}
		if all[i].Class != checker.LostWrite {
			continue
		}
		for _, value := range all[i].Values {
			p.sent[value] = wanted
			if s := v.SendOf(value); s >= 0 {
				p.sent[value] = v.Sends[s].Call
			}
		}
	}
	for op := range h.Ops() {
		if _, ok := p.times[op.Index]; !ok {
			continue
		}
		if op.Process == histories.NemesisProcess && op.F != histories.Note {
			delete(p.times, op.Index)
			continue
		}
		p.times[op.Index] = op.Time
	}
}

// group returns the replication group of a partition.
func (p *permits) group(part int32) int {
	if part < 0 {
		return contract.AnyGroup
	}
	return histories.GroupOf(part, p.groups)
}

// caseOf returns what the contract has to know of a. An anomaly without witnesses may have been
// seen at any time.
func (p *permits) caseOf(a *checker.Anomaly) contract.Case {
	c := contract.Case{Group: p.group(a.Part), Seen: -1}
	for _, w := range a.Witnesses {
		if t, ok := p.times[w]; ok {
			c.Seen = max(c.Seen, t)
		}
	}
	if c.Seen < 0 {
		c.Seen = math.MaxInt64
	}
	if a.Class == checker.LostWrite {
		for _, v := range a.Values {
			c.Sent = max(c.Sent, p.sent[v])
		}
	}
	return c
}

// anomaly reports whether a is permitted, and why.
func (p *permits) anomaly(a *checker.Anomaly) (bool, string) {
	at := p.caseOf(a)
	ok, why := p.contract.Covers(a.Class, at)
	at.Sent = 0 // of messages that vanished, the lost ones are judged by themselves
	lost, because := p.contract.Covers(checker.LostWrite, at)
	// Permitted with visible=appended, a rolled-back read of a strongly acknowledged message is
	// still excluded.
	if ok && (lost || a.Class != checker.RolledBackRead) {
		return true, why
	}
	if !lost {
		lost, because = p.contract.Covers(checker.RolledBackRead, at)
	}
	v := p.parts[a.Part]
	switch {
	case !lost || v == nil:
	case p.implied(a.Class) && (!v.known || v.implies(a)), a.Class == checker.NonmonotonicSend && !v.known:
		return true, "it follows from the loss of the same messages: " + because
	}
	return false, ""
}

// implied reports whether anomalies of a class may follow from a loss.
func (p *permits) implied(c checker.Class) bool { return slices.Contains(p.follow, c) }

// implies reports whether a follows from what vanished.
func (v *vanished) implies(a *checker.Anomaly) bool {
	if len(v.ranges) == 0 || slices.ContainsFunc(a.Values, func(value int64) bool { return v.broken[value] }) {
		return false
	}
	if len(a.Values) == 0 && len(a.Offsets) == 0 {
		return true
	}
	values, offsets := a.Values, a.Offsets
	switch a.Class {
	case checker.ReplicaDivergence:
		values, offsets = firstPlace(values, offsets)
	case checker.PollSkip:
		if len(values) == len(offsets) { // each of them was skipped
			return v.all(values, offsets)
		}
	}
	return slices.ContainsFunc(values, func(value int64) bool { return v.values[value] }) || len(offsets) > 0 && v.all(nil, offsets)
}

// all reports whether each offset is in a range, or has the vanished message at its place in
// values.
func (v *vanished) all(values, offsets []int64) bool {
	for i, o := range offsets {
		if !v.covers(o) && (len(values) == 0 || !v.values[values[i]]) {
			return false
		}
	}
	return true
}

// firstPlace returns the least offset and the message that is named with it.
func firstPlace(values, offsets []int64) (value, offset []int64) {
	if len(offsets) == 0 {
		return values, nil
	}
	least := slices.Min(offsets)
	for i, o := range offsets {
		if o == least && len(values) == len(offsets) {
			value = append(value, values[i])
		}
	}
	return value, []int64{least}
}

func (v *vanished) covers(o int64) bool {
	return slices.ContainsFunc(v.ranges, func(r offsetRange) bool { return r.from <= o && o <= r.to })
}

// place is a message at an offset, and when it was first known to be there.
type place struct {
	offset int64
	at     int64 // ns
	kept   bool  // it is in the end state
}

// partHistory is what a history says about where the messages of one partition were.
type partHistory struct {
	places map[int64]place // by value
	ends   map[int64]int64 // committed end that a poll stated -> the first time
}

func (p *partHistory) add(m histories.Message, at int64) {
	if _, ok := p.places[m.Value]; !ok && m.Offset != histories.Unset {
		p.places[m.Value] = place{offset: m.Offset, at: at}
	}
}

// vanishedOf finds what vanished from each partition. Where weakOnly, strongly acknowledged
// messages may not vanish.
func vanishedOf(v *logview.View, weakOnly func(part int32) bool) map[int32]*vanished {
	parts := make(map[int32]*partHistory)
	for _, p := range v.Parts {
		parts[p.ID] = &partHistory{places: make(map[int64]place), ends: make(map[int64]int64)}
	}
	read := func(r *logview.Read) {
		p, truth := parts[r.Part], &v.Part(r.Part).Truth
		if r.F == histories.Poll && truth.Known && r.Done > truth.Began {
			return // it saw what came later than the end state
		}
		if _, ok := p.ends[r.HW]; !ok && r.F == histories.Poll && r.HW > 0 {
			p.ends[r.HW] = r.Return
		}
		for _, m := range r.Msgs {
			p.add(m, r.Return)
		}
	}
	next := 0 // sends and reads are each in the order of their completions
	for i := range v.Sends {
		s := &v.Sends[i]
		if s.Type != histories.OK && s.Type != histories.Weak {
			continue
		}
		for ; next < len(v.Reads) && v.Reads[next].Done < s.Done; next++ {
			read(&v.Reads[next])
		}
		parts[s.Part].add(histories.Message{Offset: s.Offset, Value: s.Value}, s.Return)
	}
	for ; next < len(v.Reads); next++ {
		read(&v.Reads[next])
	}
	all := make(map[int32]*vanished)
	for _, p := range v.Parts {
		all[p.ID] = parts[p.ID].vanished(v, p, weakOnly(p.ID))
	}
	return all
}

// vanished compares what was known to be in the partition with what is in the end.
func (p *partHistory) vanished(v *logview.View, part *logview.Part, weakOnly bool) *vanished {
	gone := &vanished{known: part.Truth.Known, values: make(map[int64]bool), broken: make(map[int64]bool)}
	if !gone.known {
		return gone
	}
	end := make(map[int64]bool)
	for _, c := range part.Truth.Chains {
		v.Each(c, func(m histories.Message, _ *logview.Read) { end[m.Value] = true })
	}
	all := make([]place, 0, len(p.places))
	holder := make(map[int64]int64) // offset -> the value that is there in the end
	for value, at := range p.places {
		switch {
		case end[value]:
			at.kept = true
			holder[at.offset] = value
		case v.SentAfter(value, part):
			continue // the end state says nothing about it
		case weakOnly && v.Strong(value):
			at.kept = true // so that it makes no range
			gone.broken[value] = true
		default:
			gone.values[value] = true
		}
		all = append(all, at)
	}
	for hw, at := range p.ends {
		// The message below the stated end is not the one that is there now if that was sent later.
		if value, ok := holder[hw-1]; !ok || v.SentAt(value) > at {
			all = append(all, place{offset: hw - 1, at: at})
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.at, b.at))
	})
	gone.ranges = ranges(all)
	return gone
}

// ranges joins the places of vanished messages to ranges. Two belong to one range unless a message
// that was kept lies between them in offset and was there before the later of the two came: then
// the lower one's loss was over, or did not reach that far.
func ranges(all []place) []offsetRange {
	var rs []offsetRange
	var last place
	oldest := int64(math.MaxInt64) // the first time of a kept message since the last vanished one
	for _, at := range all {
		if at.kept {
			oldest = min(oldest, at.at)
			continue
		}
		if n := len(rs); n > 0 && oldest >= max(last.at, at.at) {
			rs[n-1].to = at.offset
		} else {
			rs = append(rs, offsetRange{at.offset, at.offset})
		}
		last, oldest = at, math.MaxInt64
	}
	return rs
}
