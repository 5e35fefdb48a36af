// Package gaps is the example of docs/new-checker.md: a checker for a system whose offsets count 0,
// 1, 2, ... without a gap.
package gaps

import (
	"context"
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/histories"
)

// OffsetGap is the class of its anomalies: a final read returned two neighbours whose offsets do
// not follow one another.
const OffsetGap checker.Class = "offset-gap"

// Checker looks for gaps.
type Checker struct{}

// Name implements checker.Checker.
func (Checker) Name() string { return "gaps" }

// Check implements checker.Checker.
func (Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	var res checker.Result // the zero Verdict is Unknown
	pairs := 0
	for op := range h.Ops() {
		if ctx.Err() != nil {
			res.Reason = "out of time"
			return res
		}
		if op.F != histories.Final || op.Type != histories.OK {
			continue
		}
		for i := 1; i < len(op.Msgs); i++ {
			pairs++
			if a, b := op.Msgs[i-1], op.Msgs[i]; b.Offset != a.Offset+1 {
				res.Anomalies = append(res.Anomalies, checker.Anomaly{
					Class: OffsetGap, Part: op.Part, Values: []int64{a.Value, b.Value}, Offsets: []int64{a.Offset, b.Offset}, Witnesses: []int64{op.Index},
					Explanation: fmt.Sprintf("partition %d has nothing between offset %d and offset %d", op.Part, a.Offset, b.Offset),
				})
			}
		}
	}
	switch {
	case len(res.Anomalies) > 0:
		res.Verdict = checker.Invalid
	case pairs > 0:
		res.Verdict = checker.Valid
	default:
		res.Reason = "no final read returned two messages"
	}
	return res
}

// Catalog returns the standard parts, with the checker among those of the workload log.
func Catalog() experiment.Catalog {
	c := experiment.Standard()
	for i := range c.Workloads {
		if w := &c.Workloads[i]; w.Name == "log" {
			stock := w.Judging
			w.Judging = func(t contract.Terms) judge.Rules {
				rules := stock(t)
				rules.Checkers = append(rules.Checkers, Checker{})
				return rules
			}
		}
	}
	return c
}
