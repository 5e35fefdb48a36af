package harness_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/workloads/log"
)

// Run drives a cluster, and records what happens. Package experiment puts its parts together by
// name; this is what it does with them.
func ExampleRun() {
	workload, err := log.New(log.Config{Partitions: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	start := time.Now()
	ex, err := harness.Run(context.Background(), harness.Test{
		Cluster:  fakecluster.New(fakecluster.Options{}, 3), // one group of three nodes
		Workload: workload,
		Time:     50 * time.Millisecond, Rate: 1000, Clients: 3,
		Recorder: histories.NewRecorder(&file, func() time.Duration { return time.Since(start) }),
	})
	fmt.Println(err, ex.Recovered, ex.Ops.OK > 0)

	h, _, err := histories.Read(&file)
	fmt.Println(err, histories.EventsOf(h).Leader(0), "leads partition 0")
	// Output:
	// <nil> true true
	// <nil> n1 leads partition 0
}

// Can asks a cluster for an ability. A type assertion would not find what the target of a cluster
// can do.
func ExampleCan() {
	var c harness.Cluster = fakecluster.New(fakecluster.Options{}, 3)
	if k, ok := harness.Can[harness.Killer](c); ok {
		effect, err := k.Kill(context.Background(), "n1")
		fmt.Println(effect.Count, err) // nothing was started, so nothing was killed
	}
	// Output:
	// 0 <nil>
}
