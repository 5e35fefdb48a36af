package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// maxShownMsgs bounds how many messages of a read are written out.
const maxShownMsgs = 6

// describe writes one op as a line for people, without its time: "p3 send 4711 to partition 1 of n1: ok at offset 120". about is a value
// whose neighbourhood is shown in a long read, or Unset.
func describe(op *histories.Op, about int64) string {
	if op.Process == histories.NemesisProcess {
		return describeNemesis(op)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "p%d ", op.Process)
	if op.F == histories.Send {
		fmt.Fprintf(&b, "send %s to partition %d", sent(op), op.Part)
	} else {
		fmt.Fprintf(&b, "%s partition %d", op.F, op.Part)
		if op.From != histories.Unset {
			fmt.Fprintf(&b, " from offset %d", op.From)
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
	if op.F == histories.Send && op.Offset != histories.Unset {
		fmt.Fprintf(&b, " at offset %d", op.Offset)
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
	if op.F == histories.Note && op.Fault == harness.NoteLeader {
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

// read says what a read returned: how many messages, the offsets that they span, and the messages around about.
func read(op *histories.Op, about int64) string {
	n := len(op.Msgs)
	if n == 0 {
		return "nothing" + highWater(op)
	}
	text := fmt.Sprintf("%s, offsets %d to %d", count(int64(n), "message"), op.Msgs[0].Offset, op.Msgs[n-1].Offset)
	from, to := 0, min(n, maxShownMsgs)
	if i := slices.IndexFunc(op.Msgs, func(m histories.Message) bool { return m.Value == about }); i >= 0 {
		from = max(0, i-maxShownMsgs/2)
		to = min(n, from+maxShownMsgs)
	}
	shown := make([]string, 0, maxShownMsgs)
	for _, m := range op.Msgs[from:to] {
		s := fmt.Sprintf("%d:%d", m.Offset, m.Value)
		if m.Value == about {
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
