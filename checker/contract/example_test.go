package contract_test

import (
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/histories"
)

// A promise permits the loss of what a wiped disk held, and nothing else. What it comes down to
// depends on what happened.
func ExamplePromise() {
	promise := contract.Promise{
		Permits: func(f contract.Facts) []contract.Permission {
			var all []contract.Permission
			for _, span := range f.DamageSpans(func(d *contract.Damage) bool { return d.Harm == histories.HarmDisk }) {
				all = append(all, contract.Permission{Span: span, Class: checker.LostWrite, Rows: "README", Reason: "there is one copy"})
			}
			return all
		},
	}
	for _, harm := range []histories.Harm{histories.HarmNone, histories.HarmDisk} {
		events := histories.EventsOf(histories.History{histories.NewInject("strike", histories.Event{Strike: 1, Harm: harm}, "n1")})
		k, _ := promise.After(contract.FactsOf(events))
		if ok, why := k.Permits(checker.LostWrite); ok {
			fmt.Printf("harm %s: permitted, %s\n", harm, why)
		} else {
			fmt.Printf("harm %s: excluded\n", harm)
		}
	}
	// Output:
	// harm none: excluded
	// harm disk: permitted, there is one copy (README)
}
