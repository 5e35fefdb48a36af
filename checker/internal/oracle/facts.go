package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

// Sent is one message that a client sent.
type Sent struct {
	Value, Offset int64 // Offset: where an ok or weak acknowledgement put it; histories.Unset for none
	Part          int32
	Proc          int
	Type          histories.Type // histories.Info while open
	Call          int64          // index of the invocation
	Done          int64          // index of the completion; -1 while open
}

// Read is one answered read.
type Read struct {
	*histories.Op       // the completion
	Invoke        int64 // index of the invocation
}

// Facts is a history in plain form. Sends and Reads are in the order of their completions.
type Facts struct {
	Sends []Sent
	Reads []Read
	// Recovered: the last note about it says that the cluster is well again.
	Recovered bool
	// Nemesis are its ops.
	Nemesis []histories.Op
	leader  map[int32]string
	tried   map[int32][]string
}

// Of reads the facts of a history.
func Of(h histories.History) *Facts {
	f := &Facts{leader: make(map[int32]string), tried: make(map[int32][]string)}
	for inv, done := range histories.Pairs(h) {
		inv := *inv
		if inv.F == histories.Send {
			f.sent(&inv, done)
		} else if done != nil && done.Type == histories.OK {
			f.Reads = append(f.Reads, Read{&h[done.Index], inv.Index})
		}
	}
	for _, op := range h {
		switch {
		case op.Process == histories.NemesisProcess:
			f.Nemesis = append(f.Nemesis, op)
		case op.F == histories.Scan && op.Type == histories.Invoke && !slices.Contains(f.tried[op.Part], op.Node):
			f.tried[op.Part] = append(f.tried[op.Part], op.Node)
		}
		if op.F == histories.Note && op.Fault == "leader" {
			f.leader[op.Part] = op.Node
		}
		if op.F == histories.Note && op.Fault == "recovery" {
			f.Recovered = op.Err == ""
		}
	}
	return f
}

// Tried returns the nodes whose replica of a partition was to be scanned.
func (f *Facts) Tried(part int32) []string { return f.tried[part] }

func (f *Facts) sent(inv, done *histories.Op) {
	s := Sent{Part: inv.Part, Proc: inv.Process, Type: histories.Info, Call: inv.Index, Done: -1}
	msgs := []histories.Message{{Offset: histories.Unset, Value: inv.Value}}
	if len(inv.Msgs) > 0 {
		msgs = slices.Clone(inv.Msgs)
	}
	if done != nil {
		s.Type, s.Done = done.Type, done.Index
		if len(done.Msgs) > 0 {
			msgs = done.Msgs
		} else {
			msgs[0].Offset = done.Offset
		}
	}
	for _, m := range msgs {
		s.Value, s.Offset = m.Value, m.Offset
		if s.Type != histories.OK && s.Type != histories.Weak {
			s.Offset = histories.Unset
		}
		f.Sends = append(f.Sends, s)
	}
}

// Leader returns the node that was noted last as the leader of a partition.
func (f *Facts) Leader(part int32) string { return f.leader[part] }

// Sent returns the send of a value to a partition; nil if there is none.
func (f *Facts) Sent(part int32, value int64) *Sent {
	for i := range f.Sends {
		if f.Sends[i].Value == value && f.Sends[i].Part == part {
			return &f.Sends[i]
		}
	}
	return nil
}

// Whole is a read of a whole log, in chunks that follow each other from offset 0.
type Whole struct {
	Chunks   []Read
	Complete bool // they reached the end that the last one stated
}

// End is the end that its last chunk stated.
func (w *Whole) End() int64 { return w.Chunks[len(w.Chunks)-1].HW }

// Msgs returns its messages, chunk by chunk.
func (w *Whole) Msgs() (all []histories.Message) {
	for _, r := range w.Chunks {
		all = append(all, r.Msgs...)
	}
	return all
}

