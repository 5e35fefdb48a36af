package histories

import (
	"errors"
	"fmt"
	"math"
)

// ErrInvalid is wrapped by every error about ops that do not make a history: see Validator.
var ErrInvalid = errors.New("not a valid history")

// Validator checks one op after the other against what makes a sequence of ops a history:
//
//   - indexes count from 0 without a gap, and time is not negative and never goes backwards;
//   - a client process has at most one operation open: an invocation, then a completion of the same function and partition, and of the same
//     values (a send) or position (a read): nobody can say what became of one message from the completion of another;
//   - a partition of a client's operation is not negative;
//   - a process is not used after info, because it may still be doing what it was doing;
//   - an op of the nemesis is info and stands alone;
//   - only an op of the nemesis has an event, and what that says can be read back: its harm is known,
//     its strike a number from 0 to 1<<31-1.
//
// The zero value is ready. It is not for concurrent use.
type Validator struct {
	next  int64
	last  int64
	procs map[int]procState
}

// procState is what a client process is doing. The zero value is idle.
type procState struct {
	open    bool
	retired bool
	f       string
	part    int32
	value   int64
	from    int64
	msgs    []Message // a batch
}

// Add checks the next op. After an error the validator's state is as before, so the op can be
// dropped.
func (v *Validator) Add(op *Op) error {
	switch {
	case op.Index != v.next:
		return invalidf("op %d where op %d is expected", op.Index, v.next)
	case op.Time < 0:
		return invalidf("op %d at the negative time %d", op.Index, op.Time)
	case op.Time < v.last:
		return invalidf("op %d: time goes backwards, from %d to %d", op.Index, v.last, op.Time)
	case op.F == "":
		return invalidf("op %d has no function", op.Index)
	}
	if err := checkEvent(op); err != nil {
		return err
	}
	if err := v.pair(op); err != nil {
		return err
	}
	v.next++
	v.last = op.Time
	return nil
}

// checkEvent checks what op says in fields. A Recorder writes what it lets through, so it lets
// through nothing that the decoder refuses.
func checkEvent(op *Op) error {
	e := op.Event
	switch {
	case e == nil:
		return nil
	case op.Process != NemesisProcess:
		return invalidf("op %d of process %d has an event: only those of the nemesis have", op.Index, op.Process)
	case e.Harm != "" && !e.Harm.Known():
		return invalidf("op %d: unknown harm %q (want one of %q)", op.Index, e.Harm, harms)
	case e.Strike < 0 || e.Strike > math.MaxInt32:
		return invalidf("op %d: strike %d out of range", op.Index, e.Strike)
	}
	return nil
}

// pair checks op against what its process is doing, and notes what it does now.
func (v *Validator) pair(op *Op) error {
	if op.Process == NemesisProcess {
		if op.Type != Info {
			return invalidf("op %d of the nemesis is %q, not info", op.Index, op.Type)
		}
		return nil
	}
	p := v.procs[op.Process]
	switch {
	case op.Process < 0:
		return invalidf("op %d of the negative process %d", op.Index, op.Process)
	case op.Part < 0:
		return invalidf("op %d on the negative partition %d", op.Index, op.Part)
	case p.retired:
		return invalidf("op %d: process %d is used after its info", op.Index, op.Process)
	case op.Type == Invoke && p.open:
		return invalidf("op %d: process %d invokes %s while its %s is open", op.Index, op.Process, op.F, p.f)
	case op.Type == Invoke:
		p = procState{open: true, f: op.F, part: op.Part, value: op.Value, from: op.From}
		if op.F == Send {
			p.msgs = op.Msgs
		}
	case !op.Type.Completion():
		return invalidf("op %d has no type", op.Index)
	case !p.open:
		return invalidf("op %d: process %d completes a %s that it did not invoke", op.Index, op.Process, op.F)
	case op.F != p.f:
		return invalidf("op %d: process %d completes a %s while its %s is open", op.Index, op.Process, op.F, p.f)
	case op.Part != p.part:
		return invalidf("op %d: process %d completes partition %d, but invoked partition %d", op.Index, op.Process, op.Part, p.part)
	default:
		if err := p.same(op); err != nil {
			return err
		}
		p = procState{retired: op.Type == Info}
	}
	if v.procs == nil {
		v.procs = make(map[int]procState)
	}
	v.procs[op.Process] = p
	return nil
}

// same checks that a completion is of the values, or the position, that were invoked.
func (p *procState) same(op *Op) error {
	switch {
	case op.F != Send && op.From != p.from && op.From != Unset:
		return invalidf("op %d: process %d completes a %s from %d, but invoked one from %d", op.Index, op.Process, op.F, op.From, p.from)
	case op.F != Send:
		return nil
	case op.Value != p.value:
		return invalidf("op %d: process %d completes a send of %d, but invoked one of %d", op.Index, op.Process, op.Value, p.value)
	case len(op.Msgs) != len(p.msgs):
		return invalidf("op %d: process %d completes a batch of %d, but invoked one of %d", op.Index, op.Process, len(op.Msgs), len(p.msgs))
	}
	for i := range op.Msgs {
		if op.Msgs[i].Value != p.msgs[i].Value {
			return invalidf("op %d: process %d completes a batch with %d, but invoked it with %d", op.Index, op.Process, op.Msgs[i].Value, p.msgs[i].Value)
		}
	}
	return nil
}

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Validate checks all of h. Operations that never completed are legal.
func Validate(h Reader) error {
	var v Validator
	for op := range h.Ops() {
		if err := v.Add(op); err != nil {
			return err
		}
	}
	return nil
}
