package register

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

// linearizable judges every register by Porcupine.
type linearizable struct{}

func (linearizable) Name() string { return "linearizable" }

func (linearizable) Check(ctx context.Context, h histories.Reader) checker.Result {
	ops, witnesses := operations(h)
	if len(ops) == 0 {
		return checker.Result{Reason: "no read was answered"} // the zero Verdict is Unknown
	}
	res := checker.Result{Verdict: checker.Valid}
	for part, of := range ops {
		switch porcupine.CheckOperationsTimeout(model(), of, left(ctx)) {
		case porcupine.Unknown:
			res.Verdict, res.Reason = checker.Unknown, fmt.Sprintf("out of time at register %d", part)
		case porcupine.Illegal:
			res.Anomalies = append(res.Anomalies, checker.Anomaly{
				Class: checker.Nonlinearizable, Part: part, Witnesses: witnesses[part],
				Explanation: fmt.Sprintf("no order of its %d operations explains what was read from register %d", len(of), part),
			})
		}
	}
	return res
}

// left is how much time is left; 0 is for ever, to Porcupine.
func left(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(end), time.Nanosecond)
}

// operations are the reads that were answered, and all writes that may have happened, by register;
// the indexes of the reads are the witnesses.
func operations(h histories.Reader) (ops map[int32][]porcupine.Operation, witnesses map[int32][]int64) {
	ops, witnesses = make(map[int32][]porcupine.Operation), make(map[int32][]int64)
	written := make(map[int32][]porcupine.Operation)
	for inv, done := range histories.Pairs(h) {
		op := porcupine.Operation{ClientId: inv.Process, Input: *inv, Call: inv.Time, Return: math.MaxInt64}
		known := done != nil && done.Type != histories.Info
		switch {
		case known && done.Type == histories.Fail: // changed nothing
		case inv.F == write:
			if known {
				op.Return = done.Time
			}
			written[inv.Part] = append(written[inv.Part], op)
		case inv.F == read && known:
			op.Output, op.Return = done.Value, done.Time
			ops[inv.Part] = append(ops[inv.Part], op)
			witnesses[inv.Part] = append(witnesses[inv.Part], done.Index)
		}
	}
	for part := range ops {
		ops[part] = append(ops[part], written[part]...)
	}
	return ops, witnesses
}

// model is a register that holds one value.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(histories.Unset) },
		Step: func(state, input, output any) (bool, any) {
			if op := input.(histories.Op); op.F == write {
				return true, op.Value
			}
			return output == state, state
		},
	}
}
