package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/assay-project/assay/histories"
)

// functionsOf returns the functions that a workload declares, by name.
func functionsOf(w Workload) (map[string]Function, error) {
	all := make(map[string]Function)
	for _, f := range w.Functions() {
		if _, twice := all[f.Name]; twice || f.Name == "" {
			return nil, fmt.Errorf("the workload %s declares the function %q twice, or without a name", w.Name(), f.Name)
		}
		all[f.Name] = f
	}
	return all, nil
}

// undeclared is the error of an op whose function the workload does not declare.
func undeclared(w Workload, f string) error {
	return fmt.Errorf("the workload %s made an op %q, which is none of its Functions", w.Name(), f)
}

// invoke executes an op that was recorded as invoked, and returns its completion, not yet recorded.
// A panic of the client makes it info, also for a read, and is an error of the harness; so is an
// answer that cannot be recorded.
func invoke(ctx context.Context, c Client, f Function, op histories.Op) (done histories.Op, crash error) {
	defer func() {
		if p := recover(); p != nil {
			done = op
			done.Type, done.Err = histories.Info, fmt.Sprintf("the client panicked: %v", p)
			crash = fmt.Errorf("the client of process %d panicked: %v\n%s", op.Process, p, debug.Stack())
		}
	}()
	asked := op
	asked.Msgs = slices.Clone(op.Msgs) // those of op belong to the history
	got, err := c.Invoke(ctx, asked)
	done, crash = f.complete(op, got, f.classify(err))
	if err != nil {
		done.Err = err.Error()
	}
	return done, crash
}

// classify says what an op's error means. Whatever is not known for certain is info; only a read
// changes nothing, so that one without an answer has certainly failed.
func (f Function) classify(err error) histories.Type {
	switch {
	case err == nil:
		return histories.OK
	case f.ReadOnly, errors.Is(err, ErrNotApplied) && !errors.Is(err, ErrWeak):
		return histories.Fail
	case errors.Is(err, ErrWeak):
		return histories.Weak
	}
	return histories.Info
}

// complete puts results into the completion of op. Only ok and weak have any.
func (f Function) complete(op, got histories.Op, t histories.Type) (histories.Op, error) {
	done := op
	done.Type = t
	if got.Node != "" {
		done.Node = got.Node
	}
	if t != histories.OK && t != histories.Weak {
		return done, nil
	}
	if got.Part != op.Part || got.From != op.From {
		return done, fmt.Errorf("the client of process %d answered a %s of partition %d from %d as one of partition %d from %d: what was asked is recorded, so it has to stay", op.Process, f.Name, op.Part, op.From, got.Part, got.From)
	}
	numbers := []struct {
		field Fields
		name  string
		to    *int64
		got   int64
	}{{FieldValue, "Value", &done.Value, got.Value}, {FieldOffset, "Offset", &done.Offset, got.Offset}, {FieldHW, "HW", &done.HW, got.HW}}
	for _, n := range numbers {
		if f.Answer&n.field == 0 && n.got != *n.to {
			return done, f.surplus(op.Process, n.name)
		}
		*n.to = n.got
	}
	if f.Answer&FieldMsgs == 0 && !slices.Equal(got.Msgs, op.Msgs) {
		return done, f.surplus(op.Process, "Msgs")
	}
	if f.Answer&FieldMsgs != 0 {
		done.Msgs = got.Msgs
	}
	return done, nil
}

func (f Function) surplus(process int, field string) error {
	return fmt.Errorf("the client of process %d answered a %s with another %s, which this function does not record: add it to the Answer of the workload's Function", process, f.Name, field)
}
