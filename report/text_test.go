package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

// update rewrites the golden texts: go test ./report -update
var update = flag.Bool("update", false, "rewrite testdata/*.golden")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestTextGolden(t *testing.T) {
	valid := func() *Document {
		d := permitted()
		d.Summary.Verdict, d.Summary.Exit, d.Summary.Anomalies, d.Findings = "valid", 0, nil, nil
		d.Removed = true
		return d
	}
	unknown := func() *Document {
		d := valid()
		d.Removed = false
		d.Summary.Verdict, d.Summary.Exit, d.Summary.Interrupted = "unknown", 2, true
		d.Summary.Unknown = []string{"fault promote of n2 had no effect", "linear: out of time after 30s"}
		d.Summary.Faults = append(d.Summary.Faults, judge.FaultRecord{Name: "promote", Target: "one", Nodes: []string{"n2"}, AtMS: 3000, Err: "no answer"})
		d.Warnings = []string{"line 15 has no newline: 20 bytes of an unfinished write are left out"}
		return d
	}
	invalid := func() *Document {
		d := permitted()
		d.Summary.Verdict, d.Summary.Exit = "invalid", 3
		d.Summary.Anomalies[0].Permitted, d.Summary.Anomalies[0].Count = false, 1234
		d.Findings[0].Permitted, d.Findings[0].Why = false, "replication=sync keeps what it acknowledged while one copy lives (VMS-03)"
		return d
	}
	failed := &Document{Summary: judge.Summary{Verdict: "error", Exit: 1, Unknown: []string{"n2 did not start: address in use"}, Reproduce: "assay run --seed 1"}}
	st := Measure(small())
	for name, c := range map[string]struct {
		d  *Document
		st *Stats
	}{
		"permitted": {permitted(), &st}, "valid": {valid(), &st}, "unknown": {unknown(), &st}, "invalid": {invalid(), &st}, "error": {failed, &Stats{}},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			require.NoError(t, Text(&b, c.d, c.st, Terminal{}))
			golden(t, name, b.String())
			lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
			require.Equal(t, c.d.Summary.Reproduce, lines[len(lines)-1], "the last line runs the experiment again")
			require.True(t, strings.HasPrefix(lines[0], strings.ToUpper(c.d.Summary.Verdict)), "the verdict comes first")
		})
	}
}

// TestTextFitsTheTerminal: no line of a summary is longer than the terminal is wide, but the
// command, which is copied as it is.
func TestTextFitsTheTerminal(t *testing.T) {
	d := permitted()
	d.Summary.Faults[0].Effect = "n1 killed, its disk with 813,502 bytes in 2 files deleted; then group 0 promoted: epoch 11, leader n2, forced"
	d.Warnings = []string{strings.Repeat("word ", 60)}
	st := Measure(small())
	for _, width := range []int{80, 100, 120} {
		var b strings.Builder
		require.NoError(t, Text(&b, d, &st, Terminal{Width: width}))
		require.NoError(t, AnomalyText(&b, d, small(), 1, Terminal{Width: width}))
		life, err := Life(small(), 4)
		require.NoError(t, err)
		require.NoError(t, life.Text(&b, Terminal{Width: width}))
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, len(strings.TrimRight(line, "\n")), width, line)
		}
		require.Contains(t, b.String(), "forced", "nothing is cut")
	}
	var b strings.Builder
	require.NoError(t, AnomalyText(&b, permitted(), small(), 1, Terminal{}))
	require.Contains(t, b.String(), "p1 final partition 0 from offset 0 at n2: ok, 1 message, offsets 0 to 0 [0:5], committed 1\n", "an op is one line in a pipe")
}

// TestUnhealedFaults: a fault that the end of the run caught lasts to the end, and its effect is
// not none but not known.
func TestUnhealedFaults(t *testing.T) {
	f := judge.FaultRecord{Name: "kill", Nodes: []string{"n1"}, AtMS: 1000, HealedMS: -1}
	require.Equal(t, "to the end", lasted(&f))
	require.Contains(t, effectText(&f), "not known")
	b := faultLanes([]judge.FaultRecord{f}, 4*time.Second)[0][0]
	require.False(t, b.Instant)
	require.InDelta(t, 75, b.Width, 0.1)
	f.HealedMS = 1000
	require.Equal(t, "-", lasted(&f))
	require.Equal(t, "none", effectText(&f))
	require.True(t, faultLanes([]judge.FaultRecord{f}, 4*time.Second)[0][0].Instant)
}

