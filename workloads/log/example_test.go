package log_test

import (
	"fmt"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/workloads/log"
)

// The workload draws sends and polls from its seed, in equal numbers.
func Example() {
	w, err := log.New(log.Config{Partitions: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	g := w.Generator(1)
	count := make(map[string]int)
	for range 100 {
		op, _ := g.Next(harness.Context{Process: 1})
		count[op.F]++
	}
	fmt.Println(count)
	for _, f := range w.Functions() {
		fmt.Println(f.Name, f.ReadOnly)
	}
	// Output:
	// map[poll:50 send:50]
	// send false
	// poll true
	// final true
	// scan true
}
