package report

import (
	"bytes"
	_ "embed" // the page's parts
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// What the page shows at most; all of it is in verdict.json and history.jsonl.
const (
	maxPageFindings   = 40      // of each class
	maxPageOpen       = 5       // of them that are not folded away
	maxPageWitnesses  = 40      // op lines of each finding
	maxPageFaultLines = 12      // of them that are faults
	maxPageFaults     = 2000    // in the table
	maxPicture        = 8 << 20 // bytes of Porcupine's picture
	laneHeight        = 26      // pixels from one lane of faults to the next
)

//go:embed page.html.tmpl
var pageTemplate string

//go:embed page.css
var pageStyle string

//go:embed chart.js
var chartScript string

//go:embed picture.js
var pictureScript string

// HTML writes the run as one page without outside resources: what came from the system under test
// is escaped, and Porcupine's picture, a page of its own that may be empty, is shut in a sandboxed
// frame.
func HTML(w io.Writer, d *Document, h histories.Reader, picture []byte) error {
	tmpl, err := template.New("page").Funcs(template.FuncMap{"laneTop": func(i int) int { return i*laneHeight + 3 }}).Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("the report's template: %w", err)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, newPage(d, h, picture)); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// page is what the template shows.
type page struct {
	Summary     judge.Summary
	Verdict     string
	Headline    string
	Facts       []Setting
	Notes       []string
	HasChart    bool
	Latency     plot
	Throughput  plot
	Lanes       [][]band
	LanesHeight int
	XTicks      []tick
	Groups      []findingGroup
	Picture     string
	Functions   [][]string
	Gaps        []string
	Faults      []faultRow
	ByNode      []Setting
	Checkers    []checkerRow
	Settings    []Setting
	Hover       hover
	Style       template.CSS

	ChartScript, PictureScript template.JS
}

// plot is a chart with its title and the faults behind it.
type plot struct {
	chart
	Title  string
	Shades []band
}

// findingGroup is the anomalies of one class with one answer of the contract.
type findingGroup struct {
	Class     string
	Count     string
	Permitted bool
	Why       string
	Findings  []findingRow // the first ones
	Folded    []findingRow
	More      int
}

type findingRow struct {
	Number      int
	Program     string
	Explanation string
	Open        bool
	Lines       []opRow
	More        int
}

type opRow struct {
	Class string
	At    string
	Index int64
	Text  string
}

type faultRow struct {
	Name, Target, Nodes, At, Lasted, Effect string
	None                                    bool
}

type checkerRow struct{ Name, Verdict, Took, Text string }

// hover is the data of the tooltip.
type hover struct {
	End     int64    `json:"end"`     // ms
	Seconds [][6]any `json:"seconds"` // ok, weak, info, fail, p50, p99
	Faults  [][3]any `json:"faults"`  // from ms, to ms, text
}

func newPage(d *Document, h histories.Reader, picture []byte) *page {
	st := Measure(h)
	s := &d.Summary
	p := &page{
		Summary: *s, Verdict: s.Verdict, Headline: headline(s), Facts: facts(d), Settings: d.Settings,
		Groups: findingGroups(d, h), Gaps: gapLines(&st), ByNode: byNode(s.Faults),
		// These are files of this package.
		Style: template.CSS(pageStyle), ChartScript: template.JS(chartScript), PictureScript: template.JS(pictureScript),
	}
	p.Notes = append(slices.Clone(s.Unknown), d.Warnings...)
	if len(picture) > maxPicture {
		p.Notes = append(p.Notes, fmt.Sprintf("Porcupine's picture has %d MB and is left out.", len(picture)>>20))
		picture = nil
	}
	p.Picture = string(picture)
	for i := range st.Functions {
		p.Functions = append(p.Functions, functionRow(&st.Functions[i]))
	}
	for i := range s.Faults[:min(len(s.Faults), maxPageFaults)] {
		f := &s.Faults[i]
		p.Faults = append(p.Faults, faultRow{
			Name: f.Name, Target: orDash(f.Target), Nodes: orDash(nodeList(f.Nodes)), At: seconds(ms(f.AtMS)), Lasted: lasted(f), Effect: effectText(f), None: f.Effect == "",
		})
	}
	for i := range d.Checkers {
		p.Checkers = append(p.Checkers, checkerLine(&d.Checkers[i]))
	}
	p.charts(h, &st)
	return p
}

// charts draws what the history has to show over time.
func (p *page) charts(h histories.Reader, st *Stats) {
	if len(st.Seconds) == 0 || st.End <= 0 {
		return
	}
	p.HasChart = true
	p.Lanes = faultLanes(p.Summary.Faults, st.End)
	p.LanesHeight = len(p.Lanes) * laneHeight
	var shades []band
	for _, lane := range p.Lanes {
		shades = append(shades, lane...)
	}
	p.Latency = plot{chart: latencyChart(h, st), Title: "latency", Shades: shades}
	p.Throughput = plot{chart: throughputChart(st), Title: "ops per second", Shades: shades}
	p.XTicks = timeTicks(st.End)
	p.Hover = hover{End: st.End.Milliseconds(), Seconds: [][6]any{}, Faults: [][3]any{}}
	for i := range st.Seconds {
		s := &st.Seconds[i]
		row := [6]any{s.Ops.OK, s.Ops.Weak, s.Ops.Info, s.Ops.Fail, "", ""}
		if s.P50 > 0 {
			row[4], row[5] = latency(s.P50), latency(s.P99)
		}
		p.Hover.Seconds = append(p.Hover.Seconds, row)
	}
	for i := range p.Summary.Faults {
		f := &p.Summary.Faults[i]
		p.Hover.Faults = append(p.Hover.Faults, [3]any{f.AtMS, healedAt(f, st.End), strings.TrimSpace(f.Name+" "+nodeList(f.Nodes)) + ": " + effectText(f)})
	}
}

func facts(d *Document) []Setting {
	s := &d.Summary
	all := []Setting{
		{"environment", s.Env}, {"mode", s.Mode}, {"workload", s.Workload}, {"nemesis", s.Nemesis}, {"seed", fmt.Sprint(s.Seed)},
		{"ok / weak / info / fail", fmt.Sprintf("%s / %s / %s / %s", group(s.Ops.OK), group(s.Ops.Weak), group(s.Ops.Info), group(s.Ops.Fail))},
		{"faults", group(int64(len(s.Faults)))}, {"virtual time", seconds(ms(s.VirtualMS))}, {"wall time", seconds(ms(s.WallMS))},
		{"judged in", seconds(ms(s.CheckMS))}, {"run", s.Run},
	}
	return slices.DeleteFunc(all, func(f Setting) bool { return f.Value == "" })
}

func functionRow(f *FunctionStats) []string {
	row := []string{f.F, group(f.Ops.OK), group(f.Ops.Weak), group(f.Ops.Info), group(f.Ops.Fail), "-", "-", "-", "-"}
	if f.Ops.OK+f.Ops.Weak > 0 {
		row = append(row[:5], latency(f.Latency.P50), latency(f.Latency.P90), latency(f.Latency.P99), latency(f.Latency.Max))
	}
	return row
}

// findingGroups brings the anomalies of one class together, in the order in which people read them.
func findingGroups(d *Document, h histories.Reader) []findingGroup {
	var (
		groups []findingGroup
		shown  []Finding
	)
	for _, a := range ordered(d.Summary.Anomalies) {
		g := findingGroup{Class: string(a.Class), Count: group(a.Count), Permitted: a.Permitted}
		if _, f := d.first(a.Class, a.Permitted); f != nil {
			g.Why = f.Why
		}
		for j := range d.Findings {
			f := &d.Findings[j]
			if f.Class != a.Class || f.Permitted != a.Permitted {
				continue
			}
			if len(g.Findings) < maxPageFindings {
				g.Findings = append(g.Findings, findingRow{Number: j + 1, Program: d.program(), Explanation: f.Explanation})
				shown = append(shown, *f)
			}
		}
		g.More = max(0, int(a.Count)-len(g.Findings))
		groups = append(groups, g)
	}
	e := gather(h, shown)
	for i := range groups {
		g := &groups[i]
		for j := range g.Findings {
			row := &g.Findings[j]
			row.fill(e, &d.Findings[row.Number-1])
		}
		if len(g.Findings) > maxPageOpen+1 {
			g.Findings, g.Folded = g.Findings[:maxPageOpen], g.Findings[maxPageOpen:]
		}
	}
	if len(groups) > 0 && len(groups[0].Findings) > 0 {
		groups[0].Findings[0].Open = true
	}
	return groups
}

// fill writes the witnesses' lines.
func (r *findingRow) fill(e *evidence, f *Finding) {
	about := subjectOf(f)
	lines := e.lines(f, maxPageFaultLines)
	r.More = max(0, len(lines)-maxPageWitnesses)
	for i := range lines[:len(lines)-r.More] {
		op := &lines[i].Op
		row := opRow{Class: op.Type.String(), At: strings.TrimSpace(stamp(op)), Index: op.Index, Text: describe(op, about)}
		if lines[i].Fault {
			row.Class = "fault"
		}
		r.Lines = append(r.Lines, row)
	}
}

func gapLines(st *Stats) []string {
	var lines []string
	for i := range st.Functions {
		if f := &st.Functions[i]; f.Gap.Length() > 0 {
			lines = append(lines, fmt.Sprintf("Longest time without an ok %s: %s, from %s to %s.", f.F, latency(f.Gap.Length()), seconds(f.Gap.From), seconds(f.Gap.To)))
		}
	}
	return lines
}

// byNode lists what hit each node.
func byNode(faults []judge.FaultRecord) []Setting {
	hits := make(map[string][]string)
	for i := range faults {
		f := &faults[i]
		for _, n := range f.Nodes {
			hits[n] = append(hits[n], fmt.Sprintf("%s at %s", f.Name, seconds(ms(f.AtMS))))
		}
	}
	var rows []Setting
	for n, list := range hits {
		text := strings.Join(list[:min(len(list), 12)], ", ")
		if len(list) > 12 {
			text += fmt.Sprintf(" and %d more", len(list)-12)
		}
		rows = append(rows, Setting{Name: n, Value: text})
	}
	slices.SortFunc(rows, func(a, b Setting) int {
		if len(a.Name) != len(b.Name) {
			return len(a.Name) - len(b.Name) // n2 before n10
		}
		return strings.Compare(a.Name, b.Name)
	})
	return rows
}

func checkerLine(c *CheckerNote) checkerRow {
	row := checkerRow{Name: c.Name, Verdict: c.Verdict.String(), Took: fmt.Sprintf("%.1f ms", c.TookMS), Text: c.Reason}
	names := make([]string, 0, len(c.Figures))
	for name := range c.Figures {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if row.Text != "" {
			row.Text += ", "
		}
		row.Text += fmt.Sprintf("%s %g", name, c.Figures[name])
	}
	return row
}