// TestReadsShowWhatIsInTheMessagesPlace: a long read that misses a message shows what it has
// instead, and not its beginning.
func TestReadsShowWhatIsInTheMessagesPlace(t *testing.T) {
	op := histories.New(histories.OK, 1, histories.Final)
	op.From, op.HW = 0, 100
	for o := range int64(100) {
		if o != 50 {
			op.Msgs = append(op.Msgs, histories.Message{Offset: o, Value: 1000 + o})
		}
	}
	require.Contains(t, describe(&op, subject{value: 1070, offset: 70}), "[... 67:1067 68:1068 69:1069 *70:1070* 71:1071 72:1072 ...]")
	require.Contains(t, describe(&op, subject{value: 7, offset: 50}), "[... 47:1047 48:1048 49:1049 51:1051 52:1052 53:1053 ...]")
	require.Contains(t, describe(&op, subject{value: 7, offset: 99}), "[... 94:1094 95:1095 96:1096 97:1097 98:1098 99:1099]")
	require.Contains(t, describe(&op, subject{value: 7, offset: histories.Unset}), "[0:1000 1:1001")
	require.Contains(t, describe(&op, subject{value: 7, offset: 100}), "94:1094", "beyond its end: its last ones")
}

func TestTextColours(t *testing.T) {
	var plain, colour strings.Builder
	st := Measure(small())
	require.NoError(t, Text(&plain, permitted(), &st, Terminal{}))
	require.NoError(t, Text(&colour, permitted(), &st, Terminal{Color: true}))
	require.NotContains(t, plain.String(), "\x1b")
	require.Contains(t, colour.String(), "\x1b[1;33mPERMITTED\x1b[0m")
}

// TestTextCannotSteerTheTerminal: what a broker answers is shown, but its control characters are
// not.
func TestTextCannotSteerTheTerminal(t *testing.T) {
	d := permitted()
	d.Summary.Anomalies[0].Explanation = "evil \x1b]0;title\x07 \u009b31m"
	d.Summary.Faults[0].Effect = "evil \x1b[2J"
	h := small()
	h[6].Err = "evil \x1b[2J"
	d.Findings[0].Witnesses = []int64{6}
	d.Findings[0].Explanation = d.Summary.Anomalies[0].Explanation
	st := Measure(h)
	var b strings.Builder
	require.NoError(t, Text(&b, d, &st, Terminal{}))
	require.NoError(t, AnomalyText(&b, d, h, 1, Terminal{}))
	life, err := Life(h, 6)
	require.NoError(t, err)
	require.NoError(t, life.Text(&b, Terminal{}))
	require.NotContains(t, b.String(), "\x1b")
	require.NotContains(t, b.String(), "\u009b")
	require.Contains(t, b.String(), "evil")
}

func TestSeedsTextGolden(t *testing.T) {
	s := judge.Summary{
		Seed: 7, Verdict: "invalid", Exit: 3, Ops: histories.OpCounts{OK: 12000, Info: 3}, Reproduce: "assay run --seed 7 --seeds 3", VirtualMS: 180000, WallMS: 2500,
		Env: "sim", Anomalies: []judge.AnomalySummary{{Class: checker.Phantom, Count: 2, Explanation: "message 9 was never sent"}},
		Seeds: []judge.SeedSummary{
			{Seed: 7, Verdict: "valid"},
			{Seed: 8, Verdict: "invalid", Run: "runs/r8", Anomalies: []checker.Class{checker.Phantom, checker.Unseen}},
			{Seed: 9, Verdict: "unknown", Run: "runs/r9"},
		},
	}
	var b strings.Builder
	require.NoError(t, SeedsText(&b, &s, Terminal{}))
	golden(t, "seeds", b.String())
}

