package register

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

// NotARegister is the anomaly of a register whose history no order of its ops explains.
const NotARegister checker.Class = "not-a-register"

// Linearizable judges each register by a Porcupine model.
type Linearizable struct{}

var (
	_ checker.Checker = Linearizable{}
	_ checker.Drawer  = Linearizable{}
)

// step is one op as the model sees it.
type step struct {
	f        string
	from, to int64
	known    bool // its result is known
}

// model is one register, which holds 0 at first.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(0) },
		Step: func(state, input, output any) (bool, any) {
			in, got, now := input.(step), output.(step), state.(int64)
			switch {
			case in.f == Read:
				return got.to == now, now
			case in.f == CAS && in.from != now:
				return !got.known, now // one of unknown fate may have been refused
			}
			return true, in.to
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%s %d %d: %d", input.(step).f, input.(step).from, input.(step).to, output.(step).to)
		},
	}
}

// Name implements checker.Checker.
func (Linearizable) Name() string { return "register" }

// Check implements checker.Checker. It is Unknown when Porcupine runs out of time.
func (Linearizable) Check(ctx context.Context, h histories.Reader) checker.Result {
	res := checker.Result{Verdict: checker.Valid}
	all := registers(h)
	for _, part := range slices.Sorted(maps.Keys(all)) {
		ops := all[part]
		switch porcupine.CheckOperationsTimeout(model(), ops.steps, left(ctx)) {
		case porcupine.Illegal:
			res.Anomalies = append(res.Anomalies, checker.Anomaly{
				Class: NotARegister, Part: part, Witnesses: []int64{ops.first, ops.last},
				Explanation: fmt.Sprintf("no order of the %d ops on register %d explains what was read from it", len(ops.steps), part),
			})
		case porcupine.Unknown:
			res.Verdict, res.Reason = checker.Unknown, fmt.Sprintf("register %d: Porcupine ran out of time", part)
		}
	}
	return res
}

// Visualize implements checker.Drawer.
func (Linearizable) Visualize(ctx context.Context, h histories.Reader, part int32, w io.Writer) error {
	ops, ok := registers(h)[part]
	if !ok {
		return fmt.Errorf("no op on register %d", part)
	}
	_, info := porcupine.CheckOperationsVerbose(model(), ops.steps, left(ctx))
	return porcupine.Visualize(model(), info, w)
}

// left is how much time a context leaves.
func left(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline)/2, time.Nanosecond)
	}
	return time.Minute
}

// opsOf are the ops on one register.
type opsOf struct {
	steps       []porcupine.Operation
	first, last int64 // indexes of ops
}

// registers sorts the ops by register. What certainly did nothing, and reads without an answer, are
// left out; a write of unknown fate may happen at any time after its invocation.
func registers(h histories.Reader) map[int32]*opsOf {
	all := make(map[int32]*opsOf)
	for inv, done := range histories.Pairs(h) {
		known := done != nil && done.Type == histories.OK
		if !known && (inv.F == Read || done != nil && done.Type == histories.Fail) {
			continue
		}
		o := all[inv.Part]
		if o == nil {
			o = &opsOf{first: inv.Index}
			all[inv.Part] = o
		}
		op := porcupine.Operation{
			ClientId: inv.Process, Call: inv.Time, Return: math.MaxInt64,
			Input: step{inv.F, inv.From, inv.Value, true}, Output: step{known: known},
		}
		if known {
			op.Return, op.Output = done.Time, step{inv.F, inv.From, done.Value, true}
			o.last = done.Index
		}
		o.steps = append(o.steps, op)
	}
	return all
}
