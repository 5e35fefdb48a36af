package histories

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Never is the time, ns, or the index of what did not happen.
const Never = math.MaxInt64

// DefaultRole is the role of a fault that is written without one.
const DefaultRole = "one"

// SplitFault splits a fault in the spelling of the command line, name[:role][/shape].
func SplitFault(spec string) (name, role, shape string) {
	head, shape, _ := strings.Cut(spec, "/")
	name, role, ok := strings.Cut(head, ":")
	if !ok {
		role = DefaultRole
	}
	return name, role, shape
}

// Strike is one use of a fault, as it was recorded.
type Strike struct {
	Fault   string   // in the spelling of the command line, e.g. "wipe:leader"
	Name    string   // of it: "wipe"
	Role    string   // "leader"; DefaultRole where none was written
	Shape   string   // of a partition, as written
	Nodes   []string // that were struck; nil if nobody was
	Harm    Harm     // what it can destroy
	Instant bool     // over when it has happened
	Number  int      // ties it to its heal; 0 in format 1
	Inject  int64    // index of the op
	Heal    int64    // index of the op; Unset if it was never healed
	From    int64    // ns
	To      int64    // ns, of the heal. Without one: From for an instant, else Never
	Effect  string   // what it measurably did; empty: nothing
	Err     string   // why it did not strike, or was not healed
	Missed  bool     // it did not take place
}

// Healed reports whether a heal was recorded.
func (s *Strike) Healed() bool { return s.Heal != Unset }

// String names the strike in a sentence: "wipe n1 at 13.0s".
func (s *Strike) String() string {
	text := s.Name
	if len(s.Nodes) > 0 {
		text += " " + strings.Join(s.Nodes, ",")
	}
	return text + " at " + Seconds(s.From)
}

// Seconds writes a time in ns as seconds, with as many digits as a reader needs: "13.0s",
// "12.345s".
func Seconds(ns int64) string {
	s := fmt.Sprintf("%.3f", float64(ns)/1e9)
	for strings.HasSuffix(s, "0") && !strings.HasSuffix(s, ".0") {
		s = s[:len(s)-1]
	}
	return s + "s"
}

// Noted is one note of the harness, with its text split.
type Noted struct {
	Note    string // NoteGroup, ...
	Index   int64
	Time    int64 // ns
	Part    int32 // the partition, or the group, that it is about
	Nodes   []string
	Promote *Promote // of a NotePromote that was not refused
	Err     string
}

// Node is the node that a note about one node names; empty if it names none.
func (n *Noted) Node() string { return strings.Join(n.Nodes, ",") }

// Events are what the nemesis and the harness did, as a history tells it.
type Events struct {
	Strikes []Strike // in the order of their injections
	Notes   []Noted  // in their order
}

// EventReader collects Events from the ops of a history, one after the other; it skips those of
// clients. The zero value is ready.
type EventReader struct {
	events Events
	open   []int // indexes of the strikes that were not healed, in the order of their injections
}

// EventsOf reads the events of a history.
func EventsOf(h Reader) *Events {
	var r EventReader
	for op := range h.Ops() {
		r.Add(op)
	}
	return r.Events()
}

// Events returns what was collected so far. It belongs to the reader until nothing more is added.
func (r *EventReader) Events() *Events { return &r.events }

// Add takes the next op.
func (r *EventReader) Add(op *Op) {
	if op.Process != NemesisProcess {
		return
	}
	e := event(op)
	switch op.F {
	case Inject:
		r.inject(op, e)
	case Heal:
		r.heal(op, e)
	case Note:
		r.events.Notes = append(r.events.Notes, Noted{
			Note: op.Fault, Index: op.Index, Time: op.Time, Part: op.Part, Nodes: nodesOf(op), Promote: e.Promote, Err: op.Err,
		})
	}
}

func (r *EventReader) inject(op *Op, e Event) {
	s := Strike{
		Fault: op.Fault, Nodes: nodesOf(op), Harm: e.Harm, Instant: e.Instant, Number: e.Strike, Inject: op.Index, Heal: Unset, From: op.Time, To: Never,
		Effect: op.Effect, Err: op.Err, Missed: op.Err != "",
	}
	s.Name, s.Role, s.Shape = SplitFault(op.Fault)
	if s.Instant {
		s.To = s.From
	}
	r.open = append(r.open, len(r.events.Strikes))
	r.events.Strikes = append(r.events.Strikes, s)
}

