package linear

import (
	"cmp"
	"slices"

	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

const (
	maxWhole   = 60 // operations of a partition that is drawn as a whole
	maxContext = 40 // operations drawn beside those that prove a violation
	// nearEach is how many operations before, and how many after, each of those that prove a violation are drawn.
	nearEach = 1
)

// place is a send, and an offset at which it put its message; histories.Unset where nobody knows the offset.
type place struct {
	send   int32 // index into View.Sends
	offset int64
}

// act is one operation of a window.
type act struct {
	send    int32   // index into View.Sends; -1 for a read
	reads   []int32 // indexes into View.Reads: one, or the chunks of a final read
	witness bool    // it proves the violation, and is not only near
	call    int64   // op index
	ret     int64   // op index; logview.Never for an open one

	offset int64 // send: where it appends
	slot   int   // send: that of offset
	forced bool  // send: it must append; otherwise it may be too late, and do nothing
	inert  bool  // send: it can not append here
	never  bool  // read: no log can hold what it returned
	loose  bool  // read: it says nothing about what it missed
	wants  []want
}

// want is what a read demands of a slot.
type want struct {
	slot  int
	kind  wantKind
	value int64 // with wantValue
}

type wantKind uint8

const (
	wantNothing wantKind = iota // the slot is empty
	wantAny                     // the slot holds some message
	wantValue                   // the slot holds this message
)

// window is a few operations of a partition that Porcupine judges as a history of their own, with a model that is nothing but a log: no ranks, no
// table of who holds what. So its verdict on a violation is a second opinion, and its picture shows the log that each operation found.
//
// The log of a window has only the offsets that the window is about. Leaving out the others, and operations, makes no history illegal. A window
// is complete once it is sealed.
type window struct {
	m       *model
	f       *violation // nil for a whole partition
	offsets []int64    // slot -> offset, ascending; histories.Unset is a place outside the order
	acts    []act
}

// proof returns the operations that prove f, and no others.
func (m *model) proof(f *violation) *window {
	w := &window{m: m, f: f, offsets: slices.Clone(f.offsets)}
	for _, p := range f.places {
		w.offsets = append(w.offsets, p.offset)
	}
	for _, value := range f.values { // a message that nobody sent here has no place; its send, if any, is shown
		if s := m.v.SendOf(value); s >= 0 && !m.sent(s) {
			w.addSend(place{s, histories.Unset}, true)
		}
	}
	for _, p := range f.places {
		w.addSend(p, true)
		if send := &m.v.Sends[p.send]; send.Type != histories.OK || send.Offset != p.offset {
			if i := m.readOf(p); i >= 0 {
				w.addRead(true, i)
			}
		}
	}
	for _, i := range f.reads {
		w.addRead(true, i)
	}
	if f.truth {
		w.addRead(true, m.lastFinal()...)
	}
	w.seal()
	return w
}

// picture returns the proof of f with what helps to understand it: who read the lost message, which one is at its offset now, what the final read says of
// it, and what happened next to all that.
func (m *model) picture(f *violation) *window {
	w := m.proof(f)
	for _, p := range f.places {
		if m.gone[p.send] {
			if i := m.lastReadOf(p.send); i >= 0 {
				w.addRead(true, i)
			}
		}
	}
	for _, o := range f.offsets {
		if s := m.held.Get(o) - 1; s >= 0 {
			w.addSend(place{s, o}, true)
		}
	}
	if len(f.offsets) > 0 && m.part.Truth.Client {
		w.addRead(true, m.lastFinal()...)
	}
	w.neighbours()
	w.seal()
	return w
}

// whole returns the whole partition.
func (m *model) whole() *window {
	w := &window{m: m}
	for i := range m.entries {
		if e := &m.entries[i]; e.send >= 0 {
			w.addSend(place{e.send, m.offsets[e.rank]}, false)
		} else {
			w.addRead(false, e.read)
		}
	}
	w.seal()
	return w
}

// addSend adds a send that puts its message at p, unless it is there.
func (w *window) addSend(p place, witness bool) {
	for i := range w.acts {
		if a := &w.acts[i]; a.send == p.send && a.offset == p.offset {
			a.witness = a.witness || witness
			return
		}
	}
	send := &w.m.v.Sends[p.send]
	a := act{send: p.send, offset: p.offset, witness: witness, call: send.Invoke, ret: logview.Never}
	switch {
	case !w.m.sent(p.send):
		a.inert = true
		if send.Done != histories.Unset {
			a.ret = send.Done
		}
	case send.Type == histories.OK && send.Offset == p.offset:
		a.forced, a.ret = true, send.Done
	}
	w.acts = append(w.acts, a)
}

// addRead adds a read, or the chunks of one, unless it is there. A read that the configuration does not judge is asked only for what it returned.
func (w *window) addRead(witness bool, reads ...int32) {
	if len(reads) == 0 {
		return
	}
	for i := range w.acts {
		if a := &w.acts[i]; slices.Equal(a.reads, reads) {
			a.witness = a.witness || witness
			return
		}
	}
	first, last := &w.m.v.Reads[reads[0]], &w.m.v.Reads[reads[len(reads)-1]]
	w.acts = append(w.acts, act{
		send: -1, reads: reads, witness: witness, call: first.Invoke, ret: last.Done, loose: first.F == histories.Poll && !w.m.underLoad,
	})
}

// seal gives every act its slots. What a read returned from an offset of the window was put there by a send, so that is added.
func (w *window) seal() {
	for i := range w.acts {
		if a := &w.acts[i]; a.send >= 0 && !a.inert {
			w.offsets = append(w.offsets, a.offset)
		}
	}
	slices.Sort(w.offsets)
	w.offsets = slices.Compact(w.offsets)
	for i := 0; i < len(w.acts); i++ { // addSend makes it longer
		a := &w.acts[i]
		if a.send >= 0 {
			a.slot, _ = slices.BinarySearch(w.offsets, a.offset)
			continue
		}
		var seen []place
		for _, r := range a.reads {
			for _, msg := range w.m.v.Reads[r].Msgs {
				s := w.m.v.SendOf(msg.Value)
				if _, ok := slices.BinarySearch(w.offsets, msg.Offset); ok && s >= 0 && w.m.sent(s) {
					seen = append(seen, place{s, msg.Offset})
				}
			}
		}
		w.demand(a)
		for _, p := range seen {
			w.addSend(p, w.f != nil && slices.Contains(w.f.values, w.m.v.Sends[p.send].Value))
		}
	}
	slices.SortFunc(w.acts, func(a, b act) int { return cmp.Compare(a.call, b.call) })
}

// demand works out what the read a wants of each slot. See addRead of model for what a read says about the log.
func (w *window) demand(a *act) {
	first, last := &w.m.v.Reads[a.reads[0]], &w.m.v.Reads[a.reads[len(a.reads)-1]]
	returned, at := make(map[int64]int64), first.From
	for _, i := range a.reads {
		at = min(at, w.m.v.Reads[i].From) // chunks may overlap
		for _, msg := range w.m.v.Reads[i].Msgs {
			a.never = a.never || msg.Offset < at
			returned[msg.Offset], at = msg.Value, max(at, msg.Offset+1)
		}
	}
	below, above := int64(-1), int64(unbounded) // every slot below is taken, and none from above on
	if len(returned) > 0 {
		below = last.Next()
	}
	switch {
	case last.HW != histories.Unset && last.Next() >= last.HW:
		below = max(below, last.HW)
		above = below
	case last.HW == histories.Unset && len(returned) == 0:
		above = first.From
	}
	a.wants = a.wants[:0]
	for slot, o := range w.offsets {
		value, ok := returned[o]
		switch {
		case ok:
			a.wants = append(a.wants, want{slot, wantValue, value})
		case a.loose:
		case o >= above, o >= first.From && o < below, o == histories.Unset && slices.Equal(a.reads, w.m.lastFinal()):
			a.wants = append(a.wants, want{slot, wantNothing, 0})
		case o < below && o != histories.Unset:
			a.wants = append(a.wants, want{slot, wantAny, 0})
		}
	}
}

// neighbours adds what happened on the partition next to each operation of the window, but the final read, which is far from all others. What nothing
// explains is left out: a picture is about one violation.
func (w *window) neighbours() {
	var near []*entry
	for i := range w.m.entries {
		if e := &w.m.entries[i]; !e.bad && e.ret != logview.Never {
			near = append(near, e)
		}
	}
	slices.SortFunc(near, func(a, b *entry) int { return cmp.Compare(a.call, b.call) })
	added := 0
	for _, a := range slices.Clone(w.acts) {
		if a.send < 0 && w.m.v.Reads[a.reads[0]].F == histories.Final {
			continue
		}
		at, _ := slices.BinarySearchFunc(near, a.call, func(e *entry, call int64) int { return cmp.Compare(e.call, call) })
		for _, e := range near[max(0, at-nearEach):min(len(near), at+nearEach+1)] {
			if e.call == a.call || added == maxContext {
				continue
			}
			if added++; e.send >= 0 {
				w.addSend(place{e.send, w.m.offsets[e.rank]}, false)
			} else {
				w.addRead(false, e.read)
			}
		}
	}
}

// lastFinal returns the chunks of the final read that began last; none when the truth is not what a client read.
func (m *model) lastFinal() []int32 {
	if !m.part.Truth.Known || !m.part.Truth.Client {
		return nil
	}
	return slices.MaxFunc(m.part.Truth.Chains, func(a, b logview.Chain) int {
		return cmp.Compare(m.v.Reads[a.Reads[0]].Invoke, m.v.Reads[b.Reads[0]].Invoke)
	}).Reads
}

// readOf returns the first judged read that returned the message of p.send from p.offset, -1 for none.
func (m *model) readOf(p place) int32 {
	want := histories.Message{Offset: p.offset, Value: m.v.Sends[p.send].Value}
	for _, i := range m.part.Reads {
		if r := &m.v.Reads[i]; (m.underLoad || r.F == histories.Final) && slices.Contains(r.Msgs, want) {
			return i
		}
	}
	return -1
}

// lastReadOf returns the last read, judged or not, that returned the message of the s-th Send, -1 for none.
func (m *model) lastReadOf(s int32) int32 {
	value := m.v.Sends[s].Value
	for _, i := range slices.Backward(m.part.Reads) {
		if slices.ContainsFunc(m.v.Reads[i].Msgs, func(msg histories.Message) bool { return msg.Value == value }) {
			return i
		}
	}
	return -1
}