// Has reports whether a value is in it.
func (w *Whole) Has(value int64) bool {
	for _, r := range w.Chunks {
		for _, m := range r.Msgs {
			if m.Value == value {
				return true
			}
		}
	}
	return false
}

// wholes puts the chunks of one process together.
func wholes(reads []Read) (all []Whole) {
	reached, broken := int64(0), true
	for _, r := range reads {
		if r.From == 0 {
			all = append(all, Whole{})
			reached, broken = 0, false
		}
		if r.From > reached {
			broken = true
		}
		if broken {
			continue
		}
		w := &all[len(all)-1]
		w.Chunks = append(w.Chunks, r)
		reached = max(reached, r.From)
		if n := len(r.Msgs); n > 0 {
			reached = max(reached, r.Msgs[n-1].Offset+1)
		}
		w.Complete = r.HW >= 0 && reached >= r.HW
	}
	return all
}

// Finals returns the complete final reads of a partition.
func (f *Facts) Finals(part int32) (all []Whole) {
	return f.byProcess(func(r Read) bool { return r.F == histories.Final && r.Part == part })
}

func (f *Facts) byProcess(is func(r Read) bool) (all []Whole) {
	for p := range finalist + len(f.Reads) + 1 {
		var reads []Read
		for _, r := range f.Reads {
			if r.Process == p && is(r) {
				reads = append(reads, r)
			}
		}
		for _, w := range wholes(reads) {
			if w.Complete {
				all = append(all, w)
			}
		}
	}
	return all
}

// Log returns what a scan of a node's replica returned, complete or not; each node is scanned once.
func (f *Facts) Log(part int32, node string) Whole {
	var reads []Read
	for _, r := range f.Reads {
		if r.F == histories.Scan && r.Part == part && r.Node == node {
			reads = append(reads, r)
		}
	}
	if all := wholes(reads); len(all) > 0 {
		return all[0]
	}
	return Whole{}
}

// Truth returns what a partition holds in the end, and whether that is known: its complete final reads, or else the complete log of its leader.
func (f *Facts) Truth(part int32) ([]Whole, bool) {
	if all := f.Finals(part); len(all) > 0 {
		return all, true
	}
	if lead := f.Log(part, f.Leader(part)); lead.Complete && f.Leader(part) != "" {
		return []Whole{lead}, true
	}
	return nil, false
}

// Began returns the index of the invocation that began the latest part of the truth.
func (f *Facts) Began(part int32) int64 {
	began := int64(-1)
	truth, _ := f.Truth(part)
	for i := range truth {
		began = max(began, truth[i].Chunks[0].Invoke)
	}
	return began
}

// InTruth reports whether the truth of a partition holds a value.
func (f *Facts) InTruth(part int32, value int64) bool {
	truth, _ := f.Truth(part)
	return slices.ContainsFunc(truth, func(w Whole) bool { return w.Has(value) })
}

// Lost reports whether the truth of its partition is known, does not hold a message, and began after its send was over.
func (f *Facts) Lost(s *Sent) bool {
	_, known := f.Truth(s.Part)
	return known && !f.InTruth(s.Part, s.Value) && s.Done < f.Began(s.Part)
}

// Found is a set of anomalies, each as "class partition values".
type Found map[string]bool

// Add adds one, whatever the order of its values.
func (f Found) Add(class checker.Class, part int32, values ...int64) {
	values = slices.Sorted(slices.Values(values))
	f[fmt.Sprint(class, " ", part, " ", values)] = true
}

// Listed returns the anomalies of a result as a set.
func Listed(r checker.Result) Found {
	f := make(Found)
	for _, a := range r.Anomalies {
		f.Add(a.Class, a.Part, a.Values...)
	}
	return f
}

// Text writes a history as one line per op, for a test that fails.
func Text(h histories.History) string {
	var b strings.Builder
	for i := range h {
		b.Write(histories.AppendOp(nil, &h[i]))
		b.WriteByte('\n')
	}
	return b.String()
}