func TestAnomalyTextGolden(t *testing.T) {
	var b strings.Builder
	require.NoError(t, AnomalyText(&b, permitted(), small(), 1, Terminal{}))
	golden(t, "anomaly", b.String())
	require.ErrorContains(t, AnomalyText(&b, permitted(), small(), 2, Terminal{}), "1 to 1")
	require.ErrorContains(t, AnomalyText(&b, permitted(), small(), 0, Terminal{}), "1 to 1")
	require.ErrorContains(t, AnomalyText(&b, &Document{}, small(), 1, Terminal{}), "has none")
}

func TestLifeGolden(t *testing.T) {
	for value, name := range map[int64]string{4: "life-lost", 5: "life-kept", 6: "life-open"} {
		life, err := Life(small(), value)
		require.NoError(t, err)
		var b strings.Builder
		require.NoError(t, life.Text(&b, Terminal{}))
		golden(t, name, b.String())
	}
	for _, value := range []int64{99, histories.Unset} {
		_, err := Life(small(), value)
		require.ErrorIs(t, err, ErrNoMessage)
	}
}

func TestLifeJudgement(t *testing.T) {
	for value, want := range map[int64]string{4: "lost: acknowledged", 5: "acknowledged; the final read has it", 6: "its fate unknown"} {
		life, err := Life(small(), value)
		require.NoError(t, err)
		require.Contains(t, life.Judgement, want)
	}
}

// TestLifeFindsBatches: a value inside a batch has a life too.
func TestLifeFindsBatches(t *testing.T) {
	h := histories.History{histories.New(histories.Invoke, 0, histories.Send), histories.New(histories.OK, 0, histories.Send)}
	h[0].Msgs = []histories.Message{{Offset: -1, Value: 1}, {Offset: -1, Value: 2}}
	h[1].Msgs = []histories.Message{{Offset: 7, Value: 1}, {Offset: 8, Value: 2}}
	h[1].Index, h[1].Time = 1, 1000
	life, err := Life(h, 2)
	require.NoError(t, err)
	require.Equal(t, int64(8), life.Offset)
	require.Len(t, life.Lines, 2)
	var b strings.Builder
	require.NoError(t, life.Text(&b, Terminal{}))
	require.Contains(t, b.String(), "send 1,2 to partition 0: ok at offsets 7 to 8")
	_, err = Life(h, histories.Unset)
	require.ErrorIs(t, err, ErrNoMessage, "a batch has no single value")
}

// TestLifeTellsUnseenFromLost: what is on the leader's disk is not lost, whatever the final read
// returned.
func TestLifeTellsUnseenFromLost(t *testing.T) {
	for leader, want := range map[string]string{
		"n1": "unseen: acknowledged; the final read does not have it; on the disk of n1 (n1 leads); not on the disk of n2.",
		"n2": "lost: acknowledged; the final read does not have it; on the disk of n1; not on the disk of n2.",
	} {
		b := histtest.New()
		b.Batch(1, 0, 10, 11).OK(0)
		b.Leader(0, leader)
		b.Whole(0, 10)
		b.Replica("n1", 0, 10, 11)
		b.Replica("n2", 0, 10)
		life, err := Life(b.History(), 11)
		require.NoError(t, err)
		require.Equal(t, want, life.Judgement)
	}
}

// TestLifeKnowsOneEndState: a message that only a read returned which did not come to its end is as
// lost here as in the verdict.
func TestLifeKnowsOneEndState(t *testing.T) {
	short := func(b *histtest.Builder) {
		b.Batch(1, 0, 10, 11).OK(0)
		b.Leader(0, "n1")
		b.Final(5, 0, 0).OK(3, histtest.Msgs(0, 10, 11)...) // the end is 3
	}
	b := histtest.New()
	short(b)
	life, err := Life(b.History(), 11)
	require.NoError(t, err)
	require.Equal(t, "acknowledged; no final read came to its end.", life.Judgement)

	b = histtest.New()
	short(b)
	b.Whole(0, 10)
	life, err = Life(b.History(), 11)
	require.NoError(t, err)
	require.Equal(t, "lost: acknowledged; the final read does not have it.", life.Judgement)
}

