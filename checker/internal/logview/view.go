// Package logview turns a history of the workload log into what its checkers ask for: every message
// that was sent and what became of it, every read, the final truth of each partition, and the
// faults with their spans. It finds no anomalies.
//
// The workload log sends values that are unique in the run to partitions, and reads partitions from
// assigned positions. After the faults it reads every partition to its committed end as a client
// (final), and every replica to its log end (scan).
package logview

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/assay-project/assay/histories"
)

// checkEvery is after how many operations a loop looks at its context.
const checkEvery = 1 << 14

// Send is one message that a client sent. A batch is one Send per message.
type Send struct {
	Value  int64
	Offset int64 // where an acknowledgement (ok or weak) put it; else histories.Unset
	Invoke int64 // index of the invocation
	Done   int64 // index of the completion; histories.Unset while open
	Call   int64 // time of the invocation, ns
	Return int64 // time of the completion, ns; Never while open
	Proc   int
	Part   int32
	Type   histories.Type // OK, Weak, Info or Fail; an open send is Info
	Node   string         // who answered, or else who was asked; may be empty
}

// Read is one answered poll, final read or scan.
type Read struct {
	F      string
	Node   string
	Invoke int64 // index of the invocation
	Done   int64 // index of the completion
	Call   int64 // ns
	Return int64 // ns
	From   int64
	HW     int64
	Proc   int
	Part   int32
	Msgs   []histories.Message
}

// Next returns the position after the read: the first offset that it says nothing about.
func (r *Read) Next() int64 {
	next := r.From
	if n := len(r.Msgs); n > 0 {
		next = max(next, r.Msgs[n-1].Offset+1)
	}
	return next
}

// Chain is a full read of a partition, or of a replica of one, in chunks that follow each other
// from offset 0.
type Chain struct {
	Node     string
	Proc     int
	Reads    []int32 // indexes into View.Reads
	End      int64   // the committed end (final) or the log end (scan) that the last chunk stated
	Complete bool    // the chunks reach End without a gap

	next int64
}

// Part is one partition.
type Part struct {
	ID     int32
	Sends  []int32 // indexes into View.Sends, in order of completion
	Reads  []int32 // polls and finals, indexes into View.Reads, in order of completion
	Finals []Chain
	Scans  []Chain  // of each node the last complete one, or else its last
	Tried  []string // nodes whose scan was asked for, answered or not
	// Leader is the node that the harness noted last as this partition's leader; empty if it never
	// did.
	Leader string
	Truth  Truth

	full []int32 // finals and scans, indexes into View.Reads
}

// Truth is what a partition holds in the end.
type Truth struct {
	Known  bool
	Source string // how to name it in a sentence, e.g. "the final read"
	Began  int64  // index of the invocation that began its latest chain: it says nothing about what ended after that
	Done   int64  // index of the completion that ended it
	At     int64  // time of the invocation that began it, ns: what is absent was gone by then, or soon after
	Client bool   // it is what a client read, and not a replica's log
	// Chains are complete, and their union is the truth.
	Chains []Chain
}

// View is a history, sorted out. It is read only.
type View struct {
	Sends []Send
	Reads []Read
	Parts []*Part // by ID
	// Events are what the nemesis and the harness did; Strikes are those of them that took place,
	// in the order of their injections.
	Events  *histories.Events
	Strikes []histories.Strike
	// Problem says why the history cannot be judged at all; empty mostly.
	Problem string
	// LoadEnd is the time of the last invocation of a send, ns.
	LoadEnd int64

	byValue Grid[int32] // value -> index of its Send + 1
	inTruth []bool      // by index of Send
	parts   map[int32]*Part
}

// BuildSound is Build for judges that tell messages apart by their values: it also fails when h has
// a Problem.
func BuildSound(ctx context.Context, h histories.Reader) (*View, error) {
	v, err := Build(ctx, h)
	if err == nil && v.Problem != "" {
		err = errors.New(v.Problem)
	}
	return v, err
}

// Build reads h. It fails only when ctx ends. Of a Cached history it returns the view that is
// there.
func Build(ctx context.Context, h histories.Reader) (*View, error) {
	if c, ok := h.(*Cached); ok {
		return c.view, nil
	}
	v := &View{parts: make(map[int32]*Part)}
	if ops, ok := h.(histories.History); ok { // growing by copies would be half of all the work
		v.Sends, v.Reads = make([]Send, 0, len(ops)/4+1), make([]Read, 0, len(ops)/4+1)
	}
	n := 0
	var events histories.EventReader
	for inv, done := range histories.Pairs(tee{h, events.Add}) {
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("out of time while reading the history: %w", ctx.Err())
		}
		switch inv.F {
		case histories.Send:
			v.addSend(inv, done)
		case histories.Poll, histories.Final, histories.Scan:
			v.addRead(inv, done)
		}
	}
	v.Events = events.Events()
	v.Strikes = v.Events.Struck()
	v.sortParts()
	for _, p := range v.Parts {
		v.chains(p)
		v.findTruth(p)
	}
	return v, nil
}

// Cached is a history whose view is built already: several judges of one history share it.
type Cached struct {
	histories.Reader
	view *View
}

// Cache builds the view of a history for all who judge it.
func Cache(h histories.Reader) (*Cached, *View) {
	v, err := Build(context.Background(), h)
	if err != nil { // cannot happen: only the end of its context is an error
		panic(fmt.Sprintf("building the view of a history: %v", err))
	}
	return &Cached{Reader: h, view: v}, v
}

