// Package report tells people what a run found: a summary for a terminal, one self-contained HTML
// page, the life of one message, one anomaly with its witnesses.
//
// It shows what others decided. It neither judges a history nor changes what a judge said; the
// figures that it computes itself (latency, throughput, gaps) are about speed and availability
// only.
package report

import (
	"cmp"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
)

// Document is everything that is known of a judged run, apart from its history. It is what
// verdict.json holds.
type Document struct {
	Summary judge.Summary `json:"summary"`
	// Findings are the anomalies (of a class the first thousand), with what the contract says of
	// each. `assay show --anomaly N` counts them from 1.
	Findings []Finding `json:"findings"`
	// Checkers are the judges' results one by one, without their anomalies.
	Checkers []CheckerNote `json:"checkers"`
	// Settings are the effective configuration, in the order in which a person wants to read it.
	Settings []Setting `json:"settings"`
	// Warnings are what the reader should know and no judge said, such as a torn last line.
	Warnings []string `json:"warnings,omitempty"`
	// Removed says that the run directory was deleted after the judging, because nothing in it was
	// worth keeping.
	Removed bool `json:"-"`
	// Program is how people call the program, for the commands that they are told; "": assay.
	Program string `json:"-"`
	// NoReport says that the page could not be written.
	NoReport bool `json:"-"`
}

// Finding is one anomaly and the contract's word on it.
type Finding struct {
	checker.Anomaly
	Permitted bool   `json:"permitted"`
	Why       string `json:"why,omitempty"` // the contract's reason, one sentence
}

// CheckerNote is the result of one judge.
type CheckerNote struct {
	Name    string             `json:"name"`
	Verdict checker.Verdict    `json:"verdict"`
	Reason  string             `json:"reason,omitempty"`
	TookMS  float64            `json:"took_ms"`
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Setting is one value of the configuration.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// program is how people call the program.
func (d *Document) program() string { return cmp.Or(d.Program, "assay") }

// first returns the number, from 1, of the first finding of a class that is permitted or not, and
// the finding; 0 and nil when none is listed.
func (d *Document) first(class checker.Class, permitted bool) (int, *Finding) {
	for i := range d.Findings {
		if f := &d.Findings[i]; f.Class == class && f.Permitted == permitted {
			return i + 1, f
		}
	}
	return 0, nil
}

// ordered returns the classes of anomalies as people want to read them.
func ordered(all []judge.AnomalySummary) []judge.AnomalySummary {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, judge.CompareAnomalies)
	return sorted
}

// headline is the verdict in one sentence.
func headline(s *judge.Summary) string {
	switch s.Verdict {
	case "valid":
		return "no anomaly in " + count(s.Ops.OK, "acknowledged operation") + faultClause(s)
	case "permitted":
		return classList(s, true) + "; this configuration never promised to prevent that"
	case "invalid":
		return classList(s, false) + "; the contract of this configuration excludes that"
	case "unknown":
		if s.Interrupted {
			return "the run was interrupted, so nothing can be concluded"
		}
		if len(s.Unknown) == 0 {
			return "nothing can be concluded from this run"
		}
		return "nothing can be concluded: " + s.Unknown[0]
	}
	if len(s.Unknown) > 0 {
		return "the harness failed: " + s.Unknown[0]
	}
	return "the harness failed; nothing is said about the system"
}

// faultClause says how many faults struck, and how many of them were felt.
func faultClause(s *judge.Summary) string {
	if len(s.Faults) == 0 {
		return ""
	}
	felt := 0
	for i := range s.Faults {
		if s.Faults[i].Effect != "" {
			felt++
		}
	}
	clause := " under " + count(int64(len(s.Faults)), "fault")
	if felt < len(s.Faults) {
		clause += ", " + group(int64(felt)) + " of them with an effect"
	}
	return clause
}

// classList lists the classes with their counts: those that decide the verdict.
func classList(s *judge.Summary, permitted bool) string {
	var text string
	for _, a := range ordered(s.Anomalies) {
		if a.Permitted == permitted {
			if text != "" {
				text += ", "
			}
			text += group(a.Count) + " " + string(a.Class)
		}
	}
	if text == "" {
		return "anomalies"
	}
	return text
}
