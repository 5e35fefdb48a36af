package linear

import (
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// addRead makes the entry of one read.
//
// A read that reached the committed end it states saw a log of exactly that length. One that was cut short saw at least what it returned.
// An empty one that states no end saw nothing at or above where it began. A read cut short to nothing says nothing.
func (m *model) addRead(i int32) {
	r := &m.v.Reads[i]
	e := entry{send: -1, read: i, call: r.Invoke, ret: r.Done, maxLen: unbounded}
	if f, explained := m.content(r); !explained {
		m.addBad(e)
		if f != nil {
			f.reads = append(f.reads, i)
			f.ops = append(f.ops, r.Invoke, r.Done)
			m.found = append(m.found, *f)
		}
		return
	}
	n := len(r.Msgs)
	if n > 0 {
		e.minLen = m.rank(r.Msgs[n-1].Offset) + 1
	}
	switch {
	case r.HW != histories.Unset && r.Next() >= r.HW:
		e.minLen = max(e.minLen, m.rank(r.HW))
		if m.on(ruleTail) {
			e.maxLen = e.minLen
		}
	case r.HW == histories.Unset && n == 0:
		e.maxLen = m.rank(r.From)
	case n == 0:
		return
	}
	m.entries = append(m.entries, e)
}

// content reports whether a log can hold what r returned. If not, the violation says why; it is nil when r shows something that is a
// violation of its own already.
func (m *model) content(r *logview.Read) (*violation, bool) {
	at := r.From
	for _, msg := range r.Msgs {
		s := m.v.SendOf(msg.Value)
		if s < 0 || !m.sent(s) {
			if m.on(ruleStray) {
				return m.unexplained(msg, fmt.Sprintf("a read of partition %d returned message %d, which no send can have put there", m.part.ID, msg.Value)), false
			}
			at = max(at, msg.Offset+1)
			continue
		}
		if m.gone[s] {
			return nil, false
		}
		if m.held.Get(msg.Offset) != s+1 {
			return m.misplaced(msg), !m.on(ruleConflict)
		}
		if msg.Offset < at && m.on(ruleContent) {
			return m.unexplained(msg, fmt.Sprintf("a read of partition %d from offset %d returned offset %d where offset %d or more was due",
				m.part.ID, r.From, msg.Offset, at)), false
		}
		if msg.Offset > at && m.on(ruleContent) {
			if k := m.rank(at); k < m.rank(msg.Offset) {
				return m.skipped(m.offsets[k], msg.Offset), false
			}
		}
		at = max(at, msg.Offset+1)
	}
	return nil, true
}

func (m *model) unexplained(msg histories.Message, text string) *violation {
	return &violation{class: checker.Nonlinearizable, values: []int64{msg.Value}, offsets: []int64{msg.Offset}, text: text}
}

// misplaced is a message that was read where another one is.
func (m *model) misplaced(msg histories.Message) *violation {
	at := m.held.Get(msg.Offset) - 1
	holder := &m.v.Sends[at]
	f := m.unexplained(msg, fmt.Sprintf("offset %d of partition %d holds message %d, and a read returned message %d from it",
		msg.Offset, m.part.ID, holder.Value, msg.Value))
	f.values = append(f.values, holder.Value)
	f.ops = []int64{holder.Invoke, holder.Done}
	f.places = []place{{at, msg.Offset}}
	return f
}

// skipped is a read that returned the offset past and not the one at skip below it, which holds a message.
func (m *model) skipped(skip, past int64) *violation {
	at := m.held.Get(skip) - 1
	send := &m.v.Sends[at]
	return &violation{
		places: []place{{at, skip}, {m.held.Get(past) - 1, past}},
		class:  checker.Nonlinearizable, values: []int64{send.Value}, offsets: []int64{skip}, ops: []int64{send.Invoke, send.Done},
		text: fmt.Sprintf("a read of partition %d returned offset %d and not message %d at offset %d below it", m.part.ID, past, send.Value, skip),
	}
}

// anomaly makes a violation an anomaly.
func (m *model) anomaly(f *violation) checker.Anomaly {
	return checker.Anomaly{
		Class: f.class, Part: m.part.ID, Values: f.values, Offsets: f.offsets, Witnesses: f.ops, Explanation: f.text,
	}
}
