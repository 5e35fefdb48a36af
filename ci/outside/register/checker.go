package register

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sort"

	"github.com/anishathalye/porcupine"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

// NotARegister is the class of an answer that no order of the operations on its register explains.
const NotARegister checker.Class = "not-a-register"

// Checker judges by Porcupine whether each register is linearizable.
type Checker struct {
	// ReadsUnderLoad: the reads of the load have to be linearizable too, not only the final ones.
	ReadsUnderLoad bool
}

var (
	_ checker.Checker = Checker{}
	_ checker.Drawer  = Checker{}
)

// Name implements checker.Checker.
func (Checker) Name() string { return name }

// Check implements checker.Checker. Of each register it reports the first answer that no order of
// the operations before it explains.
func (c Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	res := checker.Result{Verdict: checker.Valid}
	registers := c.collect(h)
	if len(registers) == 0 {
		return checker.Result{Reason: "no register was used"}
	}
	judged := 0
	for _, id := range slices.Sorted(maps.Keys(registers)) {
		r := registers[id]
		judged += len(r.ops)
		switch {
		case !r.final:
			res.Verdict, res.Reason = checker.Unknown, fmt.Sprintf("no final read of register %d", id)
		case r.legal(ctx, math.MaxInt64):
		case ctx.Err() != nil:
			res.Verdict, res.Reason = checker.Unknown, "out of time"
		default:
			res.Anomalies = append(res.Anomalies, r.anomaly(ctx, id))
		}
	}
	res.Figures = map[string]float64{"register_ops": float64(judged)}
	return res
}

// Visualize implements checker.Drawer.
func (c Checker) Visualize(ctx context.Context, h histories.Reader, part int32, w io.Writer) error {
	r, ok := c.collect(h)[part]
	if !ok {
		return fmt.Errorf("register %d was not used", part)
	}
	ops := r.until(r.violation(ctx))
	m := model(ctx)
	_, info := porcupine.CheckOperationsVerbose(m, ops, 0)
	return porcupine.Visualize(m, info, w)
}

// operation is an op of a register. Time is the index in the history, which orders what the clock
// cannot.
type operation struct {
	f           string
	value, from int64
	call, done  int64 // math.MaxInt64: it may happen at any time after the call, or never
}

// register is one register.
type register struct {
	ops   []operation
	final bool // it was read in the end
}

// collect sorts a history by registers. What certainly did not happen is left out, and so are reads
// without an answer. What may have happened, or was stored on too few nodes, stays open.
func (c Checker) collect(h histories.Reader) map[int32]*register {
	all := make(map[int32]*register)
	for inv, done := range histories.Pairs(h) {
		op := operation{f: inv.F, value: inv.Value, from: inv.From, call: inv.Index, done: math.MaxInt64}
		acked := done != nil && done.Type == histories.OK
		if acked {
			op.value, op.done = done.Value, done.Index
		}
		switch inv.F {
		case Read, FinalRead:
			if !acked || inv.F == Read && !c.ReadsUnderLoad {
				continue
			}
		case Write, CAS:
			if done != nil && done.Type == histories.Fail {
				continue
			}
		default:
			continue
		}
		r := all[inv.Part]
		if r == nil {
			r = &register{}
			all[inv.Part] = r
		}
		r.ops = append(r.ops, op)
		r.final = r.final || inv.F == FinalRead
	}
	return all
}

// model is a register for Porcupine. A swap without an answer changes the register if its time
// comes while the value fits, and nothing otherwise. So the state is always one value.
func model(ctx context.Context) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(histories.Unset) },
		Step: func(state, input, _ any) (bool, any) {
			now, op := state.(int64), input.(operation)
			switch {
			case ctx.Err() != nil:
				return false, now // refuse everything, so that the search ends
			case op.f == Write:
				return true, op.value
			case op.f != CAS:
				return op.value == now, now
			case op.from == now:
				return true, op.value
			}
			return op.done == math.MaxInt64, now
		},
		Hash:              func(state any) uint64 { return uint64(state.(int64)) * 0x9e3779b97f4a7c15 },
		DescribeOperation: func(input, _ any) string { return input.(operation).String() },
		DescribeState:     func(state any) string { return fmt.Sprint(state) },
	}
}

// String is what an operation did, in few words.
func (op operation) String() string {
	switch op.f {
	case Write:
		return fmt.Sprintf("write %d", op.value)
	case CAS:
		return fmt.Sprintf("cas %d to %d", op.from, op.value)
	}
	return fmt.Sprintf("%s: %d", op.f, op.value)
}

// until returns the operations that were called up to an index of the history; those that were not
// answered by then are open, and open reads say nothing.
func (r *register) until(index int64) []porcupine.Operation {
	var all []porcupine.Operation
	for i, op := range r.ops {
		if op.call > index || op.done > index && op.f != Write && op.f != CAS {
			continue
		}
		if op.done > index {
			op.done = math.MaxInt64
		}
		all = append(all, porcupine.Operation{ClientId: i, Input: op, Call: op.call, Return: op.done})
	}
	return all
}

// legal reports whether some order explains all answers up to an index. It is false when ctx ends.
func (r *register) legal(ctx context.Context, index int64) bool {
	return porcupine.CheckOperations(model(ctx), r.until(index)) && ctx.Err() == nil
}

// violation returns the index of the first answer up to which nothing explains the history.
func (r *register) violation(ctx context.Context) int64 {
	ends := make([]int64, 0, len(r.ops))
	for _, op := range r.ops {
		if op.done != math.MaxInt64 {
			ends = append(ends, op.done)
		}
	}
	slices.Sort(ends)
	at := sort.Search(len(ends), func(i int) bool { return !r.legal(ctx, ends[i]) })
	return ends[min(at, len(ends)-1)]
}

// anomaly tells of the first violation. Its witnesses are the answer, and the operations with the
// same value.
func (r *register) anomaly(ctx context.Context, id int32) checker.Anomaly {
	at := r.violation(ctx)
	bad := r.ops[slices.IndexFunc(r.ops, func(op operation) bool { return op.done == at })]
	a := checker.Anomaly{
		Class: NotARegister, Part: id, Values: []int64{bad.value},
		Explanation: fmt.Sprintf(
			"no order of the operations before it explains op %d on register %d (%s)", at, id, bad,
		),
	}
	for _, op := range r.ops {
		if op.call > at || op.value != bad.value {
			continue
		}
		a.Witnesses = append(a.Witnesses, op.call)
		if op.done <= at {
			a.Witnesses = append(a.Witnesses, op.done)
		}
	}
	slices.Sort(a.Witnesses)
	return a
}