func TestMeasure(t *testing.T) {
	st := Measure(small())
	require.Equal(t, "send", st.Functions[0].F)
	require.Equal(t, histories.OpCounts{OK: 2, Info: 1}, st.Functions[0].Ops)
	require.InDelta(t, float64(20*time.Millisecond), float64(st.Functions[0].Latency.Max), float64(50*time.Microsecond))
	require.Equal(t, []string{"send", "poll", "final", "scan"}, []string{st.Functions[0].F, st.Functions[1].F, st.Functions[2].F, st.Functions[3].F})
	require.Equal(t, Gap{From: 102 * time.Millisecond, To: 3020 * time.Millisecond}, st.Functions[0].Gap)
	require.Equal(t, 100*time.Millisecond, st.LoadFrom)
	require.Equal(t, 3020*time.Millisecond, st.LoadTo)
	require.Equal(t, int64(1), st.Seconds[2].Ops.Info)
	require.Equal(t, 20*time.Millisecond, st.Seconds[3].P99)
	require.Empty(t, Measure(histories.History{}).Functions)
}

// TestMeasureGapAtTheEnd: no ok until the load ends is a gap too, as is a load without any ok.
func TestMeasureGapAtTheEnd(t *testing.T) {
	h := histories.History{histories.New(histories.Invoke, 0, histories.Send), histories.New(histories.Fail, 0, histories.Send)}
	h[1].Index, h[1].Time = 1, int64(9*time.Second)
	st := Measure(h)
	require.Equal(t, 9*time.Second, st.Functions[0].Gap.Length())
	open := h[:1]
	require.Equal(t, histories.OpCounts{Info: 1}, Measure(open).Functions[0].Ops)
}

// The life of a value of another workload: who wrote it, who read it, and whether it is there in
// the end.
func TestLifeOfAnyWorkload(t *testing.T) {
	var h histories.History
	add := func(f string, typ histories.Type, process int, set func(*histories.Op)) {
		op := histories.New(typ, process, f)
		set(&op)
		op.Index, op.Time = int64(len(h)), int64(len(h))*int64(time.Second)
		h = append(h, op)
	}
	seven := func(op *histories.Op) { op.Value = 7 }
	swap := func(op *histories.Op) { op.From, op.Value = 3, 7 }
	unset := func(*histories.Op) {}
	add("cas", histories.Invoke, 0, swap)
	add("cas", histories.OK, 0, swap)
	add("read", histories.Invoke, 1, unset)
	add("read", histories.OK, 1, seven)
	h = append(h, histories.NewNote(histories.NoteRecovery))
	h[4].Index = 4
	add("read", histories.Invoke, 2, unset)
	add("read", histories.OK, 2, seven)
	l, err := Life(h, 7)
	require.NoError(t, err)
	require.Len(t, l.Lines, 5)
	require.Equal(t, "acknowledged; the final read has it; 1 read under load saw it.", l.Judgement)
	require.Equal(t, "p0 cas partition 0, from 3, value 7: ok", describe(&h[1], subject{7, histories.Unset}))
}

// What was read after the recovery is none of the load, whatever the workload calls it.
func TestMeasureLoadOfAnyWorkload(t *testing.T) {
	var h histories.History
	add := func(at time.Duration, op histories.Op) {
		op.Index, op.Time = int64(len(h)), int64(at)
		h = append(h, op)
	}
	read := func(f string, at time.Duration) {
		add(at, histories.New(histories.Invoke, 0, f))
		add(at+time.Millisecond, histories.New(histories.OK, 0, f))
	}
	read("read", time.Second)
	read("read", 2*time.Second)
	add(20*time.Second, histories.NewNote(histories.NoteRecovery))
	read("last-read", 21*time.Second)
	read("read", 22*time.Second)
	st := Measure(h)
	require.Equal(t, 2*time.Second+time.Millisecond, st.LoadTo)
	require.Len(t, st.Seconds, 3)
	require.Equal(t, "last-read", st.Functions[0].F)
	require.Zero(t, st.Functions[0].Gap)
	require.Equal(t, histories.OpCounts{OK: 3}, st.Functions[1].Ops)
	require.Equal(t, time.Second, st.Functions[1].Gap.Length())
}

