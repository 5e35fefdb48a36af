package harness_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// What the engine does for a workload that it knows nothing of: a register that is read, written
// and compared.

// Functions of the register.
const (
	read  = "read"
	write = "write"
	cas   = "cas"
)

// registerFunctions are as the workload declares them: a read is answered with a value.
func registerFunctions() []harness.Function {
	return []harness.Function{{Name: read, ReadOnly: true, Answer: harness.FieldValue}, {Name: write}, {Name: cas, Answer: harness.FieldOffset}}
}

// registers is a cluster of one node, every answer of which is the test's.
type registers struct {
	answer func(ctx context.Context, op histories.Op) (histories.Op, error)

	mu      sync.Mutex // guards all below
	opened  []int
	closed  []int
	stopped bool
}

func (*registers) Nodes() []harness.NodeID     { return []harness.NodeID{"r1"} }
func (*registers) Start(context.Context) error { return nil }

func (c *registers) Stop(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	return nil
}

func (c *registers) Open(_ context.Context, process int) (harness.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, process)
	return &registerClient{c, process}, nil
}

type registerClient struct {
	c       *registers
	process int
}

func (cl *registerClient) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	return cl.c.answer(ctx, op)
}

func (cl *registerClient) Close() error {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	cl.c.closed = append(cl.c.closed, cl.process)
	return nil
}

// script is a workload that does what the test says: the given ops in turn, again and again.
type script struct {
	functions []harness.Function
	ops       []histories.Op
	finals    [][]harness.FinalRead

	next     int
	observed []histories.Op
}

func (*script) Name() string                                 { return "script" }
func (s *script) Functions() []harness.Function              { return s.functions }
func (*script) Setup(context.Context, harness.Cluster) error { return nil }
func (s *script) Generator(uint64) harness.Generator         { return s }

func (s *script) Finals(harness.Cluster) [][]harness.FinalRead { return s.finals }

func (s *script) Next(harness.Context) (histories.Op, harness.Status) {
	if len(s.ops) == 0 {
		return histories.Op{}, harness.Done
	}
	s.next++
	return s.ops[(s.next-1)%len(s.ops)], harness.Ready
}

func (s *script) Observe(_ harness.Context, op histories.Op) { s.observed = append(s.observed, op) }

// asking is an op with a value.
func asking(f string, value int64) histories.Op {
	op := histories.New(histories.Invoke, 0, f)
	op.Value = value
	return op
}

// engine runs a script on c in the bubble of the caller: 2 s at 20 ops/s by 2 clients.
func engine(t *testing.T, c harness.Cluster, s *script) result {
	t.Helper()
	return run(t.Context(), t, c, "none", func(x *harness.Test) {
		x.Workload, x.Nemesis, x.Time, x.Rate, x.Clients = s, nil, 2*time.Second, 20, 2
	})
}

// of returns the ops of a function that have a type.
func (r *result) of(f string, typ histories.Type) (all []histories.Op) {
	for op := range r.h.Ops() {
		if op.F == f && op.Type == typ {
			all = append(all, *op)
		}
	}
	return all
}

// What the workload says it is answered is recorded, and nothing else changes.
func TestAnswersAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
			op.Node = "r1"
			switch op.F {
			case read:
				op.Value = 42
			case cas:
				op.Offset = 7
				return op, fmt.Errorf("on one disk: %w", harness.ErrWeak)
			}
			return op, nil
		}}
		s := &script{functions: registerFunctions(), ops: []histories.Op{asking(read, histories.Unset), asking(write, 5), asking(cas, 6)}}
		r := engine(t, c, s)
		require.NoError(t, r.err)
		require.EqualValues(t, histories.OpCounts{OK: 27, Weak: 13}, r.ex.Ops)
		for f, values := range map[string][2]int64{read: {histories.Unset, 42}, write: {5, 5}, cas: {6, 6}} {
			typ := map[string]histories.Type{read: histories.OK, write: histories.OK, cas: histories.Weak}[f]
			require.NotEmpty(t, r.of(f, typ))
			for _, op := range r.of(f, histories.Invoke) {
				require.Equal(t, values[0], op.Value, f)
				require.Empty(t, op.Node)
			}
			for _, op := range r.of(f, typ) {
				require.Equal(t, values[1], op.Value, f)
				require.Equal(t, map[string]int64{read: histories.Unset, write: histories.Unset, cas: 7}[f], op.Offset)
				require.EqualValues(t, histories.Unset, op.HW)
				require.Nil(t, op.Msgs)
				require.Equal(t, "r1", op.Node)
			}
		}
		require.Len(t, s.observed, 40)
		require.EqualValues(t, 42, s.observed[0].Value, "the generator sees them too")
		require.Zero(t, r.ex.Starved)
	})
}

