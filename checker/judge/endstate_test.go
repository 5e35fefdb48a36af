package judge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/availability"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/checker/internal/oracle"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/checker/linear"
	"github.com/assay-project/assay/checker/order"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/harness/target/reference/promise"
	"github.com/assay-project/assay/histories"
)

// everything is all checkers, as a promise has them judge.
func everything(t contract.Terms) judge.Rules {
	r := rules(
		delivery.New(), order.New(), replicas.New(replicas.Config{Copies: t.Copies}), linear.New(linear.Config{ReadsUnderLoad: t.LinearReads}),
		availability.New(availability.Config{Budget: 10 * time.Second}),
	)
	return r(t)
}

// losing is a promise that permits lost-write always, and nothing else.
func losing() contract.Promise {
	return contract.Promise{Groups: 1, Permits: func(contract.Facts) []contract.Permission {
		return []contract.Permission{{Span: contract.Always()[0], Class: checker.LostWrite, Rows: "X-1", Reason: "it may lose"}}
	}}
}

// chunk adds one chunk of a final read of partition 0, whose committed end is said to be hw.
func (b *book) chunk(process int, hw int64, values ...int64) {
	b.read(histories.Final, "n2", process, values...)
	b.h[len(b.h)-1].HW = hw
}

// cutShort is a history of 10, 11 and 12 at the offsets 0 to 2, of which all but 10 are lost. A
// final read saw 11 before it was gone, and never came to its end; the one that did has 10 alone.
// Before, a client had read them all.
func cutShort() *book {
	b := &book{}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	for i := range int64(3) {
		b.send(histories.OK, 10+i, i)
	}
	b.read(histories.Poll, "n1", 500, 10, 11, 12)
	b.nemesis(histories.Note, histories.NoteRecovery, "", "well after 1s")
	b.nemesis(histories.Note, histories.NoteLeader, "n2", "")
	b.chunk(1000, 3, 10, 11)
	b.chunk(1001, 1, 10)
	b.read(histories.Scan, "n1", 1002, 10)
	b.read(histories.Scan, "n2", 1003, 10)
	return b
}

// A message is lost where it is not in the end state, and what follows from its loss is permitted
// where it is not in the same end state: what only a read that never came to its end has returned
// is in neither.
func TestOneEndState(t *testing.T) {
	got := judge.Judge(t.Context(), judge.Input{History: cutShort().h, Promise: losing(), Rules: everything})
	lost, rolled := make(map[int64]bool), make(map[int64]bool)
	for _, a := range got.Report.Anomalies() {
		ok, why := got.Permits(&a)
		require.True(t, ok, "%s of %v: %s", a.Class, a.Values, a.Explanation)
		require.Contains(t, why, "it may lose")
		for _, v := range a.Values {
			lost[v] = lost[v] || a.Class == checker.LostWrite
			rolled[v] = rolled[v] || a.Class == checker.RolledBackRead
		}
	}
	require.Equal(t, map[int64]bool{11: true, 12: true}, lost)
	require.Equal(t, lost, rolled)
	require.Equal(t, judge.ExitPermitted, got.Exit)

	// Without the read that came to its end there is no end state, and nobody is accused of
	// anything.
	b := cutShort()
	b.h = slices.DeleteFunc(b.h, func(op histories.Op) bool { return op.Process == 1001 || op.F == histories.Scan })
	got = judge.Judge(t.Context(), judge.Input{History: b.renumbered(), Promise: losing(), Rules: everything})
	require.Equal(t, judge.ExitUnknown, got.Exit)
	require.Empty(t, got.Anomalies)
	require.Contains(t, got.Unknown, "no final read of partition 0")

	// And what is there in the end, whichever complete read has it, is not lost and excuses
	// nothing.
	b = cutShort()
	b.chunk(1004, 2, 10, 11)
	require.False(t, permitted11(b), "11 is there")
	require.True(t, permitted11(cutShort()))
}

func permitted11(b *book) bool {
	a := anomaly(checker.RolledBackRead, []int64{11}, []int64{1})
	return judged(judge.Input{History: b.h, Promise: losing()}, says{Anomalies: []checker.Anomaly{a}}).Anomalies[0].Permitted
}

// renumbered is the history after lines were taken out.
func (b *book) renumbered() histories.History {
	for i := range b.h {
		b.h[i].Index = int64(i)
	}
	return b.h
}

// Whatever a history looks like: of the acknowledged messages whose place is known, those that are
// reported as lost or unseen are those whose loss excuses.
func TestLostIsWhatExcuses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	gone, there, after := 0, 0, 0
	for range 3000 {
		h := oracle.Generate(r)
		view, err := logview.Build(t.Context(), h)
		require.NoError(t, err)
		var sends []logview.Send
		var asked []checker.Anomaly
		for i, s := range view.Sends {
			truth := view.Part(s.Part).Truth
			if s.Type != histories.OK || s.Offset == histories.Unset || !truth.Known {
				continue
			}
			if !view.InTruth(int32(i)) && s.Done > truth.Began {
				after++
			}
			sends = append(sends, s)
			asked = append(asked, checker.Anomaly{Class: checker.RolledBackRead, Part: s.Part, Values: []int64{s.Value}, Explanation: "x"})
		}
		got := judged(judge.Input{History: h, Promise: losing()}, says{Anomalies: asked}, delivery.New())
		lost := make(map[int64]bool)
		for _, a := range got.Report.Results[1].Result.Anomalies {
			if a.Class == checker.LostWrite || a.Class == checker.Unseen {
				for _, v := range a.Values {
					lost[v] = true
				}
			}
		}
		for i, s := range sends {
			ok, _ := got.Permits(&asked[i])
			require.Equal(t, lost[s.Value], ok, "message %d of\n%s", s.Value, text(h))
			if ok {
				gone++
			} else {
				there++
			}
		}
	}
	require.Greater(t, gone, 1000)
	require.Greater(t, there, 1000)
	require.Greater(t, after, 100, "acknowledged after the final read began")
}

