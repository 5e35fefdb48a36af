package log

import (
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/availability"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/checker/linear"
	"github.com/assay-project/assay/checker/order"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/histories"
)

// StallBudget is how long after a heal a partition may be without an acknowledgement, when no fault
// is on.
const StallBudget = 10 * time.Second

// noStall is a budget that no run exceeds.
const noStall = 48 * time.Hour

// Judging says how a history of the workload is judged under what a configuration promises.
func Judging(t contract.Terms) judge.Rules {
	budget := StallBudget
	if t.NoAcks {
		budget = noStall // no send is ever acknowledged, so that none is acknowledged is no stall
	}
	return judge.Rules{
		Checkers: []checker.Checker{
			delivery.New(),
			order.New(),
			replicas.New(replicas.Config{Copies: t.Copies}),
			linear.New(linear.Config{ReadsUnderLoad: t.LinearReads}),
			availability.New(availability.Config{Budget: budget}),
		},
		Evidence: judge.Evidence{Load: []string{histories.Send, histories.Poll}, Acknowledged: []string{histories.Send}},
	}
}