// A failed read has certainly changed nothing: it is fail, and its process lives on. A failed write
// may have happened: it is info, and its process is replaced.
func TestFailedReadsAndWrites(t *testing.T) {
	for _, c := range []struct {
		f     string
		err   error
		typ   histories.Type
		lives bool
	}{
		{read, errors.New("connection reset"), histories.Fail, true},
		{read, fmt.Errorf("half of it: %w", harness.ErrWeak), histories.Fail, true},
		{read, context.DeadlineExceeded, histories.Fail, true},
		{write, errors.New("connection reset"), histories.Info, false},
		{write, context.DeadlineExceeded, histories.Info, false},
		{write, fmt.Errorf("read only: %w", harness.ErrNotApplied), histories.Fail, true},
		{write, fmt.Errorf("one copy: %w", harness.ErrWeak), histories.Weak, true},
		{cas, errors.New("connection reset"), histories.Info, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
				if c.typ != histories.Weak {
					op.Value, op.Offset, op.HW, op.Msgs = 99, 99, 99, []histories.Message{{Offset: 9, Value: 9}} // nobody may believe it
				}
				return op, c.err
			}}
			r := engine(t, cluster, &script{functions: registerFunctions(), ops: []histories.Op{asking(c.f, 5)}})
			require.NoError(t, r.err)
			done := r.of(c.f, c.typ)
			require.Len(t, done, 40, "%s: %v", c.f, c.err)
			processes := make(map[int]bool)
			for _, op := range done {
				processes[op.Process] = true
				require.Equal(t, c.err.Error(), op.Err)
				require.EqualValues(t, 5, op.Value, "what was asked, and not what came with an error")
				require.EqualValues(t, histories.Unset, op.Offset)
				require.EqualValues(t, histories.Unset, op.HW)
				require.Nil(t, op.Msgs)
			}
			if c.lives {
				require.Equal(t, map[int]bool{0: true, 1: true}, processes)
				require.Len(t, cluster.opened, 2)
			} else {
				require.Len(t, processes, 40, "each of them by a process of its own")
				require.Len(t, cluster.opened, 40)
				for p := range 40 {
					require.True(t, processes[p], "process %d is replaced by %d", p, p+2)
				}
			}
			require.ElementsMatch(t, cluster.opened, cluster.closed)
		})
	}
}

