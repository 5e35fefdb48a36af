package checker

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/assay-project/assay/histories"
)

// Named is the result of one Checker, with its name and what it took.
type Named struct {
	Name   string        `json:"name"`
	Took   time.Duration `json:"took_ns"`
	Result Result        `json:"result"`
}

// Report is what several checkers found.
type Report struct {
	// Verdict is the worst of all. No checker at all is Unknown: nothing was judged.
	Verdict Verdict `json:"verdict"`
	Results []Named `json:"results"`
}

// Run judges h by each checker in turn, and combines their verdicts by Worse. A checker that panics is Unknown with the
// panic as its reason. When ctx ends, the checkers that are left are Unknown and not called.
func Run(ctx context.Context, h histories.Reader, checkers ...Checker) Report {
	var rep Report
	for i, c := range checkers {
		start := time.Now()
		res := guarded(ctx, h, c)
		rep.Results = append(rep.Results, Named{Name: c.Name(), Took: time.Since(start), Result: res})
		if i == 0 {
			rep.Verdict = res.Verdict
		}
		rep.Verdict = Worse(rep.Verdict, res.Verdict)
	}
	return rep
}

// guarded calls one checker and makes its result consistent: an anomaly is Invalid, and Unknown has a reason.
func guarded(ctx context.Context, h histories.Reader, c Checker) (res Result) {
	defer func() {
		if p := recover(); p != nil {
			res = Result{Reason: fmt.Sprintf("checker crashed: %v\n%s", p, debug.Stack())}
		}
	}()
	if ctx.Err() != nil {
		return Result{Reason: "out of time before it started"}
	}
	res = c.Check(ctx, h)
	if len(res.Anomalies) > 0 {
		res.Verdict = Invalid
	}
	if res.Verdict == Unknown && res.Reason == "" {
		res.Reason = "not decided"
	}
	return res
}

// Anomalies returns all anomalies, in the order of the checkers.
func (r *Report) Anomalies() []Anomaly {
	var all []Anomaly
	for i := range r.Results {
		all = append(all, r.Results[i].Result.Anomalies...)
	}
	return all
}

// Reasons returns why checkers are undecided, each as "name: reason". It is empty unless a checker is Unknown.
func (r *Report) Reasons() []string {
	var all []string
	for i := range r.Results {
		if n := &r.Results[i]; n.Result.Verdict == Unknown {
			all = append(all, n.Name+": "+n.Result.Reason)
		}
	}
	return all
}

// Count returns how many anomalies of a class there are. Checkers list a bounded number of one class in a partition, and give the
// true number as the figure of the class's name; the greater of the two counts.
func (r *Report) Count(c Class) int {
	total := 0
	for i := range r.Results {
		res, n := &r.Results[i].Result, 0
		for j := range res.Anomalies {
			if res.Anomalies[j].Class == c {
				n++
			}
		}
		total += max(n, int(res.Figures[string(c)]))
	}
	return total
}
