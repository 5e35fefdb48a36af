package report

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/assay-project/assay/histories"
)

// maxFaultsShown bounds the faults listed between the witnesses of one anomaly. The first ones are the ones that count.
const maxFaultsShown = 30

// AnomalyText writes one anomaly with its witnesses in full, and the faults between them. n counts from 1 in d.Findings.
func AnomalyText(w io.Writer, d *Document, h histories.Reader, n int, term Terminal) error {
	if n < 1 || n > len(d.Findings) {
		if len(d.Findings) == 0 {
			return fmt.Errorf("anomaly %d: this run has none", n)
		}
		return fmt.Errorf("anomaly %d: this run has 1 to %d", n, len(d.Findings))
	}
	f := &d.Findings[n-1]
	p := newPrinter(term)
	word := p.style.red("excluded by the contract")
	if f.Permitted {
		word = p.style.yellow("permitted")
	}
	p.line("%s %d of %d, %s", p.style.bold(string(f.Class)), n, len(d.Findings), word)
	p.paragraph(0, f.Explanation)
	if f.Why != "" {
		p.paragraph(0, "contract: "+f.Why)
	}
	if f.Part >= 0 {
		p.line("partition %d%s%s", f.Part, listed("values", f.Values), listed("offsets", f.Offsets))
	}
	p.line("")
	about := subjectOf(f)
	for _, l := range gather(h, d.Findings[n-1:n]).lines(f, maxFaultsShown) {
		var paint func(string) string
		if l.Fault {
			paint = p.style.yellow
		}
		p.opLine(&l.Op, describe(&l.Op, about), paint)
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

func listed(name string, ns []int64) string {
	if len(ns) == 0 {
		return ""
	}
	return ", " + name + " " + joinInts(ns, 12)
}

// evidence holds the ops that findings name, and what is shown around them. It is filled in one pass over the history.
type evidence struct {
	ops    map[int64]histories.Op // the witnesses
	calls  map[int64]histories.Op // the invocation of each witness that is a completion
	faults []histories.Op         // every op of the nemesis
}

// gather collects the evidence of several findings.
func gather(h histories.Reader, findings []Finding) *evidence {
	e := &evidence{ops: make(map[int64]histories.Op), calls: make(map[int64]histories.Op)}
	wanted := make(map[int64]bool)
	for i := range findings {
		for _, w := range findings[i].Witnesses {
			wanted[w] = true
		}
	}
	open := make(map[int]histories.Op)
	for op := range h.Ops() {
		switch {
		case op.Process == histories.NemesisProcess:
			e.faults = append(e.faults, *op)
		case op.Type == histories.Invoke:
			open[op.Process] = *op
		case wanted[op.Index]:
			if inv, ok := open[op.Process]; ok {
				e.calls[op.Index] = inv
			}
		}
		if wanted[op.Index] {
			e.ops[op.Index] = *op
		}
	}
	return e
}

// lines returns the witnesses of one finding with their invocations and the first faults between them, in the order of the history.
func (e *evidence) lines(f *Finding, maxFaults int) []LifeLine {
	if len(f.Witnesses) == 0 {
		return nil
	}
	byIndex := make(map[int64]LifeLine)
	for _, w := range f.Witnesses {
		if op, ok := e.ops[w]; ok {
			byIndex[w] = LifeLine{Op: op, Fault: op.Process == histories.NemesisProcess}
		}
		if inv, ok := e.calls[w]; ok {
			byIndex[inv.Index] = LifeLine{Op: inv}
		}
	}
	first, last, shown := slices.Min(f.Witnesses), slices.Max(f.Witnesses), 0
	for i := range e.faults {
		if op := &e.faults[i]; op.Index > first && op.Index < last && shown < maxFaults {
			shown++
			byIndex[op.Index] = LifeLine{Op: *op, Fault: true}
		}
	}
	out := make([]LifeLine, 0, len(byIndex))
	for _, i := range slices.Sorted(maps.Keys(byIndex)) {
		out = append(out, byIndex[i])
	}
	return out
}
