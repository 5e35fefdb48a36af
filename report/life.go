package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// ErrNoMessage is returned by Life when no op of the history sent or saw the message.
var ErrNoMessage = errors.New("no op of this history sent or saw the message")

// maxMissLines bounds how many reads are listed that passed the message's offset without it: the
// first ones tell, and the final ones always do.
const maxMissLines = 5

// MessageLife is every op that touched one message, in the order of time, with the faults between
// them.
type MessageLife struct {
	Value int64
	Part  int32
	// Offset is where the message was acknowledged or first seen, Unset when nobody saw it
	// anywhere.
	Offset int64
	Lines  []LifeLine
	// Judgement is its final state in one sentence.
	Judgement string

	over int64 // index from which on all reads are final
}

// LifeLine is one op of a life.
type LifeLine struct {
	Op     histories.Op
	Sent   bool // it was to bring the message into the system: a send, a write, ...
	Missed bool // a read over the message's offset that did not return it
	Fault  bool // an op of the nemesis
}

// Life collects the life of a message. It judges nothing: Judgement says what the ops show, not
// whether that was permitted.
func Life(h histories.Reader, value int64) (*MessageLife, error) {
	l := &MessageLife{Value: value, Offset: histories.Unset, over: histories.EventsOf(h).LoadOver()}
	if value == histories.Unset {
		return nil, fmt.Errorf("message %d: %w: it is what stands for no value", value, ErrNoMessage)
	}
	first, last, err := l.locate(h)
	if err != nil {
		return nil, err
	}
	tracked := make(map[int]bool) // processes whose open invocation is of this message
	misses := 0
	for op := range h.Ops() {
		switch {
		case op.Process == histories.NemesisProcess:
			if op.Index > first && op.Index < last {
				l.add(LifeLine{Op: *op, Fault: true})
			}
		case op.Type == histories.Invoke && holds(op, value):
			tracked[op.Process] = true
			l.add(LifeLine{Op: *op, Sent: true})
		case op.Type == histories.Invoke:
			tracked[op.Process] = false
		case tracked[op.Process] || holds(op, value):
			l.add(LifeLine{Op: *op, Sent: tracked[op.Process]})
		case op.Index > first && l.missed(op): // what was read before it was sent is about an earlier message at its offset
			if misses++; misses <= maxMissLines || op.F != histories.Poll {
				l.add(LifeLine{Op: *op, Missed: true})
			}
		}
	}
	l.Judgement = l.judge(judge.FateOf(h, l.Part, value))
	return l, nil
}

func (l *MessageLife) add(line LifeLine) { l.Lines = append(l.Lines, line) }

// holds reports whether op carries value: as what is sent, or in what was read.
func holds(op *histories.Op, value int64) bool {
	return op.Value == value ||
		slices.ContainsFunc(op.Msgs, func(m histories.Message) bool { return m.Value == value })
}

// locate finds the message's partition and offset, and the first and the last op index that matter
// for it.
func (l *MessageLife) locate(h histories.Reader) (first, last int64, err error) {
	first = -1
	for op := range h.Ops() {
		if op.Process == histories.NemesisProcess {
			continue
		}
		if holds(op, l.Value) {
			if first < 0 {
				first, l.Part = op.Index, op.Part
			}
			last = op.Index
			l.place(op)
		} else if first >= 0 && l.missed(op) {
			last = op.Index
		}
	}
	if first < 0 {
		return 0, 0, fmt.Errorf("message %d: %w", l.Value, ErrNoMessage)
	}
	return first, last, nil
}

// place takes the offset that a completion names; the first one stays.
func (l *MessageLife) place(op *histories.Op) {
	if l.Offset != histories.Unset {
		return
	}
	if op.F == histories.Send && op.Value == l.Value {
		l.Offset = op.Offset
		return
	}
	for _, m := range op.Msgs {
		if m.Value == l.Value {
			l.Offset = m.Offset
			return
		}
	}
}