// tee shows the ops of the nemesis to a function as they pass by, so that the history is read only
// once.
type tee struct {
	histories.Reader
	nemesis func(op *histories.Op)
}

// Ops implements histories.Reader.
func (t tee) Ops() iter.Seq[*histories.Op] {
	return func(yield func(*histories.Op) bool) {
		for op := range t.Reader.Ops() {
			if op.Process == histories.NemesisProcess {
				t.nemesis(op)
			}
			if !yield(op) {
				return
			}
		}
	}
}

// part returns the partition, and makes it if needed.
func (v *View) part(id int32) *Part {
	p := v.parts[id]
	if p == nil {
		p = &Part{ID: id}
		v.parts[id] = p
		v.Parts = append(v.Parts, p)
	}
	return p
}

// Part returns a partition, nil if the history does not name it.
func (v *View) Part(id int32) *Part { return v.parts[id] }

func (v *View) addSend(inv, done *histories.Op) {
	s := Send{
		Offset: histories.Unset, Invoke: inv.Index, Done: histories.Unset, Call: inv.Time, Return: Never,
		Proc: inv.Process, Part: inv.Part, Type: histories.Info, Node: inv.Node,
	}
	v.LoadEnd = max(v.LoadEnd, inv.Time)
	if done != nil {
		s.Done, s.Return, s.Type = done.Index, done.Time, done.Type
		if done.Node != "" {
			s.Node = done.Node
		}
	}
	acked := s.Type == histories.OK || s.Type == histories.Weak
	if len(inv.Msgs) == 0 {
		s.Value = inv.Value
		if acked {
			s.Offset = done.Offset
		}
		v.keepSend(s)
		return
	}
	for i, m := range inv.Msgs {
		s.Value, s.Offset = m.Value, histories.Unset
		if acked && i < len(done.Msgs) && done.Msgs[i].Value == m.Value {
			s.Offset = done.Msgs[i].Offset
		}
		v.keepSend(s)
	}
}

func (v *View) keepSend(s Send) {
	slot := v.byValue.At(s.Value)
	if *slot != 0 {
		if v.Problem == "" {
			v.Problem = fmt.Sprintf("value %d was sent twice, by op %d and op %d: values must be unique",
				s.Value, v.Sends[*slot-1].Invoke, s.Invoke)
		}
		return
	}
	v.Sends = append(v.Sends, s)
	*slot = int32(len(v.Sends))
	p := v.part(s.Part)
	p.Sends = append(p.Sends, int32(len(v.Sends)-1))
}

func (v *View) addRead(inv, done *histories.Op) {
	p := v.part(inv.Part)
	if inv.F == histories.Scan {
		p.tried(inv.Node)
	}
	if done == nil || done.Type != histories.OK {
		return
	}
	node := done.Node
	if node == "" {
		node = inv.Node
	}
	from := done.From
	if from == histories.Unset {
		from = inv.From
	}
	v.Reads = append(v.Reads, Read{
		F: inv.F, Node: node, Invoke: inv.Index, Done: done.Index, Call: inv.Time, Return: done.Time,
		From: from, HW: done.HW, Proc: inv.Process, Part: inv.Part, Msgs: done.Msgs,
	})
	i := int32(len(v.Reads) - 1)
	if inv.F != histories.Scan {
		p.Reads = append(p.Reads, i)
	}
	if inv.F != histories.Poll {
		p.full = append(p.full, i)
	}
}

// tried notes that a scan of the node was asked for.
func (p *Part) tried(node string) {
	for _, n := range p.Tried {
		if n == node {
			return
		}
	}
	p.Tried = append(p.Tried, node)
}

// SendOf returns the index of the Send of a value, -1 if the value was never sent.
func (v *View) SendOf(value int64) int32 { return v.byValue.Get(value) - 1 }

// Strong reports whether a message was acknowledged ok.
func (v *View) Strong(value int64) bool {
	s := v.SendOf(value)
	return s >= 0 && v.Sends[s].Type == histories.OK
}

// SentAt returns when the send of a message was invoked, ns; 0 if it was never sent.
func (v *View) SentAt(value int64) int64 {
	if s := v.SendOf(value); s >= 0 {
		return v.Sends[s].Call
	}
	return 0
}

// InTruth reports whether the final truth of its partition holds the i-th Send. It is false where
// no truth is known.
func (v *View) InTruth(i int32) bool { return v.inTruth[i] }

// Lost reports whether the truth of its partition is known, was read after the i-th Send was over
// (open sends count as over), and does not hold it.
func (v *View) Lost(i int32) bool {
	s := &v.Sends[i]
	t := &v.parts[s.Part].Truth
	return t.Known && !v.inTruth[i] && s.Done < t.Began
}

// SentAfter reports whether a message was sent to p, and its send was not over when p's truth
// began: that it is absent from the truth says nothing. Open sends count as over.
func (v *View) SentAfter(value int64, p *Part) bool {
	i := v.SendOf(value)
	return i >= 0 && v.Sends[i].Part == p.ID && p.Truth.Known && v.Sends[i].Done >= p.Truth.Began
}

// Count returns how many sends ended as t.
func (v *View) Count(t histories.Type) int {
	n := 0
	for i := range v.Sends {
		if v.Sends[i].Type == t {
			n++
		}
	}
	return n
}
