package histories

import (
	"fmt"
	"slices"
	"strings"
)

// What the harness notes (Op.Fault of an op whose F is Note).
const (
	// NoteGroup states one replication group at the start of the load: Op.Part is its number,
	// Op.Node its members, the leader first.
	NoteGroup = "group"
	// NoteLeader states, after the recovery, that Op.Node leads partition Op.Part.
	NoteLeader = "leader"
	// NotePromote states a promote that happened: Op.Part is the group, Op.Node the leader,
	// Op.Event has the rest. With Op.Err it was refused.
	NotePromote = "promote"
	// NoteCaughtUp states that a node whose disk was damaged again has everything that its leader
	// had when the node came back.
	NoteCaughtUp = "caught-up"
	// NoteRecovery states that the cluster is well again or, with Op.Err, that it was not within
	// its bound.
	NoteRecovery = "recovery"
	// NoteInterrupted states that the run ended early.
	NoteInterrupted = "interrupted"
)

// Harm says what a fault can destroy. It is recorded with each strike, so that judges need no list
// of faults.
type Harm string

// The zero Harm means that nobody said: such an op is of format 1, and its fault's name tells.
const (
	HarmNone       Harm = "none"       // nothing: kill, pause, partition, ...
	HarmUnsynced   Harm = "unsynced"   // bytes and directory entries that were not synced: power
	HarmDisk       Harm = "disk"       // all that the disk held: wipe
	HarmBits       Harm = "bits"       // some bits of the log, which the next start may find: corrupt
	HarmWrites     Harm = "writes"     // nothing stored, but the disk takes no more writes or syncs, and the node may give it up: fsync, full
	HarmLeadership Harm = "leadership" // nothing stored, but an operator moves the leadership, and replicas give up what the new leader lacks: promote
)

// harms are all that can be recorded.
var harms = [...]Harm{HarmNone, HarmUnsynced, HarmDisk, HarmBits, HarmWrites, HarmLeadership}

// Known reports whether h can be recorded.
func (h Harm) Known() bool { return slices.Contains(harms[:], h) }

// UnmarshalText implements encoding.TextUnmarshaler. A value that this version does not know is an
// error: a judge that took it for harmless would call a loss a broken promise.
func (h *Harm) UnmarshalText(b []byte) error {
	if !Harm(b).Known() {
		return fmt.Errorf("unknown harm %q (want one of %q)", b, harms)
	}
	*h = Harm(b)
	return nil
}

// Event is what an op of the nemesis or of the harness says in fields. Ops of clients have none.
type Event struct {
	// Strike numbers an injection and its heal, from 1: it ties the two together.
	Strike int `json:"strike,omitempty"`
	// Harm is what the fault of an injection can destroy.
	Harm Harm `json:"harm,omitempty"`
	// Instant says of an injection that it is over when it has happened, even where no heal is
	// recorded: the cluster is as an operator might have left it.
	Instant bool `json:"instant,omitempty"`
	// Promote is what a NotePromote states.
	Promote *Promote `json:"promote,omitempty"`
}

// Promote is the result of a promote.
type Promote struct {
	Epoch  int64 `json:"epoch"`
	Safe   bool  `json:"safe"`   // nothing acknowledged can have been left behind
	Forced bool  `json:"forced"` // an operator gave up what could be left behind
}

// text is Promote for people: "epoch 3, leader n2, safe".
func (p Promote) text(leader string) string {
	word := "unsafe"
	switch {
	case p.Safe:
		word = "safe"
	case p.Forced:
		word = "forced"
	}
	return fmt.Sprintf("epoch %d, leader %s, %s", p.Epoch, leader, word)
}

// newEvent returns an op of the harness without index and time.
func newEvent(f, fault string, nodes ...string) Op {
	op := New(Info, NemesisProcess, f)
	op.Fault, op.Node = fault, strings.Join(nodes, ",")
	return op
}

// NewInject returns the op of an injection of a fault, in the spelling of the command line, at
// nodes.
func NewInject(fault string, e Event, nodes ...string) Op {
	op := newEvent(Inject, fault, nodes...)
	op.Event = &e
	return op
}

// NewHeal returns the op that ends the strike of a number.
func NewHeal(fault string, strike int, nodes ...string) Op {
	op := newEvent(Heal, fault, nodes...)
	op.Event = &Event{Strike: strike}
	return op
}

// NewNote returns the op of a note about nodes.
func NewNote(note string, nodes ...string) Op { return newEvent(Note, note, nodes...) }

// NewGroupNote returns the note of a group whose leader comes first among its members.
func NewGroupNote(group int, members ...string) Op {
	op := NewNote(NoteGroup, members...)
	op.Part = int32(group)
	return op
}

// NewPromoteNote returns the note of a promote that happened. Its Effect says the same in words.
func NewPromoteNote(group int, leader string, p Promote) Op {
	op := NewNote(NotePromote, leader)
	op.Part, op.Effect, op.Event = int32(group), p.text(leader), &Event{Promote: &p}
	return op
}