func TestFormats(t *testing.T) {
	require.Equal(t, "-1,234,567", group(-1234567))
	require.Equal(t, "999", group(999))
	require.Equal(t, "1 fault", count(1, "fault"))
	require.Equal(t, "0 faults", count(0, "fault"))
	for d, want := range map[time.Duration]string{
		850 * time.Microsecond: "850 us", 1234 * time.Microsecond: "1.23 ms", 45678 * time.Microsecond: "45.7 ms", 456 * time.Millisecond: "456 ms",
		1500 * time.Millisecond: "1.50 s", 61 * time.Second: "61.0 s",
	} {
		require.Equal(t, want, latency(d))
	}
	require.Equal(t, []string{"ab cd", "efghijkl"}, wrap("ab  cd efghijkl", 6))
	require.Empty(t, wrap("", 6))
}

func TestCharts(t *testing.T) {
	require.Equal(t, int64(1), niceStep(1))
	require.Equal(t, int64(50), niceStep(210))
	require.Len(t, timeTicks(time.Minute), 7)
	require.LessOrEqual(t, len(timeTicks(24*time.Hour)), 9)
	h, faults := busy()
	st := Measure(h)
	lanes := faultLanes(faults, st.End)
	require.Len(t, lanes, 2, "the promotes strike inside the lasting faults, so they have a lane of their own")
	for _, l := range latencyChart(h, &st).Layers {
		require.NotContains(t, l.Path, "NaN")
	}
	lo, hi := decades(histories.History{})
	require.Less(t, lo, hi)
}

// TestLifeReadsInChunks: a chunk of a final read that ends before the message has not missed it.
func TestLifeReadsInChunks(t *testing.T) {
	h := histories.History{histories.New(histories.Invoke, 0, histories.Send), histories.New(histories.OK, 0, histories.Send)}
	h[0].Value, h[1].Value, h[1].Offset = 9, 9, 7
	final := func(from, to, hw int64) {
		inv := histories.New(histories.Invoke, 1, histories.Final)
		done := histories.New(histories.OK, 1, histories.Final)
		inv.From, done.From, done.HW = from, from, hw
		for o := from; o < to; o++ {
			done.Msgs = append(done.Msgs, histories.Message{Offset: o, Value: 100 + o})
		}
		h = append(h, inv, done)
	}
	final(0, 5, 10)
	final(5, 7, 10)
	for i := range h {
		h[i].Index = int64(i)
	}
	life, err := Life(h, 9)
	require.NoError(t, err)
	require.Len(t, life.Lines, 2)
	final(5, 8, 10) // another message at offset 7
	final(8, 10, 10)
	for i := range h {
		h[i].Index = int64(i)
	}
	life, err = Life(h, 9)
	require.NoError(t, err)
	require.Contains(t, life.Judgement, "lost: acknowledged")
	require.True(t, life.Lines[2].Missed)
	var b strings.Builder
	require.NoError(t, life.Text(&b, Terminal{}))
	require.Contains(t, b.String(), " - without it, message 107 is at its offset\n")
}

// TestEventsAreToldInWords: what a history says in fields is for judges; people read the same words
// as in one of format 1.
func TestEventsAreToldInWords(t *testing.T) {
	told := func(fields bool) string {
		b := histtest.New()
		b.Send(1, 0, 10).OK(0)
		for _, op := range []histories.Op{
			histories.NewInject("wipe:leader", histories.Event{Strike: 3, Harm: histories.HarmDisk}, "n1"),
			histories.NewPromoteNote(0, "n2", histories.Promote{Epoch: 2, Safe: true}),
			histories.NewHeal("wipe:leader", 3, "n1"),
		} {
			if !fields {
				op.Event = nil
			}
			b.Did(op)
		}
		b.Whole(0, 10)
		life, err := Life(b.History(), 10)
		require.NoError(t, err)
		var text strings.Builder
		require.NoError(t, life.Text(&text, Terminal{}))
		d := &Document{Findings: []Finding{{Anomaly: checker.Anomaly{Witnesses: []int64{0, 6}}}}, Summary: judge.Summary{Anomalies: []judge.AnomalySummary{{}}}}
		require.NoError(t, AnomalyText(&text, d, b.History(), 1, Terminal{}))
		return text.String()
	}
	require.Equal(t, told(false), told(true))
	for _, line := range []string{"fault wipe:leader n1", "note promote n2: epoch 2, leader n2, safe", "healed wipe:leader n1"} {
		require.Contains(t, told(true), line)
	}
}
