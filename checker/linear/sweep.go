package linear

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// maxMissed is how many missed messages one violation lists.
const maxMissed = 10

// sweep goes through the operations in real time and reports each that comes too late for its place.
//
// Every operation has a least and a greatest place (entry.keys) in any order that explains the contents. An operation that returned before
// another one was called must have a lower place, or an equal one for two reads. So with M the greatest least place of all that
// have returned, an operation that is called while its greatest place is below M has no place. If there is none such, taking for each
// the greater of its least place and M at its call, rounded up to a read's place, is a linearization: the sweep is exact.
func (m *model) sweep() {
	if !m.on(ruleSweep) {
		return
	}
	calls := make([]int, 0, len(m.entries))
	returns := make([]int, 0, len(m.entries))
	for i := range m.entries {
		if e := &m.entries[i]; !e.bad {
			calls = append(calls, i)
			if e.ret != logview.Never {
				returns = append(returns, i)
			}
		}
	}
	slices.SortFunc(calls, func(a, b int) int { return cmp.Compare(m.entries[a].call, m.entries[b].call) })
	slices.SortFunc(returns, func(a, b int) int { return cmp.Compare(m.entries[a].ret, m.entries[b].ret) })
	most, setter := int64(-1), -1
	next := 0
	for _, c := range calls {
		for ; next < len(returns) && m.entries[returns[next]].ret < m.entries[c].call; next++ {
			if lo, _ := m.entries[returns[next]].keys(); lo > most {
				most, setter = lo, returns[next]
			}
		}
		if _, hi := m.entries[c].keys(); hi < most {
			m.late(setter, c)
		}
	}
}

// late reports that the operation b was called after a had returned, though its place is before that of a.
func (m *model) late(a, b int) {
	before, after := &m.entries[a], &m.entries[b]
	f := violation{class: checker.Nonlinearizable}
	if after.read >= 0 {
		if m.v.Reads[after.read].F == histories.Poll {
			f.class = checker.StaleRead // a final read that misses something is not late but wrong
		}
		f.text = m.stale(&f, before, after)
	} else {
		f.text = m.early(&f, before, after)
	}
	for _, e := range []*entry{before, after} {
		if e.send >= 0 {
			s := &m.v.Sends[e.send]
			f.ops = append(f.ops, s.Invoke, s.Done)
			f.places = append(f.places, place{e.send, m.offsets[e.rank]})
		} else {
			f.ops = append(f.ops, e.call, e.ret)
			f.reads = append(f.reads, e.read)
		}
	}
	m.found = append(m.found, f)
}

// stale completes f and says that the read b missed what was there when a had returned.
func (m *model) stale(f *violation, before, after *entry) string {
	end := before.minLen
	if before.send >= 0 {
		end = before.rank + 1
	}
	for k := after.maxLen; k < end && len(f.values) < maxMissed; k++ {
		at := m.entries[m.byRank[k]].send
		s := &m.v.Sends[at]
		f.values, f.offsets = append(f.values, s.Value), append(f.offsets, m.offsets[k])
		f.ops = append(f.ops, s.Invoke, s.Done)
		f.places = append(f.places, place{at, m.offsets[k]})
	}
	r := &m.v.Reads[after.read]
	missed := fmt.Sprintf("process %d read partition %d from %s at %s up to its end", r.Proc, r.Part, orSystem(r.Node), logview.Seconds(r.Return))
	if before.send >= 0 {
		s := &m.v.Sends[before.send]
		return fmt.Sprintf("%s and missed message %d, which was acknowledged at offset %d at %s, before the read began at %s",
			missed, s.Value, m.offsets[before.rank], logview.Seconds(s.Return), logview.Seconds(r.Call))
	}
	o := &m.v.Reads[before.read]
	return fmt.Sprintf("%s and missed message %d at offset %d, which process %d had seen in the log by %s, before the read began at %s",
		missed, f.values[0], f.offsets[0], o.Proc, logview.Seconds(o.Return), logview.Seconds(r.Call))
}

// early completes f and says that the send b is placed before a, which was over when b began.
func (m *model) early(f *violation, before, after *entry) string {
	s, offset := &m.v.Sends[after.send], m.offsets[after.rank]
	f.values, f.offsets = []int64{s.Value}, []int64{offset}
	if before.send >= 0 {
		o := &m.v.Sends[before.send]
		f.values, f.offsets = append(f.values, o.Value), append(f.offsets, m.offsets[before.rank])
		return fmt.Sprintf("message %d was sent at %s and is at offset %d of partition %d, below message %d at offset %d, which was acknowledged before, at %s",
			s.Value, logview.Seconds(s.Call), offset, m.part.ID, o.Value, m.offsets[before.rank], logview.Seconds(o.Return))
	}
	r := &m.v.Reads[before.read]
	if g := m.goneAt(offset); g >= 0 {
		f.values = []int64{m.v.Sends[g].Value, s.Value} // what was there then explains it
		f.places = append(f.places, place{g, offset})
	}
	end := fmt.Sprint(r.Next())
	if r.HW != histories.Unset {
		end = fmt.Sprint(r.HW)
	}
	return fmt.Sprintf("message %d was sent at %s and is at offset %d of partition %d, though a read by process %d had seen the log end at %s before, at %s",
		s.Value, logview.Seconds(s.Call), offset, m.part.ID, r.Proc, end, logview.Seconds(r.Return))
}

// goneAt returns a send without rank that was acknowledged at an offset, -1 for none.
func (m *model) goneAt(offset int64) int32 {
	for s := range m.gone {
		if m.v.Sends[s].Offset == offset {
			return s
		}
	}
	return -1
}

func orSystem(node string) string {
	if node == "" {
		return "the system"
	}
	return node
}
