package report

import (
	"fmt"
	"io"

	"github.com/assay-project/assay/checker/judge"
)

// maxSeedLines bounds how many seeds that are not valid are listed.
const maxSeedLines = 40

// SeedsText writes the summary of several seeds, for a terminal. Seeds that are valid are only
// counted. Its last line is the command that runs them again.
func SeedsText(w io.Writer, s *judge.Summary, term Terminal) error {
	p := newPrinter(term)
	byVerdict := map[string]int64{}
	for i := range s.Seeds {
		byVerdict[s.Seeds[i].Verdict]++
	}
	p.verdict(s)
	tally := ""
	for _, v := range []string{"valid", "permitted", "unknown", "invalid", "error"} {
		if n := byVerdict[v]; n > 0 {
			if tally != "" {
				tally += ", "
			}
			tally += group(n) + " " + v
		}
	}
	p.line("%s: %s", count(int64(len(s.Seeds)), "seed"), tally)
	p.unknown(s)
	p.anomalies(&Document{Summary: *s, Removed: true})
	p.line("")
	p.line("%s ok, %s weak, %s info, %s fail", group(s.Ops.OK), group(s.Ops.Weak), group(s.Ops.Info), group(s.Ops.Fail))
	p.notValid(s)
	p.times(s)
	p.line("")
	p.line("%s", p.style.dim("run it again:"))
	p.line("%s", s.Reproduce)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// notValid lists the seeds that a person may want to look at.
func (p *printer) notValid(s *judge.Summary) {
	rows, more := [][]string{{"Seed", "verdict", "anomalies", "run"}}, 0
	for i := range s.Seeds {
		seed := &s.Seeds[i]
		if seed.Verdict == "valid" {
			continue
		}
		if len(rows) > maxSeedLines {
			more++
			continue
		}
		names := "-"
		for j, c := range seed.Anomalies {
			if j == 0 {
				names = string(c)
				continue
			}
			names += "," + string(c)
		}
		rows = append(rows, []string{fmt.Sprintf("  %d", seed.Seed), seed.Verdict, names, seed.Run})
	}
	if len(rows) == 1 {
		return
	}
	p.line("")
	p.table(rows, len(rows[0]))
	if more > 0 {
		p.line("  and %d more", more)
	}
}
