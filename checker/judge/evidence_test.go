package judge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/histories"
)

// Functions of a register, a workload that sends nothing.
const (
	read  = "read"
	write = "write"
	cas   = "cas"
)

// register are its rules: both must have succeeded, and cas, which it can do too, is no part of its
// load.
func register(contract.Terms) judge.Rules {
	return judge.Rules{
		Checkers: []checker.Checker{fine},
		Evidence: judge.Evidence{Load: []string{read, write}, Acknowledged: []string{read, write}},
	}
}

func (b *book) plain(typ histories.Type, process int, f string) {
	b.op(typ, process, f, func(op *histories.Op) { op.Value = int64(process) })
}

// A workload that sends nothing has nothing to scan, whatever the configuration promises of its
// groups.
func TestNoScansOfAnotherWorkload(t *testing.T) {
	b := &book{}
	b.plain(histories.OK, 1, write)
	b.plain(histories.OK, 2, read)
	got := judge.Judge(t.Context(), judge.Input{History: b.h, Rules: register, Promise: contract.Promise{Groups: 2}})
	require.Empty(t, got.Unknown)
	require.Equal(t, judge.ExitValid, got.Exit)
}

// A workload that sends but whose checkers need no ends says so: no final read and no scan is
// missed then, and everything else still is.
func TestNoEnds(t *testing.T) {
	b := &book{}
	b.send(histories.OK, 10, 0)
	judged := func(noEnds bool, acked ...string) judge.Judgement {
		return judge.Judge(t.Context(), judge.Input{History: b.h, Promise: contract.Promise{Groups: 2}, Rules: func(contract.Terms) judge.Rules {
			return judge.Rules{Checkers: []checker.Checker{fine}, Evidence: judge.Evidence{Acknowledged: acked, NoEnds: noEnds}}
		}})
	}
	require.Contains(t, judged(false, histories.Send).Unknown, "no final read of partition 0")
	got := judged(true, histories.Send)
	require.Empty(t, got.Unknown)
	require.Equal(t, judge.ExitValid, got.Exit)
	require.Equal(t, []string{"no poll was acknowledged"}, judged(true, histories.Poll).Unknown)
}

// Another workload counts by what it says of itself, and never for want of a send.
func TestEvidenceOfAnotherWorkload(t *testing.T) {
	for name, c := range map[string]struct {
		build func(b *book)
		says  string // empty: valid
		ops   histories.OpCounts
	}{
		"writes and reads": {func(b *book) {
			b.plain(histories.OK, 1, write)
			b.plain(histories.OK, 2, read)
			b.plain(histories.Fail, 3, read)
			b.plain(histories.Info, 4, write)
			b.plain(histories.OK, 5, cas)
		}, "", histories.OpCounts{OK: 2, Fail: 1, Info: 1}},
		"no write": {func(b *book) {
			b.plain(histories.Info, 1, write)
			b.plain(histories.OK, 2, read)
		}, "no write was acknowledged", histories.OpCounts{OK: 1, Info: 1}},
		"weak writes only": {func(b *book) {
			b.plain(histories.Weak, 1, write)
			b.plain(histories.OK, 2, read)
		}, "no write was acknowledged", histories.OpCounts{OK: 1, Weak: 1}},
		"no write was tried": {func(b *book) { b.plain(histories.OK, 2, read) }, "no write was acknowledged", histories.OpCounts{OK: 1}},
		"no read":            {func(b *book) { b.plain(histories.OK, 2, write) }, "no read was acknowledged", histories.OpCounts{OK: 1}},
		"few writes": {func(b *book) {
			b.plain(histories.OK, 1, write)
			b.plain(histories.OK, 2, read)
			for p := range 200 {
				b.plain(histories.Fail, 10+p, write)
			}
		}, "only 1 of 201 writes were acknowledged", histories.OpCounts{OK: 2, Fail: 200}},
		"what is no load": {func(b *book) { b.plain(histories.OK, 1, cas) }, "idle: no operation was invoked", histories.OpCounts{}},
		"reads after the recovery": {func(b *book) {
			b.plain(histories.OK, 1, write)
			b.plain(histories.OK, 2, read)
			b.nemesis(histories.Note, histories.NoteRecovery, "", "well after 1s")
			b.plain(histories.OK, 3, read)
		}, "", histories.OpCounts{OK: 2}},
		"a write that is open": {func(b *book) {
			b.plain(histories.OK, 1, write)
			b.plain(histories.OK, 2, read)
			b.add(histories.New(histories.Invoke, 3, write))
		}, "", histories.OpCounts{OK: 2, Info: 1}},
	} {
		b := &book{}
		c.build(b)
		require.NoError(t, histories.Validate(b.h))
		got := judge.Judge(t.Context(), judge.Input{History: b.h, Rules: register})
		require.Equal(t, c.ops, got.Ops, name)
		require.NotContains(t, strings.Join(got.Unknown, ";"), histories.Send, name)
		if c.says == "" {
			require.Equal(t, judge.ExitValid, got.Exit, "%s: %v", name, got.Unknown)
			continue
		}
		require.Equal(t, judge.ExitUnknown, got.Exit, name)
		require.Equal(t, []string{c.says}, got.Unknown, name)
	}
}

