// Package register is a workload of somebody else: a few registers are read, written, and changed
// by compare-and-swap. register.go is what is done, checker.go judges it.
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

// Functions of the workload, by which a client of a target knows what to do. Op.Part is the
// register, and histories.Unset the value of one that was never written.
const (
	Read      = "read"       // the answer is Op.Value
	Write     = "write"      // Op.Value
	CAS       = "cas"        // to Op.Value, if it is Op.From; else it is not applied
	FinalRead = "final-read" // Read, after the recovery
)

const (
	name    = "register"
	option  = "registers"
	allowed = "1 to 100"
	// stream separates the random numbers of the generator from others of the same seed.
	stream = 0x726567
)

// Workload returns the workload for a catalog.
func Workload() experiment.Workload {
	return experiment.Workload{
		Name: name,
		Doc:  "registers are read, written, and changed by compare-and-swap",
		Options: []harness.Option{
			{Name: option, Default: "3", Allowed: allowed, Doc: "how many registers there are"},
		},
		New: func(c experiment.WorkloadConfig) (harness.Workload, error) {
			n, err := strconv.Atoi(c.Options[option])
			if err != nil || n < 1 || n > 100 {
				return nil, fmt.Errorf("option %s=%q: allowed are %s", option, c.Options[option], allowed)
			}
			return workload{registers: int32(n)}, nil
		},
		Judging: func(t contract.Terms) judge.Rules {
			return judge.Rules{
				Checkers: []checker.Checker{Checker{ReadsUnderLoad: t.LinearReads}},
				Evidence: judge.Evidence{Load: []string{Read, Write, CAS}, Acknowledged: []string{Write, Read}},
			}
		},
	}
}

type workload struct{ registers int32 }

var _ harness.Workload = workload{}

// Name implements harness.Workload.
func (workload) Name() string { return name }

// Functions implements harness.Workload.
func (workload) Functions() []harness.Function {
	return []harness.Function{
		{Name: Write}, {Name: CAS},
		{Name: Read, ReadOnly: true, Answer: harness.FieldValue},
		{Name: FinalRead, ReadOnly: true, Answer: harness.FieldValue},
	}
}

// Setup implements harness.Workload: registers need not be made.
func (workload) Setup(context.Context, harness.Cluster) error { return nil }

// Finals implements harness.Workload.
func (w workload) Finals(harness.Cluster) [][]harness.FinalRead {
	var all []harness.FinalRead
	for r := range w.registers {
		op := histories.New(histories.Invoke, 0, FinalRead)
		op.Part = r
		all = append(all, harness.FinalRead{Op: op})
	}
	return [][]harness.FinalRead{all}
}

// Generator implements harness.Workload.
func (w workload) Generator(seed uint64) harness.Generator {
	g := &generator{rng: rand.New(rand.NewPCG(seed, stream)), seen: make([]int64, w.registers)}
	for i := range g.seen {
		g.seen[i] = histories.Unset
	}
	return g
}

// generator makes half reads, and as many writes as swaps.
type generator struct {
	rng  *rand.Rand
	next int64   // value; none comes twice
	seen []int64 // by register: the value that was seen last
}

// Next implements harness.Generator.
func (g *generator) Next(harness.Context) (histories.Op, harness.Status) {
	op := histories.New(histories.Invoke, 0, Read)
	op.Part = g.rng.Int32N(int32(len(g.seen)))
	switch g.rng.IntN(4) {
	case 0:
		op.F = Write
	case 1:
		op.F, op.From = CAS, g.seen[op.Part]
	default:
		return op, harness.Ready
	}
	g.next++
	op.Value = g.next
	return op, harness.Ready
}

// Observe implements harness.Generator.
func (g *generator) Observe(_ harness.Context, op histories.Op) {
	if op.Type == histories.OK {
		g.seen[op.Part] = op.Value
	}
}