func text(h histories.History) string {
	var b []byte
	for i := range h {
		b = append(histories.AppendOp(b, &h[i]), '\n')
	}
	return string(b)
}

// watching is a checker that keeps the view that it judges by.
type watching struct{ saw *[]*logview.View }

func (watching) Name() string { return "watching" }

func (w watching) Check(ctx context.Context, h histories.Reader) checker.Result {
	v, err := logview.Build(ctx, h)
	if err != nil {
		panic(err)
	}
	*w.saw = append(*w.saw, v)
	return checker.Result{Verdict: checker.Valid}
}

// counted counts how often a history is read.
type counted struct {
	histories.Reader
	reads int
}

func (c *counted) Ops() iter.Seq[*histories.Op] {
	c.reads++
	return c.Reader.Ops()
}

// All checkers of a judgement share one view, and so one end state; it is built once.
func TestOneView(t *testing.T) {
	var saw []*logview.View
	h := &counted{Reader: torn().h}
	judged(judge.Input{History: h, Promise: losing()}, watching{&saw}, watching{&saw}, delivery.New(), order.New(), replicas.New(replicas.Config{}))
	require.Len(t, saw, 2)
	require.Same(t, saw[0], saw[1])
	require.LessOrEqual(t, h.reads, 3, "for the view, the evidence and the times of the witnesses")
}

// stripped is all that is said in a judgement, but for how long it took.
func stripped(t *testing.T, j *judge.Judgement) string {
	t.Helper()
	permits := make([]string, 0)
	for _, a := range j.Report.Anomalies() {
		_, why := j.Permits(&a)
		permits = append(permits, why)
	}
	for i := range j.Report.Results {
		j.Report.Results[i].Took = 0
	}
	j.CheckTime = 0
	var s judge.Summary
	j.Fill(&s)
	all, err := json.MarshalIndent([]any{j, s, j.Contract.Permissions(), permits}, "", " ")
	require.NoError(t, err)
	return string(all)
}

// corpus are the recorded histories, by their paths.
func corpus(t *testing.T) map[string]histories.History {
	t.Helper()
	files, err := filepath.Glob("../../histories/corpus/*/*.jsonl")
	require.NoError(t, err)
	require.Greater(t, len(files), 30)
	all := make(map[string]histories.History)
	for _, path := range files {
		all[path], _, err = histories.ReadFile(path)
		require.NoError(t, err)
	}
	return all
}

// lacking is a history that lacks much: scans of eight nodes, and faults that did nothing.
func lacking() *book {
	b := &book{}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2,n3,n4,n5,n6,n7,n8", "led by n1 at epoch 1")
	for _, fault := range []string{"kill", "slow", "loss", "pause:leader"} {
		b.nemesis(histories.Inject, fault, "n1", "")
		b.nemesis(histories.Heal, fault, "n1", "")
	}
	for part := range int32(5) {
		b.send(histories.OK, int64(10+part), 0)
		b.h[len(b.h)-1].Part, b.h[len(b.h)-2].Part = part, part
	}
	return b
}

// The same history is judged the same, byte for byte.
func TestJudgedTwice(t *testing.T) {
	two := async()
	two.Replication, two.Copies = promise.Sync, 2
	promises := []contract.Promise{{}, async().Promise(), two.Promise(), losing()}
	all := corpus(t)
	all["torn"], all["cut short"], all["lacking"] = torn().h, cutShort().h, lacking().h
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 40 {
		all[fmt.Sprint("generated ", i)] = oracle.Generate(r)
	}
	exits := make(map[int]int)
	for name, h := range all {
		for _, p := range promises {
			first := judge.Judge(t.Context(), judge.Input{History: h, Promise: p, Rules: everything})
			exits[first.Exit]++
			want := stripped(t, &first)
			for range 4 {
				again := judge.Judge(t.Context(), judge.Input{History: h, Promise: p, Rules: everything})
				require.Equal(t, want, stripped(t, &again), name)
			}
		}
	}
	for _, exit := range []int{judge.ExitValid, judge.ExitUnknown, judge.ExitInvalid, judge.ExitPermitted} {
		require.Positive(t, exits[exit], "%s: %v", judge.VerdictName(exit), exits)
	}
}

// A history that is read from its file is judged as one in memory.
func TestJudgedFromItsFile(t *testing.T) {
	for path, h := range corpus(t) {
		streamed, err := histories.OpenFile(path)
		require.NoError(t, err)
		first := judge.Judge(t.Context(), judge.Input{History: h, Promise: losing(), Rules: everything})
		second := judge.Judge(t.Context(), judge.Input{History: streamed, Promise: losing(), Rules: everything})
		require.NoError(t, streamed.Err())
		require.Equal(t, stripped(t, &first), stripped(t, &second), path)
	}
}
