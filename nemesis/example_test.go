package nemesis_test

import (
	"fmt"
	"time"

	"github.com/assay-project/assay/nemesis"
)

// A set is the faults that can be chosen; a plan is drawn from a seed, and says when each strikes.
func Example() {
	set, err := nemesis.NewSet(nemesis.Stock()...) // and kinds of one's own: docs/new-fault.md
	if err != nil {
		fmt.Println(err)
		return
	}
	faults, err := set.ParseList("kill:leader, partition/alone")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := set.MakePlan(nemesis.PlanConfig{Seed: 7, Faults: faults, Time: 20 * time.Second, Interval: 10 * time.Second})
	fmt.Println(len(plan.Strikes), err)
	fmt.Println(nemesis.FaultsOf(plan))

	_, err = set.ParseList("kill:king")
	fmt.Println(err)
	// Output:
	// 4 <nil>
	// [partition/alone kill:leader]
	// fault "kill:king": no role "king": kill has one, leader, follower, minority, majority, all
}