// heal ends the strike of the heal's number, and nothing if that was healed before.
func (r *EventReader) heal(op *Op, e Event) {
	if e.Strike == 0 {
		r.format1Heal(op)
		return
	}
	r.endFirst(op, func(s *Strike) bool { return s.Number == e.Strike })
}

// endFirst ends the earliest open strike of a kind, and reports whether there was one.
func (r *EventReader) endFirst(op *Op, is func(*Strike) bool) bool {
	at := slices.IndexFunc(r.open, func(i int) bool { return is(&r.events.Strikes[i]) })
	if at < 0 {
		return false
	}
	r.end(at, op)
	return true
}

// end ends the strike at a place in open.
func (r *EventReader) end(at int, op *Op) {
	s := &r.events.Strikes[r.open[at]]
	r.open = slices.Delete(r.open, at, at+1)
	s.Heal, s.To = op.Index, op.Time
	if op.Effect != "" {
		s.Effect = op.Effect
	}
	if op.Err != "" {
		s.Err = op.Err
	}
}

// Struck returns the strikes that took place.
func (e *Events) Struck() []Strike {
	return slices.DeleteFunc(slices.Clone(e.Strikes), func(s Strike) bool { return s.Missed })
}

// Recovery returns the last note about the recovery; nil if there is none.
func (e *Events) Recovery() *Noted {
	return e.last(func(n *Noted) bool { return n.Note == NoteRecovery })
}

// LoadOver returns the index of the first note about the recovery: what was invoked after it are
// final reads, whatever their function. Never if nobody noted.
func (e *Events) LoadOver() int64 {
	for i := range e.Notes {
		if e.Notes[i].Note == NoteRecovery {
			return e.Notes[i].Index
		}
	}
	return Never
}

// Leader returns the leader of a partition as it was noted last; empty if it never was.
func (e *Events) Leader(part int32) string {
	n := e.last(func(n *Noted) bool { return n.Note == NoteLeader && n.Part == part })
	if n == nil {
		return ""
	}
	return n.Node()
}

// Interrupted reports whether the run ended early.
func (e *Events) Interrupted() bool {
	return e.last(func(n *Noted) bool { return n.Note == NoteInterrupted }) != nil
}

// Groups returns the members of each replication group, as noted last.
func (e *Events) Groups() map[int][]string {
	groups := make(map[int][]string)
	for i := range e.Notes {
		if n := &e.Notes[i]; n.Note == NoteGroup {
			groups[int(n.Part)] = n.Nodes
		}
	}
	return groups
}

func (e *Events) last(is func(*Noted) bool) *Noted {
	for i := len(e.Notes) - 1; i >= 0; i-- {
		if is(&e.Notes[i]) {
			return &e.Notes[i]
		}
	}
	return nil
}

// nodesOf returns the nodes that an op of the nemesis names; nil for none.
func nodesOf(op *Op) []string {
	if op.Node == "" {
		return nil
	}
	return strings.Split(op.Node, ",")
}

// OpCounts counts completions of client ops by class. Ops left open count as Info.
type OpCounts struct {
	OK   int64 `json:"ok"`
	Weak int64 `json:"weak"`
	Info int64 `json:"info"`
	Fail int64 `json:"fail"`
}

// Count counts an op that ended as t says. One that is still open counts as Info: its fate is
// unknown.
func (c *OpCounts) Count(t Type) {
	switch t {
	case OK:
		c.OK++
	case Weak:
		c.Weak++
	case Fail:
		c.Fail++
	default:
		c.Info++
	}
}

// Add adds other counts.
func (c *OpCounts) Add(o OpCounts) {
	c.OK, c.Weak, c.Info, c.Fail = c.OK+o.OK, c.Weak+o.Weak, c.Info+o.Info, c.Fail+o.Fail
}

// Total is the number of all.
func (c *OpCounts) Total() int64 { return c.OK + c.Weak + c.Info + c.Fail }

// GroupOf returns the group in which a partition lives, of the given number of groups: partition p
// lives in group p mod groups.
func GroupOf(part int32, groups int) int {
	if groups <= 1 || part < 0 {
		return 0
	}
	return int(part) % groups
}