// Rules that name nothing ask for the least: the load is all but the final reads and scans, and
// some op of it has succeeded.
func TestEvidenceByDefault(t *testing.T) {
	none := func(contract.Terms) judge.Rules { return judge.Rules{Checkers: []checker.Checker{fine}} }
	b := &book{}
	b.plain(histories.OK, 1, cas)
	b.plain(histories.Fail, 2, read)
	b.read(histories.Final, "n1", 3)
	b.read(histories.Scan, "n1", 4)
	got := judge.Judge(t.Context(), judge.Input{History: b.h, Rules: none})
	require.Equal(t, judge.ExitValid, got.Exit, "%v", got.Unknown)
	require.Equal(t, histories.OpCounts{OK: 1, Fail: 1}, got.Ops)
	b.h = b.h[2:]
	got = judge.Judge(t.Context(), judge.Input{History: b.renumbered(), Rules: none})
	require.Equal(t, []string{"no operation was acknowledged"}, got.Unknown)
	require.Equal(t, judge.ExitUnknown, got.Exit)
	b.h = b.h[2:]
	got = judge.Judge(t.Context(), judge.Input{History: b.renumbered(), Rules: none})
	require.Equal(t, []string{"idle: no operation was invoked"}, got.Unknown)

	// Who needs nothing acknowledged says so.
	b = &book{}
	b.plain(histories.Fail, 1, read)
	got = judge.Judge(t.Context(), judge.Input{History: b.h, Rules: func(contract.Terms) judge.Rules {
		return judge.Rules{Checkers: []checker.Checker{fine}, Evidence: judge.Evidence{Acknowledged: []string{}}}
	}})
	require.Equal(t, judge.ExitValid, got.Exit, "%v", got.Unknown)
}

// Without rules, or without a checker among them, nobody judged the history.
func TestNoRules(t *testing.T) {
	for _, none := range []func(contract.Terms) judge.Rules{nil, func(contract.Terms) judge.Rules { return judge.Rules{} }} {
		got := judge.Judge(t.Context(), judge.Input{History: good().h, Rules: none})
		require.Equal(t, judge.ExitUnknown, got.Exit)
		require.Contains(t, got.Unknown, "no checker judged the history")
	}
}

// Of a system that cannot be asked what one replica holds, nobody expects scans, or to know who has
// replicas.
func TestNoScans(t *testing.T) {
	b := good()
	b.h = slices.DeleteFunc(b.h, func(op histories.Op) bool { return op.F == histories.Scan })
	in := judge.Input{History: b.renumbered(), Promise: async().Promise()}
	require.Equal(t, []string{"no complete scan of partition 0 on n1", "no complete scan of partition 0 on n2"}, judged(in, fine).Unknown)
	in.NoScans = true
	got := judged(in, fine)
	require.Equal(t, judge.ExitValid, got.Exit, "%v", got.Unknown)

	b.h = slices.DeleteFunc(b.h, func(op histories.Op) bool { return op.Fault == histories.NoteGroup })
	in.History = b.renumbered()
	require.Equal(t, judge.ExitValid, judged(in, fine).Exit)
	in.NoScans = false
	require.Contains(t, fmt.Sprint(judged(in, fine).Unknown), "no note says which nodes are group 0")

	// A final read is another thing.
	b.h = slices.DeleteFunc(b.h, func(op histories.Op) bool { return op.F == histories.Final })
	in.History, in.NoScans = b.renumbered(), true
	require.Equal(t, []string{"no final read of partition 0"}, judged(in, fine).Unknown)
}

