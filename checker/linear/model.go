package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// rules are those that a test can switch off, to see that each of them is needed.
type rules uint

const (
	ruleGone     rules = 1 << iota // what was acknowledged, or read, is there in the final read
	ruleConflict                   // an offset holds one message
	ruleStray                      // what is read was sent, to this partition, and not refused
	ruleContent                    // a read returns offsets in order and misses no known one between
	ruleSweep                      // real-time order
	ruleTail                       // a read that reached the committed end shows how long the log is
)

// unbounded is the maxLen of a read that was cut short.
const unbounded = math.MaxInt64 / 4

// entry is one operation of the compact model. The state of the model is the length of the log, in ranks: the n-th known offset,
// in order, has rank n.
type entry struct {
	send int32 // index into View.Sends of an append; -1 for a read
	read int32 // index into View.Reads of a read; -1 for an append
	bad  bool  // nothing explains it, whenever it happened
	call int64 // op index
	ret  int64 // op index; logview.Never for an open one

	rank int64 // append: takes the length from rank to rank+1
	// read: needs minLen <= length <= maxLen
	minLen, maxLen int64
}

// keys returns the least and greatest place of e in the order of all operations: an append of rank i is at 2i+1, a read at
// length n at 2n.
func (e *entry) keys() (lo, hi int64) {
	if e.send >= 0 {
		return 2*e.rank + 1, 2*e.rank + 1
	}
	return 2 * e.minLen, 2 * e.maxLen
}

// violation is something that no order of the operations explains.
type violation struct {
	class   checker.Class
	values  []int64
	offsets []int64
	ops     []int64 // witnesses
	text    string

	// What proves it, as indexes into View. See window.go.
	places []place // sends, and where they put their messages
	reads  []int32
	truth  bool // the final read as a whole
}

// model is one partition in compact form.
type model struct {
	v         *logview.View
	part      *logview.Part
	off       rules
	underLoad bool // polls count
	reads     int  // reads that count, bad ones included

	entries []entry
	offsets []int64 // rank -> offset
	byRank  []int   // rank -> entry of its append
	found   []violation

	held logview.Grid[int32] // offset -> index of the Send that holds it, + 1
	gone map[int32]bool      // sends that the final read lacks, though they were acknowledged or read
}

// build makes the model of p, and notes what is wrong with the contents of reads, whatever their order.
func build(v *logview.View, p *logview.Part, underLoad bool, off rules) *model {
	m := &model{v: v, part: p, off: off, underLoad: underLoad, gone: make(map[int32]bool)}
	var reads []int32
	for _, i := range p.Reads {
		if underLoad || v.Reads[i].F == histories.Final {
			reads = append(reads, i)
		}
	}
	m.reads = len(reads)
	m.findGone(reads)
	m.placeSends(reads)
	m.appends()
	for _, i := range reads {
		m.addRead(i)
	}
	return m
}

func (m *model) on(r rules) bool { return m.off&r == 0 }

// findGone finds what a later complete final read lacks. Each is a violation of its own, and is then left out, so that
// it does not make everything after it look wrong.
func (m *model) findGone(reads []int32) {
	t := &m.part.Truth
	if !t.Known || !t.Client || !m.on(ruleGone) {
		return
	}
	for _, s := range m.part.Sends {
		if m.v.Sends[s].Type == histories.OK && m.v.Lost(s) {
			m.gone[s] = true
			m.reportGone(place{s, m.v.Sends[s].Offset}, -1)
		}
	}
	for _, i := range reads {
		r := &m.v.Reads[i]
		if r.Done > t.Began {
			continue
		}
		for _, msg := range r.Msgs {
			s := m.v.SendOf(msg.Value)
			if s >= 0 && m.sent(s) && !m.v.InTruth(s) && !m.gone[s] {
				m.gone[s] = true
				m.reportGone(place{s, msg.Offset}, i)
			}
		}
	}
}

// sent reports whether the s-th Send can be in this partition at all.
func (m *model) sent(s int32) bool {
	send := &m.v.Sends[s]
	return send.Part == m.part.ID && send.Type != histories.Fail
}

