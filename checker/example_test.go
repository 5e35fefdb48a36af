package checker_test

import (
	"context"
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

// Run lets checkers judge a history. The worst verdict counts.
func ExampleRun() {
	h := histtest.New()
	h.Send(1, 0, 100).OK(0)
	h.Send(1, 0, 101).OK(1)
	h.Whole(0, 100) // the final read of partition 0 returns message 100 and not 101

	rep := checker.Run(context.Background(), h.History(), delivery.New())
	fmt.Println(rep.Verdict)
	for _, a := range rep.Anomalies() {
		fmt.Println(a.Class, a.Values, a.Witnesses)
	}
	// Output:
	// invalid
	// lost-write [101] [2 3 5]
}

// onlyReads judges a history that has no reads.
type onlyReads struct{}

func (onlyReads) Name() string { return "only-reads" }

func (onlyReads) Check(context.Context, histories.Reader) checker.Result {
	return checker.Result{Reason: "no read was answered"} // the zero Verdict is Unknown
}

// A checker that has nothing to judge says Unknown, and why. It never says Valid.
func ExampleChecker() {
	rep := checker.Run(context.Background(), histories.History{}, onlyReads{})
	fmt.Println(rep.Verdict, rep.Reasons())
	// Output:
	// unknown [only-reads: no read was answered]
}