// The rules of a workload are asked for what the promise comes down to after what happened.
func TestRulesGetTheTerms(t *testing.T) {
	terms := func(h histories.History) (got contract.Terms) {
		cfg := async()
		cfg.Replication = "sync"
		judge.Judge(context.Background(), judge.Input{History: h, Promise: cfg.Promise(), Rules: func(t contract.Terms) judge.Rules {
			got = t
			return judge.Rules{}
		}})
		return got
	}
	require.Equal(t, contract.Terms{Copies: 2, LinearReads: true}, terms(good().h))
	require.Equal(t, contract.Terms{Copies: 2}, terms(torn().h), "after a promote")
}

// damaged is a history in which a fault strikes the leader, and 11 is lost and is on no replica.
func damaged(fault string, e *histories.Event) *book {
	b := &book{}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	b.send(histories.OK, 10, 0)
	b.send(histories.OK, 11, 1)
	b.nemesis(histories.Inject, fault, "n1", "")
	b.h[len(b.h)-1].Event = e
	b.nemesis(histories.Heal, fault, "n1", "done")
	if e != nil {
		b.h[len(b.h)-1].Event = &histories.Event{Strike: e.Strike}
	}
	b.nemesis(histories.Note, histories.NoteRecovery, "", "well after 1s")
	b.nemesis(histories.Note, histories.NoteLeader, "n1", "")
	b.read(histories.Final, "n1", 1000, 10)
	b.read(histories.Scan, "n1", 1001, 10)
	b.read(histories.Scan, "n2", 1002, 10)
	return b
}

// What a fault can destroy is what the history says of it, whatever the fault is called: for the
// contract and for the checkers.
func TestHarmIsWhatTheHistorySays(t *testing.T) {
	said := func(harm histories.Harm) *histories.Event { return &histories.Event{Strike: 1, Harm: harm} }
	for _, c := range []struct {
		what  string
		fault string
		event *histories.Event
		want  int
	}{
		{"format 1, a wipe", "wipe:leader", nil, judge.ExitPermitted},
		{"format 1, a fault that nobody knows", "acid:leader", nil, judge.ExitInvalid},
		{"a wipe that says so", "wipe:leader", said(histories.HarmDisk), judge.ExitPermitted},
		{"a fault that nobody knows, and that takes the disk", "acid:leader", said(histories.HarmDisk), judge.ExitPermitted},
		{"the same, that takes nothing", "acid:leader", said(histories.HarmNone), judge.ExitInvalid},
		{"a wipe that takes nothing", "wipe:leader", said(histories.HarmNone), judge.ExitInvalid},
		{"a fault that stops writes only", "acid:leader", said(histories.HarmWrites), judge.ExitInvalid},
	} {
		for _, copies := range []int{1, 2} {
			ask := rules(replicas.New(replicas.Config{Copies: copies}), lossOf11)
			got := judge.Judge(t.Context(), judge.Input{History: damaged(c.fault, c.event).h, Promise: async().Promise(), Rules: ask})
			require.Equal(t, c.want, got.Exit, "%s: %v", c.what, got.Anomalies)
			lie := slices.ContainsFunc(got.Anomalies, func(a judge.AnomalySummary) bool { return a.Class == checker.WeakAckLie })
			harmless := c.event != nil && c.event.Harm == histories.HarmNone || c.event == nil && c.fault != "wipe:leader"
			require.Equal(t, harmless && copies == 2, lie, c.what)
		}
	}
}

var lossOf11 = says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{{Class: checker.LostWrite, Values: []int64{11}, Witnesses: []int64{4, 9}, Explanation: "gone"}}}

// A run whose faults are told in fields is judged as one of format 1 that names them.
func TestFormat1IsJudgedTheSame(t *testing.T) {
	old := torn()
	h := slices.Clone(old.h)
	for i := range h {
		switch op := &h[i]; {
		case op.F == histories.Inject:
			op.Event = &histories.Event{Strike: 5, Harm: histories.HarmDisk}
		case op.F == histories.Heal:
			op.Event = &histories.Event{Strike: 5}
		case op.Fault == histories.NotePromote:
			op.Effect, op.Event = "", &histories.Event{Promote: &histories.Promote{Epoch: 2, Forced: true}}
		}
	}
	require.NoError(t, histories.Validate(h))
	first := judge.Judge(t.Context(), judge.Input{History: old.h, Promise: async().Promise(), Rules: everything})
	second := judge.Judge(t.Context(), judge.Input{History: h, Promise: async().Promise(), Rules: everything})
	require.NotEmpty(t, first.Anomalies)
	require.Equal(t, stripped(t, &first), stripped(t, &second))
}
