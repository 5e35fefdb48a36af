package histories

import (
	"fmt"
	"slices"
	"strings"
)

// Format 1 of a history had no events: what a fault destroys followed from its name, a promote was
// a text, and nothing tied a heal to its injection but their names. This file is all that is left
// of it. Its list of faults is closed: whatever came later records its harm.

// event returns what an op of the nemesis says in fields, translated where the op is of format 1.
func event(op *Op) Event {
	if op.Event != nil {
		e := *op.Event
		if op.F == Inject && e.Harm == "" { // nobody said, so its name tells
			named := format1Strike(op)
			e.Harm, e.Instant = named.Harm, e.Instant || named.Instant
		}
		return e
	}
	switch {
	case op.F == Inject:
		return format1Strike(op)
	case op.F == Note && op.Fault == NotePromote && op.Effect != "":
		return Event{Promote: format1Promote(op.Effect)}
	}
	return Event{}
}

func format1Strike(op *Op) Event {
	name, _, _ := SplitFault(op.Fault)
	switch name {
	case "wipe":
		return Event{Harm: HarmDisk}
	case "power":
		return Event{Harm: HarmUnsynced}
	case "fsync", "full":
		return Event{Harm: HarmWrites}
	case "corrupt":
		return Event{Harm: HarmBits, Instant: true}
	case "promote":
		return Event{Harm: HarmLeadership, Instant: true}
	case "restart", "transfer":
		return Event{Harm: HarmNone, Instant: true}
	}
	return Event{Harm: HarmNone}
}

// format1Promote reads "epoch 3, leader n2, safe". What cannot be read was not safe.
func format1Promote(text string) *Promote {
	var p Promote
	_, _ = fmt.Sscanf(text, "epoch %d,", &p.Epoch)
	p.Safe, p.Forced = strings.HasSuffix(text, ", safe"), strings.HasSuffix(text, ", forced")
	return &p
}

// format1Heal ends the earliest open strike with the heal's fault and nodes, or else the earliest
// with its fault. A heal without a fault ends all.
func (r *EventReader) format1Heal(op *Op) {
	if op.Fault == "" {
		for len(r.open) > 0 {
			r.end(0, op)
		}
		return
	}
	nodes := nodesOf(op)
	if !r.endFirst(op, func(s *Strike) bool { return s.Fault == op.Fault && slices.Equal(s.Nodes, nodes) }) {
		r.endFirst(op, func(s *Strike) bool { return s.Fault == op.Fault })
	}
}
