// Package histories holds what a test recorded: operations, their validated sequence, the JSON
// Lines format that keeps them, and the store of runs. It imports the standard library only, and it
// judges nothing.
package histories

import "iter"

// Type says what is known about an operation at the moment its line was written.
type Type uint8

// The zero Type is invalid, so that a forgotten one cannot pass for a result.
const (
	Invalid Type = iota
	Invoke       // about to happen
	OK           // certainly done, with everything the configuration promises
	Weak         // stored, but on too few copies or unflushed, and the system said so
	Info         // unknowable: may or may not have happened, or may still happen
	Fail         // certainly not done
)

// Functions of an operation (Op.F) that every workload and checker shares.
const (
	Send  = "send"  // append one or more values to a partition
	Poll  = "poll"  // consume from a position under load
	Final = "final" // consume after the faults, from offset 0, until the committed end
	Scan  = "scan"  // after the faults, read everything that one replica (Op.Node) holds, committed or not

	// Nemesis functions; Process is NemesisProcess and Type is Info.
	Inject = "inject"
	Heal   = "heal"
	Note   = "note" // something that the harness wants remembered: recovery reached, promote forced, ...
)

// NemesisProcess is the Process of every op that the harness, not a client, did.
const NemesisProcess = -1

// Unset is the value of Value, Offset, From and HW when there is none.
const Unset = -1

// Message is one value at one offset. In a send's invocation the offset is Unset.
type Message struct {
	Offset int64
	Value  int64
}

// Op is one line of a history: an invocation or its completion. A completion carries what its
// invocation said, plus results.
//
// Values are unique within a run and non-negative; a payload that no client of this harness can
// have written (unreadable or damaged) is recorded as a negative value, so that it is a phantom by
// construction.
type Op struct {
	Index   int64  // line number from 0, dense
	Time    int64  // ns since the start of the run, never decreasing
	Type    Type   //
	Process int    // single-threaded logical client; retired after Info
	F       string // Send, Poll, Final, Scan, ...
	Node    string // node that was asked or, for the nemesis, the comma-separated targets
	Part    int32  // partition
	// Value and Offset are set for a send of one value; a batch uses Msgs alone.
	Value  int64
	Offset int64
	From   int64     // poll, final, scan: first offset asked for
	HW     int64     // poll, final: committed offset in the answer; scan: the replica's log end offset
	Msgs   []Message // poll, final, scan: what came back; send of a batch: its values and their offsets
	Err    string    // why it is not OK
	Fault  string    // nemesis: the fault, in the spelling of the command line
	Effect string    // nemesis: what the fault measurably did; empty means that it did nothing
	Event  *Event    // nemesis: what is said in fields; nil for clients, and in format 1
}

// New returns an Op with its value and offsets unset.
func New(t Type, process int, f string) Op {
	return Op{Type: t, Process: process, F: f, Value: Unset, Offset: Unset, From: Unset, HW: Unset}
}

// Sent returns the values that a send appends: one, or those of its batch.
func (op *Op) Sent() []int64 {
	if len(op.Msgs) == 0 {
		return []int64{op.Value}
	}
	values := make([]int64, len(op.Msgs))
	for i, m := range op.Msgs {
		values[i] = m.Value
	}
	return values
}

// StoredAt notes where a log has what a send appended: its first value at an offset, the others of
// its batch at the offsets that follow.
func (op *Op) StoredAt(first int64) {
	if len(op.Msgs) == 0 {
		op.Offset = first
	}
	for i := range op.Msgs {
		op.Msgs[i].Offset = first + int64(i)
	}
}

// Reader is a recorded history that can be read any number of times. The ops belong to the Reader:
// callers do not change what the pointers point at, and who wants to keep an op of a streaming
// Reader beyond its turn copies it (its Msgs stay valid).
type Reader interface {
	Ops() iter.Seq[*Op]
}

// History is a history in memory.
type History []Op

var _ Reader = History(nil)

// Ops implements Reader.
func (h History) Ops() iter.Seq[*Op] {
	return func(yield func(*Op) bool) {
		for i := range h {
			if !yield(&h[i]) {
				return
			}
		}
	}
}
