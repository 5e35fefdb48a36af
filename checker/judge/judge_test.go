package judge_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness/target/reference/promise"
	"github.com/assay-project/assay/histories"
)

// book builds a history line by line.
type book struct{ h histories.History }

func (b *book) add(op histories.Op) int64 {
	op.Index = int64(len(b.h))
	op.Time = op.Index * 1e6
	b.h = append(b.h, op)
	return op.Index
}

// op adds an operation: an invocation and a completion.
func (b *book) op(typ histories.Type, process int, f string, change func(*histories.Op)) {
	inv := histories.New(histories.Invoke, process, f)
	inv.From = 0
	done := inv
	done.Type = typ
	change(&done)
	inv.Part, inv.Node, inv.Value, inv.From = done.Part, done.Node, done.Value, done.From
	b.add(inv)
	b.add(done)
}

func (b *book) send(typ histories.Type, value, offset int64) {
	b.op(typ, int(value), histories.Send, func(op *histories.Op) { op.Value, op.Offset = value, offset })
}

// read adds a read of values from offset 0 on.
func (b *book) read(f, node string, process int, values ...int64) {
	b.op(histories.OK, process, f, func(op *histories.Op) {
		op.Node, op.HW = node, int64(len(values))
		for i, v := range values {
			op.Msgs = append(op.Msgs, histories.Message{Offset: int64(i), Value: v})
		}
	})
}

func (b *book) nemesis(f, fault, nodes, effect string) {
	op := histories.New(histories.Info, histories.NemesisProcess, f)
	op.Fault, op.Node, op.Effect = fault, nodes, effect
	b.add(op)
}

func (b *book) err(text string) { b.h[len(b.h)-1].Err = text }

// good is a history that proves something: two messages, read in the end, and a fault with an
// effect.
func good() *book {
	b := &book{}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	b.send(histories.OK, 10, 0)
	b.nemesis(histories.Inject, "kill", "n1", "")
	b.send(histories.OK, 11, 1)
	b.nemesis(histories.Heal, "kill", "n1", "n1 killed")
	b.nemesis(histories.Note, histories.NoteRecovery, "", "well after 1s")
	b.nemesis(histories.Note, histories.NoteLeader, "n1", "")
	b.read(histories.Final, "n1", 1000, 10, 11)
	b.read(histories.Scan, "n1", 1001, 10, 11)
	b.read(histories.Scan, "n2", 1002, 10, 11)
	return b
}

// says is a checker with a given answer.
type says checker.Result

func (says) Name() string { return "says" }

// FollowsLoss are the classes of the stock checkers, and one that has no checker yet.
func (says) FollowsLoss() []checker.Class {
	return []checker.Class{
		checker.Nonlinearizable, checker.StaleRead, checker.InconsistentOffsets, checker.RolledBackRead, checker.PollSkip,
		checker.NonmonotonicPoll, checker.OffsetRegress, checker.ReplicaDivergence,
	}
}

func (s says) Check(context.Context, histories.Reader) checker.Result { return checker.Result(s) }

var (
	fine      = says{Verdict: checker.Valid}
	undecided = says{Reason: "out of time"}
	duplicate = says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{{Class: checker.Duplicate, Witnesses: []int64{1}, Explanation: "twice"}}}
	phantom   = says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{{Class: checker.Phantom, Explanation: "never sent"}}}
)

// retrying is a configuration that permits duplicates, whatever the faults.
func retrying() *promise.Config {
	c := promise.Default(promise.MasterSlave, 2)
	c.Retries, c.Idempotence = 3, false
	return &c
}

// rules are those of the workload log, but for the checkers.
func rules(checkers ...checker.Checker) func(contract.Terms) judge.Rules {
	return func(contract.Terms) judge.Rules {
		return judge.Rules{
			Checkers: checkers,
			Evidence: judge.Evidence{Load: []string{histories.Send, histories.Poll}, Acknowledged: []string{histories.Send}},
		}
	}
}

func judged(in judge.Input, checkers ...checker.Checker) judge.Judgement {
	in.Rules = rules(checkers...)
	return judge.Judge(context.Background(), in)
}

