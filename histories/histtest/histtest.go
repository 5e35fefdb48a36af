// Package histtest makes small histories for tests, in the order in which they are written down:
//
//	h := histtest.New()
//	h.Send(1, 0, 100).OK(0)                 // process 1 sends value 100 to partition 0; acknowledged at offset 0
//	open := h.Send(2, 0, 101)               // invoked here,
//	h.Poll(3, 0, 0).OK(1, histtest.Msgs(0, 100)...)
//	open.OK(1)                              // completed here
//	h.Final(9, 0, 0).OK(2, histtest.Msgs(0, 100, 101)...)
//
// Each op comes a millisecond after the one before; At moves the clock.
package histtest

import (
	"time"

	"github.com/assay-project/assay/histories"
)

// Builder is a history in the making. It is not for concurrent use.
type Builder struct {
	ops histories.History
	now time.Duration
}

// New returns an empty Builder.
func New() *Builder { return &Builder{} }

// History returns what was built. It panics when that is no valid history, which is a mistake of
// the test.
func (b *Builder) History() histories.History {
	if err := histories.Validate(b.ops); err != nil {
		panic(err)
	}
	return b.ops
}

// At moves the clock forward to t after the start. The next op happens then.
func (b *Builder) At(t time.Duration) *Builder {
	b.now = max(b.now, t-time.Millisecond)
	return b
}

func (b *Builder) add(op histories.Op) {
	b.now += time.Millisecond
	op.Index, op.Time = int64(len(b.ops)), int64(b.now)
	b.ops = append(b.ops, op)
}

// Pending is an invocation that waits for its completion. Without one the operation stays open.
type Pending struct {
	b  *Builder
	op histories.Op
}

func (b *Builder) invoke(process int, f string, part int32, set func(*histories.Op)) *Pending {
	op := histories.New(histories.Invoke, process, f)
	op.Part = part
	set(&op)
	b.add(op)
	return &Pending{b: b, op: op}
}

// Send invokes a send of one value.
func (b *Builder) Send(process int, part int32, value int64) *Pending {
	return b.invoke(process, histories.Send, part, func(op *histories.Op) { op.Value = value })
}

// Batch invokes a send of several values.
func (b *Builder) Batch(process int, part int32, values ...int64) *Pending {
	return b.invoke(process, histories.Send, part, func(op *histories.Op) {
		for _, v := range values {
			op.Msgs = append(op.Msgs, histories.Message{Offset: histories.Unset, Value: v})
		}
	})
}

// Poll invokes a poll from an offset.
func (b *Builder) Poll(process int, part int32, from int64) *Pending {
	return b.invoke(process, histories.Poll, part, func(op *histories.Op) { op.From = from })
}

// Final invokes a chunk of a final read.
func (b *Builder) Final(process int, part int32, from int64) *Pending {
	return b.invoke(process, histories.Final, part, func(op *histories.Op) { op.From = from })
}

// Scan invokes a chunk of a scan of node.
func (b *Builder) Scan(process int, node string, part int32, from int64) *Pending {
	return b.invoke(process, histories.Scan, part, func(op *histories.Op) { op.Node, op.From = node, from })
}

// On sets the node that answers.
func (p *Pending) On(node string) *Pending {
	p.op.Node = node
	return p
}

// OK completes a send at an offset (a batch at consecutive ones), and a read with its committed
// offset and messages.
func (p *Pending) OK(at int64, msgs ...histories.Message) { p.complete(histories.OK, at, msgs, "") }

// Weak completes a send that is stored at an offset but under-replicated or unflushed.
func (p *Pending) Weak(at int64) { p.complete(histories.Weak, at, nil, "copies 1 of 2") }

// Fail completes an operation that was certainly not done.
func (p *Pending) Fail() { p.complete(histories.Fail, histories.Unset, nil, "refused") }

// Info completes an operation of unknown outcome, and retires its process.
func (p *Pending) Info() { p.complete(histories.Info, histories.Unset, nil, "timed out") }

func (p *Pending) complete(t histories.Type, at int64, msgs []histories.Message, why string) {
	op := p.op
	op.Type, op.Err = t, why
	switch {
	case op.F != histories.Send:
		op.HW, op.Msgs = at, msgs
	case op.Msgs != nil:
		op.Msgs = append([]histories.Message(nil), op.Msgs...)
		for i := range op.Msgs {
			if at != histories.Unset {
				op.Msgs[i].Offset = at + int64(i)
			}
		}
	default:
		op.Offset = at
	}
	p.b.add(op)
}

// Acked completes a batch with an offset per value.
func (p *Pending) Acked(msgs ...histories.Message) {
	op := p.op
	op.Type, op.Msgs = histories.OK, msgs
	p.b.add(op)
}

// Msgs returns values at consecutive offsets.
func Msgs(from int64, values ...int64) []histories.Message {
	msgs := []histories.Message{}
	for i, v := range values {
		msgs = append(msgs, histories.Message{Offset: from + int64(i), Value: v})
	}
	return msgs
}

// Whole adds a complete final read of a partition, in one chunk, by a process of its own.
func (b *Builder) Whole(part int32, values ...int64) {
	b.Final(9000+int(part), part, 0).OK(int64(len(values)), Msgs(0, values...)...)
}

// Replica adds a complete scan of one replica of a partition, in one chunk.
func (b *Builder) Replica(node string, part int32, values ...int64) {
	b.Scan(9500+int(part), node, part, 0).OK(int64(len(values)), Msgs(0, values...)...)
}

// Inject adds a fault.
func (b *Builder) Inject(fault, nodes string) { b.nemesis(histories.Inject, fault, nodes, "seen") }

// Heal ends a fault.
func (b *Builder) Heal(fault, nodes string) { b.nemesis(histories.Heal, fault, nodes, "") }

func (b *Builder) nemesis(f, fault, nodes, effect string) {
	op := histories.New(histories.Info, histories.NemesisProcess, f)
	op.Fault, op.Node, op.Effect = fault, nodes, effect
	b.add(op)
}

// Did adds what the nemesis or the harness did: an op of histories.NewInject and its like.
func (b *Builder) Did(op histories.Op) { b.add(op) }

// Leader notes that a node leads a partition.
func (b *Builder) Leader(part int32, node string) {
	op := histories.New(histories.Info, histories.NemesisProcess, histories.Note)
	op.Fault, op.Node, op.Part = "leader", node, part
	b.add(op)
}

// Recovered notes that the cluster is well again; with a reason, that it is not.
func (b *Builder) Recovered(whyNot string) {
	op := histories.New(histories.Info, histories.NemesisProcess, histories.Note)
	op.Fault, op.Err = "recovery", whyNot
	b.add(op)
}