// A result that the workload does not expect would be lost in silence: it ends the run, and the
// error says what to do about it.
func TestUndeclaredAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		f      string
		change func(op *histories.Op)
		says   string
	}{
		"Value":     {write, func(op *histories.Op) { op.Value = 6 }, "answered a write with another Value, which this function does not record: add it to the Answer"},
		"Offset":    {read, func(op *histories.Op) { op.Offset = 6 }, "answered a read with another Offset"},
		"HW":        {read, func(op *histories.Op) { op.HW = 6 }, "answered a read with another HW"},
		"Msgs":      {read, func(op *histories.Op) { op.Msgs = []histories.Message{{Offset: 1, Value: 1}} }, "answered a read with another Msgs"},
		"no Msgs":   {cas, func(op *histories.Op) { op.Msgs = nil }, "answered a cas with another Msgs"},
		"weak":      {write, func(op *histories.Op) { op.HW = 6 }, "answered a write with another HW"},
		"Part":      {read, func(op *histories.Op) { op.Part = 3 }, "answered a read of partition 0 from -1 as one of partition 3 from -1"},
		"From":      {read, func(op *histories.Op) { op.From = 8 }, "as one of partition 0 from 8: what was asked is recorded"},
		"all of it": {read, func(op *histories.Op) { *op = histories.Op{} }, "from 0: what was asked is recorded"},
	} {
		synctest.Test(t, func(t *testing.T) {
			cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
				c.change(&op)
				if name == "weak" {
					return op, harness.ErrWeak
				}
				return op, nil
			}}
			op := asking(c.f, 5)
			if name == "no Msgs" {
				op.Msgs = []histories.Message{{Offset: histories.Unset, Value: 5}}
			}
			r := engine(t, cluster, &script{functions: registerFunctions(), ops: []histories.Op{op}})
			require.ErrorContains(t, r.err, c.says, name)
			require.ErrorContains(t, r.err, "the client of process 0", name)
			require.True(t, cluster.stopped, name)
			require.LessOrEqual(t, len(r.of(c.f, histories.Invoke)), 3, "the run ends")
		})
	}
}

// What is declared is recorded, whatever it is.
func TestDeclaredAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		msgs := []histories.Message{{Offset: 1, Value: 2}}
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
			op.Value, op.Offset, op.HW, op.Msgs = 1, 2, 3, msgs
			return op, nil
		}}
		all := harness.FieldValue | harness.FieldOffset | harness.FieldHW | harness.FieldMsgs
		r := engine(t, cluster, &script{functions: []harness.Function{{Name: "everything", Answer: all}}, ops: []histories.Op{asking("everything", 0)}})
		require.NoError(t, r.err)
		op := r.of("everything", histories.OK)[0]
		require.Equal(t, []any{int64(1), int64(2), int64(3), msgs}, []any{op.Value, op.Offset, op.HW, op.Msgs})
	})
}

// An op that the workload did not declare is a mistake of the workload: nobody knows what its
// failure means.
func TestUndeclaredFunctions(t *testing.T) {
	answer := func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }
	swap := asking("swap", 5)
	nextIs := func(op histories.Op) func(histories.Op, histories.Op) (histories.Op, bool) {
		return func(histories.Op, histories.Op) (histories.Op, bool) { return op, false }
	}
	for name, s := range map[string]*script{
		"load":            {ops: []histories.Op{asking(write, 1), swap}},
		"a final read":    {finals: [][]harness.FinalRead{{{Op: asking(read, 0)}}, {{Op: swap}}}},
		"a step of a one": {finals: [][]harness.FinalRead{{{Op: asking(read, 0), Next: nextIs(swap)}}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s.functions = registerFunctions()
			cluster := &registers{answer: answer}
			r := engine(t, cluster, s)
			require.EqualError(t, r.err, `the workload script made an op "swap", which is none of its Functions`, name)
			require.Zero(t, count(r.h, "swap", histories.Invoke), "it is not invoked")
			require.True(t, cluster.stopped)
			if name == "a final read" {
				require.Zero(t, count(r.h, read, histories.Invoke), "no final read begins before all are looked at")
			}
		})
	}
}

func TestFunctionsThatCannotBeToldApart(t *testing.T) {
	for says, functions := range map[string][]harness.Function{
		`declares the function "read" twice`: {{Name: read, ReadOnly: true}, {Name: write}, {Name: read}},
		`the function "" twice, or without`:  {{Name: write}, {}},
	} {
		c := &registers{}
		r := engine(t, c, &script{functions: functions})
		require.ErrorIs(t, r.err, harness.ErrTest)
		require.ErrorContains(t, r.err, "the workload script")
		require.ErrorContains(t, r.err, says)
		require.False(t, c.stopped, "it is refused before anything starts")
	}
}