// promoteText is what format 1 noted of a promote that made n2 the leader.
func promoteText(p histories.Promote) string { return histories.NewPromoteNote(0, "n2", p).Effect }

// What is excluded comes before what is permitted, and then what is gone before what follows from
// it.
func TestCompareAnomalies(t *testing.T) {
	order := []judge.AnomalySummary{
		{Class: checker.LostWrite}, {Class: checker.Duplicate}, {Class: checker.Nonlinearizable}, {Class: "unheard-of"},
		{Class: checker.LostWrite, Permitted: true}, {Class: checker.InconsistentOffsets, Permitted: true},
	}
	for i := range order {
		for j := range order {
			require.Equal(t, cmp.Compare(i, j), cmp.Compare(judge.CompareAnomalies(order[i], order[j]), 0), "%v %v", order[i], order[j])
		}
	}
}

// A run that failed before it tried anything has one reason: the failure.
func TestFailedBeforeAnything(t *testing.T) {
	got := judged(judge.Input{History: histories.History{}, Promise: retrying().Promise(), Err: errors.Join(errors.New("no engine"), errors.New("no log"))}, fine, undecided)
	require.Equal(t, judge.ExitError, got.Exit)
	require.Equal(t, []string{"no engine; no log"}, got.Unknown)
}

// Every combination of what a run can show has the exit code that the precedence 1 > 3 > 2 > 4 > 0
// gives it, with an empty run weaker than permitted anomalies, and an undecided one stronger.
func TestPrecedence(t *testing.T) {
	for i := range 1 << 6 {
		has := func(bit int) bool { return i>>bit&1 == 1 }
		failed, excluded, unsure, stopped, permitted, empty := has(0), has(1), has(2), has(3), has(4), has(5)
		b := good()
		if empty {
			b.nemesis(histories.Inject, "slow", "n2", "")
			b.nemesis(histories.Heal, "slow", "n2", "")
		}
		in := judge.Input{History: b.h, Promise: retrying().Promise(), Interrupted: stopped}
		checkers := []checker.Checker{fine}
		if failed {
			in.Err = errors.New("no space left")
		}
		if excluded {
			checkers = append(checkers, phantom)
		}
		if unsure {
			checkers = append(checkers, undecided)
		}
		if permitted {
			checkers = append(checkers, duplicate)
		}
		want := judge.ExitValid
		switch {
		case failed:
			want = judge.ExitError
		case excluded:
			want = judge.ExitInvalid
		case unsure || stopped:
			want = judge.ExitUnknown
		case permitted:
			want = judge.ExitPermitted
		case empty:
			want = judge.ExitUnknown
		}
		got := judged(in, checkers...)
		require.Equal(t, want, got.Exit, "failed %v, excluded %v, undecided %v, interrupted %v, permitted %v, empty %v", failed, excluded, unsure, stopped, permitted, empty)
		require.Equal(t, failed || unsure || stopped || empty, len(got.Unknown) > 0, "%v", got.Unknown)
		require.Equal(t, stopped, got.Interrupted)
		var s judge.Summary
		got.Fill(&s)
		require.Equal(t, want, s.Exit)
		require.Equal(t, judge.VerdictName(want), s.Verdict)
		require.NotNil(t, s.Anomalies)
		require.NotNil(t, s.Unknown)
		require.NotNil(t, s.Faults)
	}
}

func TestWorseExit(t *testing.T) {
	order := []int{0, 4, 2, 3, 1}
	for i, a := range order {
		for j, b := range order {
			require.Equal(t, order[max(i, j)], judge.WorseExit(a, b))
		}
	}
	require.Equal(t, 99, judge.WorseExit(99, 3), "what is no exit code counts as an error")
	for exit, name := range map[int]string{0: "valid", 1: "error", 2: "unknown", 3: "invalid", 4: "permitted", 99: "error", -1: "error"} {
		require.Equal(t, name, judge.VerdictName(exit))
	}
}

