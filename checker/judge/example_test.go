package judge_test

import (
	"context"
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

// Judge says what a history is worth: what the checkers found, whether the promise permits it, and
// whether the run proves anything.
func ExampleJudge() {
	h := histtest.New()
	h.Send(1, 0, 100).OK(0)
	h.Send(1, 0, 101).OK(1)
	h.Whole(0, 100)

	rules := func(contract.Terms) judge.Rules {
		return judge.Rules{
			Checkers: []checker.Checker{delivery.New()},
			Evidence: judge.Evidence{Acknowledged: []string{histories.Send}},
		}
	}
	for _, promise := range []contract.Promise{
		{}, // excludes everything
		{Permits: func(contract.Facts) []contract.Permission {
			return []contract.Permission{{Span: contract.Always()[0], Class: checker.LostWrite, Rows: "README", Reason: "nothing is promised"}}
		}},
	} {
		j := judge.Judge(context.Background(), judge.Input{History: h.History(), Rules: rules, Promise: promise})
		fmt.Println(j.Exit, j.Verdict(), j.Anomalies[0].Class, j.Anomalies[0].Count)
	}

	h = histtest.New() // nobody did anything
	j := judge.Judge(context.Background(), judge.Input{History: h.History(), Rules: rules})
	fmt.Println(j.Exit, j.Verdict(), j.Unknown)
	// Output:
	// 3 invalid lost-write 1
	// 4 permitted lost-write 1
	// 2 unknown [delivery: no message was acknowledged idle: no operation was invoked]
}