// reportGone reports that the final read lacks the message at p. The i-th Read, unless i is negative, returned it.
func (m *model) reportGone(p place, i int32) {
	send, t := &m.v.Sends[p.send], &m.part.Truth
	f := violation{
		class: checker.Nonlinearizable, values: []int64{send.Value}, ops: []int64{send.Invoke, send.Done, t.Done},
		places: []place{p}, truth: true,
		text: fmt.Sprintf("message %d was acknowledged at %s, before the final read of partition %d began, which does not return it",
			send.Value, logview.Seconds(send.Return), m.part.ID),
	}
	if i >= 0 {
		r := &m.v.Reads[i]
		f.ops = append(f.ops, r.Invoke, r.Done)
		f.reads = []int32{i}
		f.text = fmt.Sprintf("message %d was read by process %d at %s, before the final read of partition %d began, which does not return it",
			send.Value, r.Proc, logview.Seconds(r.Return), m.part.ID)
	}
	if send.Offset != histories.Unset {
		f.offsets = []int64{send.Offset}
	}
	m.addBad(entry{send: p.send, read: -1, call: send.Invoke, ret: returnOf(send)})
	m.found = append(m.found, f)
}

// returnOf returns the op index by which a send certainly had its effect. A weak one may take effect later.
func returnOf(s *logview.Send) int64 {
	if s.Type == histories.OK {
		return s.Done
	}
	return logview.Never
}

// addBad adds an entry that nothing explains.
func (m *model) addBad(e entry) {
	e.bad = true
	m.entries = append(m.entries, e)
}

// placeSends decides which message each known offset holds: what the truth has first, then acknowledgements, then reads.
func (m *model) placeSends(reads []int32) {
	for _, inTruth := range []bool{true, false} {
		for _, s := range m.part.Sends {
			send := &m.v.Sends[s]
			if send.Type == histories.OK && send.Offset != histories.Unset && !m.gone[s] && m.v.InTruth(s) == inTruth {
				m.hold(s, send.Offset, send.Done)
			}
		}
	}
	for _, final := range []bool{true, false} {
		for _, i := range reads {
			r := &m.v.Reads[i]
			if (r.F == histories.Final) != final {
				continue
			}
			for _, msg := range r.Msgs {
				m.observe(msg)
			}
		}
	}
}

// hold notes that the s-th Send was acknowledged at an offset, unless another message is there.
func (m *model) hold(s int32, offset, op int64) {
	slot := m.held.At(offset)
	if *slot == 0 {
		*slot = s + 1
		return
	}
	other, send := &m.v.Sends[*slot-1], &m.v.Sends[s]
	m.addBad(entry{send: s, read: -1, call: send.Invoke, ret: returnOf(send)})
	m.gone[s] = true // it has no rank
	if !m.on(ruleConflict) {
		return
	}
	m.found = append(m.found, violation{
		class: checker.Nonlinearizable, values: []int64{send.Value, other.Value}, offsets: []int64{offset},
		ops:    []int64{send.Invoke, op, other.Invoke, other.Done},
		places: []place{{*slot - 1, offset}, {s, offset}},
		text: fmt.Sprintf("messages %d and %d were both acknowledged at offset %d of partition %d",
			other.Value, send.Value, offset, m.part.ID),
	})
}

// observe notes where a message was read. A message may be at several offsets: a copy that a retry made is no matter of linearizability, and
// the class duplicate reports it.
func (m *model) observe(msg histories.Message) {
	s := m.v.SendOf(msg.Value)
	if s < 0 || !m.sent(s) || m.gone[s] {
		return
	}
	if slot := m.held.At(msg.Offset); *slot == 0 {
		*slot = s + 1
	}
}

// appends ranks the known offsets and makes the entries of their sends. Where no acknowledgement puts a message it may have been appended at
// any time since its invocation.
func (m *model) appends() {
	m.held.Keys(func(k int64, s *int32) {
		if *s != 0 {
			m.offsets = append(m.offsets, k)
		}
	})
	slices.Sort(m.offsets)
	for rank, o := range m.offsets {
		s := m.held.Get(o) - 1
		send := &m.v.Sends[s]
		e := entry{send: s, read: -1, call: send.Invoke, ret: returnOf(send), rank: int64(rank)}
		if send.Offset != o && send.Offset != histories.Unset {
			e.ret = logview.Never
		}
		m.byRank = append(m.byRank, len(m.entries))
		m.entries = append(m.entries, e)
	}
}

// rank returns how many known offsets are below o.
func (m *model) rank(o int64) int64 {
	n, _ := slices.BinarySearchFunc(m.offsets, o, cmp.Compare[int64])
	return int64(n)
}