// Each kind of emptiness turns a green verdict into unknown, and says why.
func TestEmptyRunsProveNothing(t *testing.T) {
	require.Equal(t, judge.ExitValid, judged(judge.Input{History: good().h}, fine).Exit)
	without := func(f string) *book {
		b := &book{}
		for _, op := range good().h {
			if op.F != f {
				op.Index = int64(len(b.h))
				b.h = append(b.h, op)
			}
		}
		return b
	}
	for name, c := range map[string]struct {
		in       judge.Input
		checkers []checker.Checker
		says     string
	}{
		"no checker":   {in: judge.Input{History: good().h}, says: "no checker judged the history"},
		"undecided":    {in: judge.Input{History: good().h}, checkers: []checker.Checker{fine, undecided}, says: "says: out of time"},
		"idle":         {in: judge.Input{History: histories.History{}}, checkers: []checker.Checker{fine}, says: "idle: no operation was invoked"},
		"interrupted":  {in: judge.Input{History: good().h, Interrupted: true}, checkers: []checker.Checker{fine}, says: "interrupted"},
		"out of time":  {in: judge.Input{History: good().h, Timeout: time.Nanosecond}, checkers: []checker.Checker{fine}, says: "out of time before it started"},
		"planned only": {in: judge.Input{History: good().h, Faults: []string{"kill", "pause:leader"}}, checkers: []checker.Checker{fine}, says: "the fault pause:leader had no effect"},
		"no ok": {in: judge.Input{History: func() histories.History {
			b := &book{}
			b.send(histories.Weak, 10, 0)
			b.send(histories.Info, 11, 0)
			b.read(histories.Final, "n1", 1000, 10)
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "no send was acknowledged"},
		"few ok": {in: judge.Input{History: func() histories.History {
			b := &book{}
			b.send(histories.OK, 10, 0)
			for i := range int64(200) {
				b.send(histories.Fail, 20+i, 0)
			}
			b.read(histories.Final, "n1", 1000, 10)
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "only 1 of 201 sends were acknowledged"},
		"no final read": {in: judge.Input{History: func() histories.History {
			b := without(histories.Final)
			return slices.DeleteFunc(b.h, func(op histories.Op) bool { return op.F == histories.Scan })
		}()}, checkers: []checker.Checker{fine}, says: "no final read of partition 0"},
		"the leader's scan only": {in: judge.Input{History: without(histories.Final).h}, checkers: []checker.Checker{fine}, says: "only the scan of its leader"},
		"a replica that was not scanned": {in: judge.Input{History: slices.DeleteFunc(good().h, func(op histories.Op) bool {
			return op.F == histories.Scan && op.Node == "n2"
		})}, checkers: []checker.Checker{fine}, says: "no complete scan of partition 0 on n2"},
		"nobody knows who has replicas": {in: judge.Input{Promise: async().Promise(), History: slices.DeleteFunc(good().h, func(op histories.Op) bool {
			return op.Fault == histories.NoteGroup || op.F == histories.Scan
		})}, checkers: []checker.Checker{fine}, says: "no note says which nodes are group 0"},
		"final read cut short": {in: judge.Input{History: func() histories.History {
			b := without(histories.Scan)
			for i := range b.h {
				if b.h[i].F == histories.Final {
					b.h[i].HW = 3
				}
			}
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "no final read of partition 0"},
		"final read with a gap": {in: judge.Input{History: func() histories.History {
			b := without(histories.Scan)
			for i := range b.h {
				if b.h[i].F == histories.Final {
					b.h[i].From = 1 // and nothing from 0 on
				}
			}
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "no final read of partition 0"},
		"final read without an end": {in: judge.Input{History: func() histories.History {
			b := without(histories.Scan)
			for i := range b.h {
				if b.h[i].F == histories.Final {
					b.h[i].HW = histories.Unset
				}
			}
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "no final read of partition 0"},
		"no effect": {in: judge.Input{History: func() histories.History {
			b := good()
			b.nemesis(histories.Inject, "partition:leader/alone", "n1", "")
			b.nemesis(histories.Heal, "partition:leader/alone", "n1", "")
			b.err("0 packets dropped")
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "the fault partition:leader/alone had no effect: 0 packets dropped"},
		"says so itself": {in: judge.Input{History: func() histories.History {
			b := good()
			b.nemesis(histories.Note, histories.NoteInterrupted, "", "")
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "the run was interrupted"},
		"not recovered": {in: judge.Input{History: func() histories.History {
			b := good()
			b.nemesis(histories.Note, histories.NoteRecovery, "", "")
			b.err("not well after 60s: nobody leads")
			return b.h
		}()}, checkers: []checker.Checker{fine}, says: "nobody leads"},
	} {
		got := judged(c.in, c.checkers...)
		require.Equal(t, judge.ExitUnknown, got.Exit, name)
		require.Contains(t, fmt.Sprint(got.Unknown), c.says, name)
	}
}

// One strike of a fault that had an effect is enough: the others may have come to nothing.
func TestOneEffectIsEnough(t *testing.T) {
	b := good()
	b.nemesis(histories.Inject, "kill", "n1", "")
	b.nemesis(histories.Heal, "kill", "n1", "")
	got := judged(judge.Input{History: b.h, Faults: []string{"kill"}}, fine)
	require.Equal(t, judge.ExitValid, got.Exit)
	require.Len(t, got.Faults, 2)
}

// Without a manifest there is no contract, and every anomaly is excluded.
func TestNoContract(t *testing.T) {
	require.Equal(t, judge.ExitPermitted, judged(judge.Input{History: good().h, Promise: retrying().Promise()}, duplicate).Exit)
	require.Equal(t, judge.ExitInvalid, judged(judge.Input{History: good().h}, duplicate).Exit)
}

// The list of a checker is bounded; the true number counts.
func TestCounts(t *testing.T) {
	many := says{
		Verdict: checker.Invalid, Figures: map[string]float64{"duplicate": 5000},
		Anomalies: []checker.Anomaly{{Class: checker.Duplicate, Explanation: "a", Witnesses: []int64{3}}, {Class: checker.Duplicate, Explanation: "b"}},
	}
	got := judged(judge.Input{History: good().h, Promise: retrying().Promise()}, many, phantom)
	require.Equal(t, []checker.Class{checker.Phantom, checker.Duplicate}, []checker.Class{got.Anomalies[0].Class, got.Anomalies[1].Class}, "what is excluded comes first")
	require.EqualValues(t, 5000, got.Anomalies[1].Count)
	require.Equal(t, []int64{3}, got.Anomalies[1].Witnesses)
	require.Contains(t, got.Anomalies[1].Explanation, "a. Permitted: a retry after an answer that was lost")
	require.Equal(t, histories.OpCounts{OK: 2}, got.Ops, "final reads are not counted")
}

// However many losses an event excuses, they do not hide one that it cannot have caused.
func TestManyPermittedHideNone(t *testing.T) {
	b := &book{}
	inGroup1 := func(ops int) {
		for i := range ops {
			b.h[len(b.h)-1-i].Part = 1
		}
	}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	b.nemesis(histories.Note, histories.NoteGroup, "n3,n4", "led by n3 at epoch 1")
	inGroup1(1)
	for i := range int64(3000) {
		b.send(histories.OK, 10+i, i)
	}
	b.send(histories.OK, 9999, 0)
	inGroup1(2)
	b.nemesis(histories.Inject, "wipe:leader", "n1", "")
	b.nemesis(histories.Note, histories.NotePromote, "n2", promoteText(histories.Promote{Epoch: 2, Forced: true}))
	b.nemesis(histories.Heal, "wipe:leader", "n1", "wiped")
	b.nemesis(histories.Note, histories.NoteLeader, "n2", "")
	b.read(histories.Final, "n2", 100_000)
	b.read(histories.Final, "n3", 100_001)
	inGroup1(2)
	cfg := async()
	cfg.Groups = 2
	got := judged(judge.Input{History: b.h, Promise: cfg.Promise()}, delivery.New())
	require.Equal(t, judge.ExitInvalid, got.Exit)
	require.EqualValues(t, 1, got.Anomalies[0].Count)
	require.EqualValues(t, 3000, got.Anomalies[1].Count)
}
