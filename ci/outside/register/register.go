// Package register is a workload of somebody else: a few registers that are read, written, and
// compared and set. A register is a partition's number.
package register

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Functions of the workload.
const (
	Read  = "read"  // the completion's Value is what the register holds
	Write = "write" // Value
	CAS   = "cas"   // Value, if the register holds From
)

// Entry is the workload for a catalog.
func Entry() experiment.Workload {
	return experiment.Workload{
		Name: "register", Doc: "registers that are read, written, and compared and set",
		Options: []harness.Option{{Name: "registers", Default: "3", Allowed: "1 to 99", Doc: "how many registers there are"}},
		New: func(c experiment.WorkloadConfig) (harness.Workload, error) {
			n, err := strconv.Atoi(c.Options["registers"])
			if err != nil || n < 1 || n > 99 {
				return nil, fmt.Errorf("option registers=%q: allowed are 1 to 99", c.Options["registers"])
			}
			return workload{n}, nil
		},
		Judging: func(contract.Terms) judge.Rules {
			return judge.Rules{
				Checkers: []checker.Checker{Linearizable{}},
				Evidence: judge.Evidence{Load: []string{Read, Write, CAS}, Acknowledged: []string{Read, Write}},
			}
		},
	}
}

// workload is a number of registers.
type workload struct{ registers int }

// Name implements harness.Workload.
func (workload) Name() string { return "register" }

// Functions implements harness.Workload.
func (workload) Functions() []harness.Function {
	return []harness.Function{{Name: Read, ReadOnly: true, Answer: harness.FieldValue}, {Name: Write}, {Name: CAS}}
}

// Setup implements harness.Workload.
func (workload) Setup(context.Context, harness.Cluster) error { return nil }

// Generator implements harness.Workload.
func (w workload) Generator(seed uint64) harness.Generator {
	return &generator{w: w, rng: rand.New(rand.NewPCG(seed, 1)), seen: make([]int64, w.registers)}
}

// Finals implements harness.Workload: one more read of each register.
func (w workload) Finals(harness.Cluster) [][]harness.FinalRead {
	var reads []harness.FinalRead
	for r := range w.registers {
		reads = append(reads, harness.FinalRead{Op: on(Read, r)})
	}
	return [][]harness.FinalRead{reads}
}

// on is an op on a register.
func on(f string, register int) histories.Op {
	op := histories.New(histories.Invoke, 0, f)
	op.Part = int32(register)
	return op
}

// generator makes ops; every value is written once.
type generator struct {
	w    workload
	rng  *rand.Rand
	last int64
	seen []int64 // by register: a value that it held lately
}

// Next implements harness.Generator.
func (g *generator) Next(harness.Context) (histories.Op, harness.Status) {
	op := on([]string{Read, Read, Write, CAS}[g.rng.IntN(4)], g.rng.IntN(g.w.registers))
	if op.F != Read {
		g.last++
		op.Value = g.last
	}
	if op.F == CAS {
		op.From = g.seen[op.Part]
	}
	return op, harness.Ready
}

// Observe implements harness.Generator.
func (g *generator) Observe(_ harness.Context, op histories.Op) {
	if op.Type == histories.OK {
		g.seen[op.Part] = op.Value
	}
}
