package experiment_test

import (
	"context"
	"fmt"

	"github.com/assay-project/assay/experiment"
)

// A spec is all that `assay run` takes. What does not fit is refused before anything starts.
func ExampleCatalog_Validate() {
	spec := experiment.Default()
	spec.Options = map[string]string{"replication": "sync", "copies": "2"}
	spec.Nemesis = []string{"kill:leader", "partition"}
	fmt.Println(experiment.Standard().Validate(spec))

	spec.Env = "moon"
	fmt.Println(experiment.Standard().Validate(spec))
	// Output:
	// <nil>
	// unknown environment "moon" (want sim or docker or local)
}

// A recorded history is judged again, as `assay check` does. A bare file has no promise, so any
// anomaly counts.
func ExampleCatalog_Judge() {
	res, err := experiment.Standard().Judge(context.Background(), "../histories/corpus/bad/unseen.jsonl", experiment.JudgeOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Summary.Exit, res.Summary.Verdict)
	for _, a := range res.Summary.Anomalies {
		fmt.Println(a.Count, a.Class)
	}
	// Output:
	// 3 invalid
	// 1 unseen
	// 1 nonlinearizable
}

// A catalog is a value: parts of one's own are appended to its lists. docs/new-target.md,
// new-workload.md and new-fault.md have whole ones.
func ExampleCatalog() {
	catalog := experiment.Standard()
	catalog.Workloads = append(catalog.Workloads, experiment.Workload{Name: "register", Doc: "my own"})
	all := catalog.WorkloadEntries()
	fmt.Println(all[0].Name, all[len(all)-1].Name)
	// Output:
	// log register
}

// Run runs an experiment, and judges it. A simulation runs in a child process of the program, so
// its main function begins with sim.ChildMain(catalog.SimHandlers()); cli.Main does that.
func ExampleCatalog_Run() {
	spec := experiment.Default()
	spec.Seed, spec.Nemesis = 7, []string{"kill"}
	res, err := experiment.Standard().Run(context.Background(), spec, experiment.Hooks{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Summary.Verdict, res.Why())
}
