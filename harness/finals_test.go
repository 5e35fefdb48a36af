package harness_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// steps asks for values from the first to the last, one by one.
func steps(last int64) func(asked, answer histories.Op) (histories.Op, bool) {
	return func(asked, _ histories.Op) (histories.Op, bool) {
		asked.Value++
		return asked, asked.Value > last
	}
}

// asked returns, of the invocations of a function, the values.
func (r *result) asked(f string) (values []int64) {
	for _, op := range r.of(f, histories.Invoke) {
		values = append(values, op.Value)
	}
	return values
}

// A stage of final reads begins when the one before it has ended; those of one stage run side by
// side, as many as there are clients, each by a fresh process.
func TestFinalsComeInStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		functions := []harness.Function{{Name: "first", ReadOnly: true}, {Name: "second", ReadOnly: true}, {Name: write}}
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
			time.Sleep(time.Second)
			return op, nil
		}}
		s := &script{functions: functions, finals: [][]harness.FinalRead{
			{{Op: asking("first", 1)}, {Op: asking("first", 2)}, {Op: asking("first", 3)}, {Op: asking("first", 11), Next: steps(13)}},
			nil,
			{{Op: asking("second", 1)}, {Op: asking("second", 2)}},
		}}
		r := engine(t, cluster, s)
		require.NoError(t, r.err)
		require.ElementsMatch(t, []int64{1, 2, 3, 11, 12, 13}, r.asked("first"), "without Next, one answer is all")
		require.ElementsMatch(t, []int64{1, 2}, r.asked("second"))
		first, second := r.of("first", histories.OK), r.of("second", histories.Invoke)
		require.Less(t, first[len(first)-1].Index, second[0].Index)
		require.Equal(t, 4*time.Second, time.Duration(second[0].Time-r.of("first", histories.Invoke)[0].Time), "two at a time, and no waits between steps that make progress")
		require.Equal(t, second[0].Time, second[1].Time, "side by side")
		processes := make(map[int]string)
		for _, op := range append(r.of("first", histories.Invoke), second...) {
			require.GreaterOrEqual(t, op.Process, 2, "not those of the load")
			who := op.F + fmt.Sprint(op.Value/10 == 1, op.Value%10)
			if op.Value > 10 {
				who = "the one in steps"
			}
			require.Contains(t, []string{"", who}, processes[op.Process], "one process for each")
			processes[op.Process] = who
		}
		require.Len(t, processes, 6)
		require.ElementsMatch(t, cluster.opened, cluster.closed)
	})
}

// gaps returns the times between the invocations of a function.
func (r *result) gaps(f string) (gaps []time.Duration) {
	ops := r.of(f, histories.Invoke)
	for i := range ops[1:] {
		gaps = append(gaps, time.Duration(ops[i+1].Time-ops[i].Time))
	}
	return gaps
}

// Without progress the engine waits before it asks again, longer each time; whatever asks for
// something else is progress.
func TestFinalsWaitWithoutProgress(t *testing.T) {
	again := func(times int, change func(*histories.Op)) func(asked, answer histories.Op) (histories.Op, bool) {
		return func(asked, _ histories.Op) (histories.Op, bool) {
			times--
			change(&asked)
			return asked, times == 0
		}
	}
	waits := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 2 * time.Second}
	none := []time.Duration{0, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		change func(op *histories.Op)
		want   []time.Duration
	}{
		"the same":                {func(*histories.Op) {}, waits},
		"what came, asked again":  {func(op *histories.Op) { op.HW, op.Offset, op.Msgs = 7, 7, nil }, waits},
		"another value":           {func(op *histories.Op) { op.Value++ }, none},
		"another position":        {func(op *histories.Op) { op.From++ }, none},
		"another partition":       {func(op *histories.Op) { op.Part++ }, none},
		"another node":            {func(op *histories.Op) { op.Node += "x" }, none},
		"another type or process": {func(op *histories.Op) { op.Type, op.Process = histories.OK, 77 }, waits},
	} {
		synctest.Test(t, func(t *testing.T) {
			cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }}
			s := &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(read, 1), Next: again(6, c.change)}}}}
			r := engine(t, cluster, s)
			require.NoError(t, r.err)
			require.Equal(t, c.want, r.gaps(read), name)
			require.Len(t, cluster.opened, 1, "one process and client")
			for _, op := range r.of(read, histories.Invoke) {
				require.Equal(t, cluster.opened[0], op.Process, "type and process are the engine's")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // another function
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }}
		s := &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(read, 1), Next: again(2, func(op *histories.Op) { op.F = write })}}}}
		r := engine(t, cluster, s)
		require.NoError(t, r.err)
		require.Equal(t, r.of(read, histories.OK)[0].Time, r.of(write, histories.Invoke)[0].Time)
	})
}

// A final read that fails is asked again by the same process, and after an answer the waits begin
// anew; a failed write may have happened, and ends it.
func TestFinalsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := []int{2, 1}
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
			if fails[op.Value]--; fails[op.Value] >= 0 {
				return op, errors.New("not leader yet")
			}
			return op, nil
		}}
		s := &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(read, 0), Next: steps(1)}}}}
		r := engine(t, cluster, s)
		require.NoError(t, r.err)
		require.Equal(t, []int64{0, 0, 0, 1, 1}, r.asked(read))
		require.Equal(t, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 0, 250 * time.Millisecond}, r.gaps(read))
		require.Equal(t, 3, count(r.h, read, histories.Fail))
		require.Len(t, cluster.opened, 1)
	})
	synctest.Test(t, func(t *testing.T) {
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) {
			return op, errors.New("connection reset")
		}}
		r := engine(t, cluster, &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(write, 0)}}}})
		require.NoError(t, r.err)
		require.Equal(t, 1, count(r.h, write, histories.Info))
		require.Equal(t, 1, count(r.h, write, histories.Invoke))
	})
	synctest.Test(t, func(t *testing.T) {
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { op.HW = 3; return op, nil }}
		r := engine(t, cluster, &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(read, 0)}}}})
		require.ErrorContains(t, r.err, "answered a read with another HW")
	})
	synctest.Test(t, func(t *testing.T) {
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }}
		boom := func(histories.Op, histories.Op) (histories.Op, bool) { panic("no such page") }
		r := engine(t, cluster, &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(read, 0), Next: boom}}}})
		require.ErrorContains(t, r.err, "the final read of process 3 panicked: no such page")
		require.True(t, cluster.stopped)
	})
}

// A final read that never ends is given up, and stays incomplete in the history.
func TestFinalsThatNeverEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &registers{answer: func(_ context.Context, op histories.Op) (histories.Op, error) { return op, nil }}
		never := func(asked, _ histories.Op) (histories.Op, bool) { return asked, false }
		s := &script{functions: registerFunctions(), finals: [][]harness.FinalRead{{{Op: asking(read, 0), Next: never}}, {{Op: asking(read, 1)}}}}
		r := engine(t, cluster, s)
		require.NoError(t, r.err)
		values := r.asked(read)
		require.EqualValues(t, 1, values[len(values)-1], "the next stage is read all the same")
		require.Less(t, len(values), 100)
	})
}
