package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/histories"
)

// maxShownMsgs bounds how many messages of a read are written out.
const maxShownMsgs = 6

// subject is the message that lines about ops are about: in a long read its neighbourhood is shown,
// or what is in its place. Both may be Unset.
type subject struct{ value, offset int64 }

// subjectOf is the first message that an anomaly names.
func subjectOf(f *Finding) subject {
	s := subject{histories.Unset, histories.Unset}
	if len(f.Values) > 0 {
		s.value = f.Values[0]
	}
	if len(f.Offsets) > 0 {
		s.offset = f.Offsets[0]
	}
	return s
}

// describe writes one op as a line for people, without its time: "p3 send 4711 to partition 1 of
// n1: ok at offset 120".
func describe(op *histories.Op, about subject) string {
	if op.Process == histories.NemesisProcess {
		return describeNemesis(op)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "p%d ", op.Process)
	if op.F == histories.Send {
		fmt.Fprintf(&b, "send %s to partition %d", sent(op), op.Part)
	} else {
		fmt.Fprintf(&b, "%s partition %d", op.F, op.Part)
		switch {
		case op.From == histories.Unset:
		case op.F == histories.Poll, op.F == histories.Final, op.F == histories.Scan:
			fmt.Fprintf(&b, " from offset %d", op.From)
		default: // another workload's, who knows what it means there
			fmt.Fprintf(&b, ", from %d", op.From)
		}
		if op.Value != histories.Unset {
			fmt.Fprintf(&b, ", value %d", op.Value)
		}
	}
	if op.Node != "" {
		b.WriteString(" at " + op.Node)
	}
	if op.Type == histories.Invoke {
		b.WriteString(": invoked")
		return clean(b.String())
	}
	b.WriteString(": " + op.Type.String())
	if op.F == histories.Send {
		b.WriteString(stored(op))
	}
	if op.F != histories.Send && op.Msgs != nil {
		b.WriteString(", " + read(op, about))
	}
	if op.Err != "" {
		b.WriteString(" (" + op.Err + ")")
	}
	return clean(b.String())
}

func describeNemesis(op *histories.Op) string {
	what := map[string]string{histories.Inject: "fault", histories.Heal: "healed", histories.Note: "note"}[op.F]
	if what == "" {
		what = op.F
	}
	text := what
	for _, part := range []string{op.Fault, op.Node} {
		if part != "" {
			text += " " + part
		}
	}
	if op.F == histories.Note && op.Fault == histories.NoteLeader {
		text += fmt.Sprintf(" of partition %d", op.Part)
	}
	if op.Effect != "" {
		text += ": " + op.Effect
	}
	if op.Err != "" {
		text += " (" + op.Err + ")"
	}
	return clean(text)
}

// stored says where an acknowledgement put what was sent.
func stored(op *histories.Op) string {
	first, last := op.Offset, op.Offset
	if n := len(op.Msgs); n > 0 {
		first, last = op.Msgs[0].Offset, op.Msgs[n-1].Offset
	}
	switch first {
	case histories.Unset:
		return ""
	case last:
		return fmt.Sprintf(" at offset %d", first)
	}
	return fmt.Sprintf(" at offsets %d to %d", first, last)
}

// sent lists the values of a send.
func sent(op *histories.Op) string {
	if op.Value != histories.Unset {
		return fmt.Sprint(op.Value)
	}
	values := make([]string, 0, maxShownMsgs)
	for _, m := range op.Msgs[:min(len(op.Msgs), maxShownMsgs)] {
		values = append(values, fmt.Sprint(m.Value))
	}
	if len(op.Msgs) > maxShownMsgs {
		values = append(values, fmt.Sprintf("... (%d values)", len(op.Msgs)))
	}
	return strings.Join(values, ",")
}

// read says what a read returned: how many messages, the offsets that they span, and the messages
// around what it is about.
func read(op *histories.Op, about subject) string {
	n := len(op.Msgs)
	if n == 0 {
		return "nothing" + highWater(op)
	}
	text := fmt.Sprintf("%s, offsets %d to %d", count(int64(n), "message"), op.Msgs[0].Offset, op.Msgs[n-1].Offset)
	from, to := 0, min(n, maxShownMsgs)
	if i := whereabouts(op.Msgs, about); i >= 0 {
		from = max(0, min(i-maxShownMsgs/2, n-maxShownMsgs))
		to = min(n, from+maxShownMsgs)
	}
	shown := make([]string, 0, maxShownMsgs)
	for _, m := range op.Msgs[from:to] {
		s := fmt.Sprintf("%d:%d", m.Offset, m.Value)
		if m.Value == about.value {
			s = "*" + s + "*"
		}
		shown = append(shown, s)
	}
	lead, tail := "", ""
	if from > 0 {
		lead = "... "
	}
	if to < n {
		tail = " ..."
	}
	return text + " [" + lead + strings.Join(shown, " ") + tail + "]" + highWater(op)
}

// whereabouts is the index of the message, or else of the first one at or beyond its offset, or of
// the last one; -1 when its offset is not known.
func whereabouts(msgs []histories.Message, about subject) int {
	if i := slices.IndexFunc(msgs, func(m histories.Message) bool { return m.Value == about.value }); i >= 0 {
		return i
	}
	if about.offset == histories.Unset {
		return -1
	}
	i := slices.IndexFunc(msgs, func(m histories.Message) bool { return m.Offset >= about.offset })
	if i < 0 {
		return len(msgs) - 1
	}
	return i
}

func highWater(op *histories.Op) string {
	if op.HW == histories.Unset {
		return ""
	}
	if op.F == histories.Scan {
		return fmt.Sprintf(", log end %d", op.HW)
	}
	return fmt.Sprintf(", committed %d", op.HW)
}

// stamp is the moment of an op.
func stamp(op *histories.Op) string {
	return fmt.Sprintf("%10s", fmt.Sprintf("%.3f s", time.Duration(op.Time).Seconds()))
}
