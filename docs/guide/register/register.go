// Package register is the example of docs/new-workload.md: a workload that writes and reads
// registers, and its own checker.
package register

import (
	"context"
	"math/rand/v2"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// The functions of the workload. A target can be used if its client knows them.
const (
	write = "write" // Op.Value to register Op.Part
	read  = "read"  // register Op.Part; the answer is Op.Value, or histories.Unset where nothing was written
)

const registers = 3

// Workload returns the workload for a catalog.
func Workload() experiment.Workload {
	return experiment.Workload{
		Name: "register",
		Doc:  "unique values are written to registers, and read back",
		New:  func(experiment.WorkloadConfig) (harness.Workload, error) { return workload{}, nil },
		Judging: func(contract.Terms) judge.Rules {
			return judge.Rules{
				Checkers: []checker.Checker{linearizable{}},
				Evidence: judge.Evidence{Load: []string{write, read}, Acknowledged: []string{write, read}},
			}
		},
	}
}

type workload struct{}

func (workload) Name() string { return "register" }

func (workload) Functions() []harness.Function {
	return []harness.Function{
		{Name: write},
		{Name: read, ReadOnly: true, Answer: harness.FieldValue},
	}
}

// Setup has nothing to make: registers are there.
func (workload) Setup(context.Context, harness.Cluster) error { return nil }

func (workload) Generator(seed uint64) harness.Generator {
	return &generator{rng: rand.New(rand.NewPCG(seed, 0)), next: 1}
}

// Finals reads every register once, after everything was healed.
func (workload) Finals(harness.Cluster) [][]harness.FinalRead {
	var all []harness.FinalRead
	for part := range int32(registers) {
		op := histories.New(histories.Invoke, 0, read)
		op.Part = part
		all = append(all, harness.FinalRead{Op: op})
	}
	return [][]harness.FinalRead{all}
}

// generator writes and reads in equal numbers.
type generator struct {
	rng  *rand.Rand
	next int64 // value: unique within the run
}

func (g *generator) Next(harness.Context) (histories.Op, harness.Status) {
	op := histories.New(histories.Invoke, 0, read)
	op.Part = g.rng.Int32N(registers)
	if g.rng.IntN(2) == 0 {
		op.F, op.Value = write, g.next
		g.next++
	}
	return op, harness.Ready
}

func (g *generator) Observe(harness.Context, histories.Op) {}