// missed reports whether op is a read that passed the message's offset and did not return it.
func (l *MessageLife) missed(op *histories.Op) bool {
	if l.Offset == histories.Unset || op.Type != histories.OK || op.F == histories.Send || op.Part != l.Part || holds(op, l.Value) {
		return false
	}
	if op.From == histories.Unset || op.From > l.Offset {
		return false
	}
	next := op.From
	if n := len(op.Msgs); n > 0 {
		next = op.Msgs[n-1].Offset + 1
	}
	// A final read or a scan may come in chunks; the one that reaches the end passes every offset
	// beyond it, too.
	end := (op.F == histories.Final || op.F == histories.Scan) && op.HW >= 0 && next >= op.HW
	return end || next > l.Offset
}

// inItsPlace says which message op returned from the offset of this one; nothing if none.
func (l *MessageLife) inItsPlace(op *histories.Op) string {
	i := slices.IndexFunc(op.Msgs, func(m histories.Message) bool { return m.Offset == l.Offset })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf(", message %d is at its offset", op.Msgs[i].Value)
}

// judge says in one sentence what became of the message.
func (l *MessageLife) judge(end judge.Fate) string {
	var sent, acked, weak, refused, read, late, finals int
	var on, off []string
	for i := range l.Lines {
		line, op := &l.Lines[i], &l.Lines[i].Op
		switch {
		case line.Fault:
		case line.Sent && op.Type == histories.Invoke:
			sent++
		case line.Sent && op.Type == histories.OK:
			acked++
		case line.Sent && op.Type == histories.Weak:
			weak++
		case line.Sent && op.Type == histories.Fail:
			refused++
		case op.Type != histories.OK:
		case op.F == histories.Final:
			finals++
		case op.F == histories.Scan && line.Missed:
			off = append(off, op.Node)
		case op.F == histories.Scan:
			on = append(on, op.Node)
		case line.Missed:
		case op.Index > l.over:
			late++
		default:
			read++
		}
	}
	fate := sendFate(sent, acked, weak, refused)
	switch {
	case end.ByClient && end.Held:
		fate += "; the final read has it"
	case end.ByClient && end.Known && l.Offset != histories.Unset:
		fate += "; the final read does not have it"
	case late > 0: // of a workload whose final reads are plain reads
		fate += "; the final read has it"
	case !end.ByClient && finals > 0:
		fate += "; no final read came to its end"
	default:
		fate += "; no final read tells of it"
	}
	if read > 0 {
		fate += fmt.Sprintf("; %s under load saw it", count(int64(read), "read"))
	}
	if len(on) > 0 {
		fate += "; on the disk of " + strings.Join(on, ", ")
		if slices.Contains(on, end.Leader) {
			fate += fmt.Sprintf(" (%s leads)", end.Leader)
		}
	}
	if len(off) > 0 {
		fate += "; not on the disk of " + strings.Join(off, ", ")
	}
	switch {
	case acked == 0 || end.Held || !end.Known:
		return fate + "."
	case slices.Contains(on, end.Leader):
		return "unseen: " + fate + "."
	}
	return "lost: " + fate + "."
}

// sendFate says how the send ended.
func sendFate(sent, acked, weak, refused int) string {
	switch {
	case sent == 0:
		return "never sent by this run"
	case acked > 0:
		return "acknowledged"
	case weak > 0:
		return "stored, but not acknowledged as promised (weak)"
	case refused > 0:
		return "refused"
	}
	return "sent, its fate unknown to the sender"
}

// Text writes the life for a terminal.
func (l *MessageLife) Text(w io.Writer, term Terminal) error {
	p := newPrinter(term)
	where := "nobody saw it at an offset"
	if l.Offset != histories.Unset {
		where = fmt.Sprintf("offset %d", l.Offset)
	}
	p.line("%s", p.style.bold(fmt.Sprintf("message %d, partition %d, %s", l.Value, l.Part, where)))
	about := subject{l.Value, l.Offset}
	for i := range l.Lines {
		line := &l.Lines[i]
		text := describe(&line.Op, about)
		switch {
		case line.Fault:
			p.opLine(&line.Op, text, p.style.yellow)
		case line.Missed:
			p.opLine(&line.Op, text+" - without it"+l.inItsPlace(&line.Op), p.style.red)
		default:
			p.opLine(&line.Op, text, nil)
		}
	}
	p.line("")
	p.paragraph(0, l.Judgement)
	_, err := io.WriteString(w, p.b.String())
	return err
}
