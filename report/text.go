package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// Bounds of the width of wrapped lines, in columns. Longer lines are hard to read, and in shorter
// ones a table has no room.
const (
	minTextWidth = 60
	maxTextWidth = 110
)

// minLastColumn is what the last column of a table gets at least, whatever the width.
const minLastColumn = 24

// Terminal is what a text is written for. The zero value is a file or a pipe.
type Terminal struct {
	Color bool // it understands colours
	Width int  // in columns; 0: unknown, which is no terminal
}

// columnGap is between the columns of a table.
const columnGap = "   "

// maxFaultLines bounds the list of faults on a terminal; the rest is in the HTML report.
const maxFaultLines = 24

// Text writes the summary of one run, for a terminal. Its last line is the command that runs the
// experiment again. st may be the zero Stats when there is no history to measure.
func Text(w io.Writer, d *Document, st *Stats, term Terminal) error {
	p := newPrinter(term)
	s := &d.Summary
	p.verdict(s)
	for _, warning := range d.Warnings {
		const word = "note:"
		for i, l := range wrap(word+" "+clean(warning), p.textWidth()) {
			if i == 0 {
				l = p.style.bold(word) + strings.TrimPrefix(l, word)
			}
			p.line("%s", l)
		}
	}
	p.unknown(s)
	p.anomalies(d)
	p.operations(st)
	p.gaps(st)
	p.faults(s.Faults)
	p.times(s)
	p.kept(d)
	if s.Reproduce != "" {
		p.line("")
		p.line("%s", p.style.dim("run it again:"))
		p.line("%s", s.Reproduce)
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

// printer collects lines.
type printer struct {
	b     strings.Builder
	style style
	width int // 0: no terminal
}

func newPrinter(term Terminal) *printer { return &printer{style: style(term.Color), width: term.Width} }

// textWidth is the width of wrapped text.
func (p *printer) textWidth() int {
	if p.width == 0 {
		return maxTextWidth
	}
	return min(max(p.width, minTextWidth), maxTextWidth)
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(&p.b, format, args...)
	p.b.WriteByte('\n')
}

// paragraph writes wrapped text, indented.
func (p *printer) paragraph(indent int, text string) {
	for _, l := range wrap(clean(text), p.textWidth()-indent) {
		p.line("%s%s", strings.Repeat(" ", indent), l)
	}
}

func (p *printer) section(title string) {
	p.line("")
	p.line("%s", p.style.bold(title))
}

func (p *printer) verdict(s *judge.Summary) {
	text := fmt.Sprintf("%s (exit %d): %s", strings.ToUpper(s.Verdict), s.Exit, headline(s))
	if s.Interrupted && s.Verdict != "unknown" {
		text += "; the run was interrupted"
	}
	lines := wrap(clean(text), p.textWidth())
	word := strings.ToUpper(s.Verdict)
	for i, l := range lines {
		if i == 0 {
			l = p.style.verdict(s.Verdict, word) + strings.TrimPrefix(l, word)
		}
		p.line("%s", l)
	}
}

// unknown lists what could not be decided; the first reason is in the headline when the verdict is
// Unknown.
func (p *printer) unknown(s *judge.Summary) {
	rest := s.Unknown
	if s.Verdict == "unknown" && !s.Interrupted || s.Verdict == "error" {
		rest = rest[min(1, len(rest)):]
	}
	if len(rest) == 0 {
		return
	}
	p.section("Not decided")
	for _, reason := range rest {
		p.paragraph(2, reason)
	}
}

func (p *printer) anomalies(d *Document) {
	if len(d.Summary.Anomalies) == 0 {
		return
	}
	p.section("What went wrong")
	for _, a := range ordered(d.Summary.Anomalies) {
		word := p.style.red("excluded by the contract")
		if a.Permitted {
			word = p.style.yellow("permitted")
		}
		p.line("  %s x %s, %s", p.style.bold(string(a.Class)), group(a.Count), word)
		n, f := d.first(a.Class, a.Permitted)
		if f == nil {
			p.paragraph(6, a.Explanation)
			continue
		}
		p.paragraph(6, f.Explanation)
		if f.Why != "" {
			p.paragraph(6, "contract: "+f.Why)
		}
		hint := ""
		if !d.Removed {
			hint = fmt.Sprintf("; in full with --anomaly %d", n)
		}
		if len(f.Witnesses) > 0 {
			p.paragraph(6, "witnesses: op "+joinInts(f.Witnesses, 8)+hint)
		}
	}
}

// joinInts lists at most most numbers and says how many more there are.
func joinInts(ns []int64, most int) string {
	var parts []string
	for _, n := range ns[:min(len(ns), most)] {
		parts = append(parts, fmt.Sprint(n))
	}
	text := strings.Join(parts, ", ")
	if len(ns) > most {
		text += fmt.Sprintf(" and %d more", len(ns)-most)
	}
	return text
}

func (p *printer) operations(st *Stats) {
	if len(st.Functions) == 0 {
		return
	}
	rows := [][]string{{"Operations", "ok", "weak", "info", "fail", "p50", "p90", "p99", "max"}}
	for i := range st.Functions {
		f := &st.Functions[i]
		row := []string{"  " + f.F, group(f.Ops.OK), group(f.Ops.Weak), group(f.Ops.Info), group(f.Ops.Fail), "-", "-", "-", "-"}
		if f.Ops.OK+f.Ops.Weak > 0 {
			q := f.Latency
			row = append(row[:5], latency(q.P50), latency(q.P90), latency(q.P99), latency(q.Max))
		}
		rows = append(rows, row)
	}
	p.line("")
	p.table(rows, 1)
}

// table writes rows aligned, the first one bold; columns from rightFrom on are right-aligned. A
// left-aligned last column is wrapped.
func (p *printer) table(rows [][]string, rightFrom int) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	start, last := 0, len(rows[0])-1
	for _, w := range widths[:last] {
		start += w + len(columnGap)
	}
	for r, row := range rows {
		var more []string
		if last < rightFrom {
			if lines := wrap(row[last], max(p.textWidth()-start, minLastColumn)); len(lines) > 1 {
				row = append(slices.Clone(row[:last]), lines[0])
				more = lines[1:]
			}
		}
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i >= rightFrom {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
			b.WriteString(columnGap)
		}
		text := strings.TrimRight(b.String(), " ")
		if r == 0 {
			text = p.style.bold(text)
		}
		p.line("%s", text)
		for _, l := range more {
			p.line("%s%s", strings.Repeat(" ", start), l)
		}
	}
}

// opLine writes an op, and wraps it where there is a terminal; elsewhere an op is one line, for
// grep. paint may be nil.
func (p *printer) opLine(op *histories.Op, text string, paint func(string) string) {
	if paint == nil {
		paint = func(s string) string { return s }
	}
	lead := fmt.Sprintf("%s  op %-7d ", stamp(op), op.Index)
	lines := []string{text}
	if p.width > 0 {
		lines = wrap(text, max(p.width-len(lead), minLastColumn))
	}
	for i, l := range lines {
		if i > 0 {
			lead = strings.Repeat(" ", len(lead))
		}
		p.line("%s", paint(lead+l))
	}
}

func (p *printer) gaps(st *Stats) {
	for i := range st.Functions {
		if f := &st.Functions[i]; f.Gap.Length() > 0 {
			p.line("  longest time without an ok %s: %s, from %s to %s", f.F, latency(f.Gap.Length()), seconds(f.Gap.From), seconds(f.Gap.To))
		}
	}
}

func (p *printer) faults(faults []judge.FaultRecord) {
	if len(faults) == 0 {
		return
	}
	rows := [][]string{{"Faults", "target", "nodes", "at", "lasted", "effect"}}
	for i := range faults[:min(len(faults), maxFaultLines)] {
		f := &faults[i]
		rows = append(rows, []string{"  " + f.Name, orDash(f.Target), orDash(nodeList(f.Nodes)), seconds(ms(f.AtMS)), lasted(f), clean(effectText(f))})
	}
	p.line("")
	p.table(rows, len(rows[0]))
	if len(faults) > maxFaultLines {
		p.line("  and %d more, in the report", len(faults)-maxFaultLines)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// lasted is how long a fault was on; an instant has no length.
func lasted(f *judge.FaultRecord) string {
	if f.HealedMS < 0 {
		return "to the end"
	}
	if f.HealedMS <= f.AtMS {
		return "-"
	}
	return seconds(ms(f.HealedMS - f.AtMS))
}

func effectText(f *judge.FaultRecord) string {
	switch {
	case f.Err != "" && f.Effect != "":
		return f.Effect + "; error: " + f.Err
	case f.Err != "":
		return "error: " + f.Err
	case f.Effect == "" && f.HealedMS < 0:
		return "not known: the run ended first"
	case f.Effect == "":
		return "none"
	}
	return f.Effect
}

func nodeList(nodes []string) string { return strings.Join(nodes, ",") }

func (p *printer) times(s *judge.Summary) {
	if s.VirtualMS == 0 && s.WallMS == 0 {
		return
	}
	p.line("")
	text := fmt.Sprintf("took %s", seconds(ms(s.WallMS)))
	if s.Env == "sim" && s.VirtualMS > 0 {
		text = fmt.Sprintf("%s of virtual time in %s", seconds(ms(s.VirtualMS)), seconds(ms(s.WallMS)))
	}
	p.line("%s, judged in %s", text, seconds(ms(s.CheckMS)))
}

// kept says where the run is and what to do with it.
func (p *printer) kept(d *Document) {
	run := d.Summary.Run
	switch {
	case run == "":
	case d.Removed:
		p.line("nothing to look at, so the run was not kept (--keep always keeps it)")
	default:
		what := "report.html, history.jsonl"
		if d.NoReport {
			what = "history.jsonl"
		}
		p.line("kept in %s (%s)", run, what)
		if len(d.Findings) > 0 {
			p.line("look closer: %s show %s --anomaly %d%s", d.program(), run, firstNumber(d), messageHint(d))
		}
	}
}

// firstNumber is the number of the first anomaly of the class that is listed first.
func firstNumber(d *Document) int {
	for _, a := range ordered(d.Summary.Anomalies) {
		if n, _ := d.first(a.Class, a.Permitted); n > 0 {
			return n
		}
	}
	return 1
}

// messageHint proposes the first message that an anomaly names.
func messageHint(d *Document) string {
	for _, a := range ordered(d.Summary.Anomalies) {
		if _, f := d.first(a.Class, a.Permitted); f != nil && len(f.Values) > 0 {
			return fmt.Sprintf("   or --message %d", f.Values[0])
		}
	}
	return ""
}
