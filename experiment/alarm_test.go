package experiment

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// forged is a copy of a recorded history to be falsified.
type forged struct {
	t *testing.T
	h histories.History
}

// find returns the index of the first op at or after from that is so.
func (f *forged) find(from int, is func(op *histories.Op) bool) int {
	for i := from; i < len(f.h); i++ {
		if is(&f.h[i]) {
			return i
		}
	}
	f.t.Fatal("the recorded history has no such op")
	return -1
}

func (f *forged) each(fs []string, do func(op *histories.Op)) {
	for i := range f.h {
		if op := &f.h[i]; slices.Contains(fs, op.F) {
			op.Msgs = slices.Clone(op.Msgs)
			do(op)
		}
	}
}

func acked(op *histories.Op) bool { return op.F == histories.Send && op.Type == histories.OK }

// victim is an acknowledged message from the middle of the run.
func (f *forged) victim() *histories.Op { return &f.h[f.find(len(f.h)/2, acked)] }

// poll returns the first poll from the middle of the run that is so.
func (f *forged) poll(is func(op *histories.Op) bool) *histories.Op {
	i := f.find(len(f.h)/3, func(op *histories.Op) bool { return op.F == histories.Poll && op.Type == histories.OK && is(op) })
	f.h[i].Msgs = slices.Clone(f.h[i].Msgs)
	return &f.h[i]
}

// remove takes a message out of the reads that is allows.
func (f *forged) remove(value int64, is func(op *histories.Op) bool, fs ...string) {
	f.each(fs, func(op *histories.Op) {
		if is(op) {
			op.Msgs = slices.DeleteFunc(op.Msgs, func(m histories.Message) bool { return m.Value == value })
		}
	})
}

// extend puts a message at the end of the final read of a partition.
func (f *forged) extend(part int32, value int64) {
	i := f.find(0, func(op *histories.Op) bool {
		return op.F == histories.Final && op.Type == histories.OK && op.Part == part
	})
	op := &f.h[i]
	op.Msgs = append(slices.Clone(op.Msgs), histories.Message{Offset: op.HW, Value: value})
	op.HW++
}

// leader returns who leads in the end.
func (f *forged) leader() string {
	return f.h[f.find(0, func(op *histories.Op) bool { return op.F == histories.Note && op.Fault == histories.NoteLeader })].Node
}

// open turns a completion into one that says nothing, and lets another process go on in its place.
func (f *forged) open(i int) {
	p := f.h[i].Process
	f.h[i].Type, f.h[i].Offset, f.h[i].Err = histories.Info, histories.Unset, "forged"
	for j := i + 1; j < len(f.h); j++ {
		if f.h[j].Process == p {
			f.h[j].Process += 1_000_000
		}
	}
}

func always(*histories.Op) bool { return true }

// forgeries falsify a history that is valid, each so that one class of anomaly must be found. They
// return the message that it is about, -1 for none.
var forgeries = []struct {
	name  string
	class checker.Class
	forge func(f *forged) int64
}{
	{"a message missing from the final read and from every disk", checker.LostWrite, func(f *forged) int64 {
		v := f.victim().Value
		f.remove(v, always, histories.Final, histories.Scan)
		return v
	}},
	{"a message missing from the final read, though the leader has it", checker.Unseen, func(f *forged) int64 {
		v := f.victim().Value
		f.remove(v, always, histories.Final)
		return v
	}},
	{"a message twice", checker.Duplicate, func(f *forged) int64 {
		v := f.victim()
		f.extend(v.Part, v.Value)
		return v.Value
	}},
	{"a value that nobody sent", checker.Phantom, func(f *forged) int64 {
		f.extend(0, 4711)
		return 4711
	}},
	{"a value that was sent to another partition", checker.Phantom, func(f *forged) int64 {
		v := f.victim()
		f.remove(v.Value, always, histories.Poll, histories.Final, histories.Scan)
		f.extend((v.Part+1)%3, v.Value)
		return v.Value
	}},
	{"a message whose sender was told that it failed", checker.AbortedRead, func(f *forged) int64 {
		v := f.victim()
		v.Type, v.Offset, v.Err = histories.Fail, histories.Unset, "forged"
		return v.Value
	}},
	{"two messages that changed places in one poll", checker.InconsistentOffsets, func(f *forged) int64 {
		m := f.poll(func(op *histories.Op) bool { return len(op.Msgs) >= 2 }).Msgs
		m[0].Value, m[1].Value = m[1].Value, m[0].Value
		return m[0].Value
	}},
	{"an acknowledgement with another offset", checker.InconsistentOffsets, func(f *forged) int64 {
		v := f.victim()
		v.Offset--
		return v.Value
	}},
	{"two acknowledgements of a process in the wrong order", checker.NonmonotonicSend, func(f *forged) int64 {
		v := f.victim()
		i := f.find(int(v.Index)+1, func(op *histories.Op) bool { return acked(op) && op.Process == v.Process && op.Part == v.Part })
		v.Offset, f.h[i].Offset = f.h[i].Offset, v.Offset
		return v.Value
	}},
	{"a poll that goes back", checker.NonmonotonicPoll, func(f *forged) int64 {
		m := f.poll(func(op *histories.Op) bool { return len(op.Msgs) >= 2 }).Msgs
		m[0], m[1] = m[1], m[0]
		return -1
	}},
	{"a poll that leaves one out", checker.PollSkip, func(f *forged) int64 {
		op := f.poll(func(op *histories.Op) bool { return len(op.Msgs) >= 3 })
		v := op.Msgs[1].Value
		op.Msgs = slices.Delete(op.Msgs, 1, 2)
		return v
	}},
	{"a poll that does not reach what had long been acknowledged", checker.StaleRead, func(f *forged) int64 {
		op := f.poll(func(op *histories.Op) bool {
			n := len(op.Msgs)
			return n >= 2 && op.Msgs[n-1].Offset+1 == op.HW && f.ackedBefore(op.Msgs[n-1].Value, op)
		})
		last := op.Msgs[len(op.Msgs)-1]
		op.Msgs, op.HW = op.Msgs[:len(op.Msgs)-1], last.Offset
		return last.Value
	}},
	{"a message read, by nobody acknowledged, and gone", checker.RolledBackRead, func(f *forged) int64 {
		op := f.poll(func(op *histories.Op) bool { return len(op.Msgs) >= 1 })
		v := op.Msgs[0].Value
		f.open(f.find(0, func(op *histories.Op) bool { return acked(op) && op.Value == v }))
		f.remove(v, always, histories.Final, histories.Scan)
		return v
	}},
	{"a message read before it was sent", checker.Nonlinearizable, func(f *forged) int64 {
		op := f.poll(func(op *histories.Op) bool { return len(op.Msgs) >= 1 && op.Msgs[len(op.Msgs)-1].Offset+1 == op.HW })
		i := f.find(int(op.Index), func(s *histories.Op) bool { return acked(s) && s.Part == op.Part && s.Offset == op.HW })
		op.Msgs = append(op.Msgs, histories.Message{Offset: op.HW, Value: f.h[i].Value})
		op.HW++
		f.find(int(op.Index), func(s *histories.Op) bool { return s.Type == histories.Invoke && s.Value == f.h[i].Value })
		return f.h[i].Value
	}},
	{"two messages that changed places on one disk", checker.ReplicaDivergence, func(f *forged) int64 {
		leader := f.leader()
		i := f.find(0, func(op *histories.Op) bool {
			return op.F == histories.Scan && op.Type == histories.OK && op.Node != leader
		})
		m := slices.Clone(f.h[i].Msgs)
		m[3].Value, m[4].Value = m[4].Value, m[3].Value
		f.h[i].Msgs = m
		return m[3].Value
	}},
	{"a hole on one disk", checker.ReplicaDivergence, func(f *forged) int64 {
		v, leader, once := f.victim().Value, f.leader(), ""
		f.remove(v, func(op *histories.Op) bool {
			if once == "" && op.Node != leader {
				once = op.Node
			}
			return op.Node == once
		}, histories.Scan)
		return v
	}},
	{"a hole on the leader's disk, of a message that nobody acknowledged", checker.ReplicaDivergence, func(f *forged) int64 {
		v, leader := f.victim(), f.leader()
		value := v.Value
		f.open(int(v.Index))
		f.remove(value, always, histories.Poll, histories.Final)
		f.remove(value, func(op *histories.Op) bool { return op.Node == leader }, histories.Scan)
		return value
	}},
	{"a log that ends before its leader's, of messages that enough others hold", checker.ReplicaDivergence, func(f *forged) int64 {
		v, leader := f.victim().Value, f.leader()
		i := f.find(0, func(op *histories.Op) bool {
			return op.F == histories.Scan && op.Type == histories.OK && op.Node != leader &&
				slices.ContainsFunc(op.Msgs, func(m histories.Message) bool { return m.Value == v })
		})
		op := &f.h[i]
		at := slices.IndexFunc(op.Msgs, func(m histories.Message) bool { return m.Value == v })
		op.Msgs, op.HW = op.Msgs[:at], op.Msgs[at].Offset
		return v
	}},
	{"a damaged message on one disk", checker.Phantom, func(f *forged) int64 {
		leader := f.leader()
		i := f.find(0, func(op *histories.Op) bool {
			return op.F == histories.Scan && op.Type == histories.OK && op.Node != leader
		})
		f.h[i].Msgs = slices.Clone(f.h[i].Msgs)
		f.h[i].Msgs[2].Value = -12345
		return -1
	}},
	{"the final reads of two partitions exchanged", checker.Unseen, func(f *forged) int64 {
		final := func(part int32) *histories.Op {
			return &f.h[f.find(0, func(op *histories.Op) bool {
				return op.F == histories.Final && op.Type == histories.OK && op.Part == part
			})]
		}
		a, b := final(0), final(1)
		a.Msgs, b.Msgs, a.HW, b.HW = b.Msgs, a.Msgs, b.HW, a.HW
		return -1
	}},
	{"the end of a log gone everywhere, and the committed end with it", checker.LostWrite, func(f *forged) int64 {
		v := int64(-1)
		f.each([]string{histories.Final, histories.Scan}, func(op *histories.Op) {
			if n := len(op.Msgs); n > 0 && op.Part == 0 {
				v, op.HW = op.Msgs[n-1].Value, op.HW-1
				op.Msgs = op.Msgs[:n-1]
			}
		})
		return v
	}},
	{"a message on the leader's disk alone", checker.WeakAckLie, func(f *forged) int64 {
		v, leader := f.victim().Value, f.leader()
		f.remove(v, func(op *histories.Op) bool { return op.Node != leader }, histories.Scan)
		return v
	}},
	{"a cluster that did not come back", checker.Stall, func(f *forged) int64 {
		i := f.find(0, func(op *histories.Op) bool { return op.F == histories.Note && op.Fault == histories.NoteRecovery })
		f.h[i].Effect, f.h[i].Err = "", "n2 has not caught up"
		return -1
	}},
}

// ackedBefore reports whether a value was acknowledged before the invocation of op.
func (f *forged) ackedBefore(value int64, op *histories.Op) bool {
	for i := int(op.Index) - 1; i >= 0; i-- {
		if f.h[i].Process == op.Process { // its invocation
			return slices.ContainsFunc(f.h[:i], func(s histories.Op) bool { return acked(&s) && s.Value == value })
		}
	}
	return false
}

// blanks take away what a verdict rests on: what is left proves nothing.
var blanks = []struct {
	name, why string
	blank     func(f *forged)
}{
	{"no acknowledgement", "no send was acknowledged", func(f *forged) {
		for i := range f.h {
			if acked(&f.h[i]) {
				f.open(i)
			}
		}
	}},
	{"no final read and no scan", "no final read", func(f *forged) {
		f.h = slices.DeleteFunc(f.h, func(op histories.Op) bool { return op.F == histories.Final || op.F == histories.Scan })
	}},
	{"a final read that stopped early, without scans", "no final read of partition 1", func(f *forged) {
		f.h = slices.DeleteFunc(f.h, func(op histories.Op) bool { return op.F == histories.Scan })
		f.each([]string{histories.Final}, func(op *histories.Op) {
			if op.Part == 1 && op.Type == histories.OK {
				op.Msgs = op.Msgs[:len(op.Msgs)-1]
			}
		})
	}},
	{"final reads that failed", "only the scan of its leader", func(f *forged) {
		f.each([]string{histories.Final}, func(op *histories.Op) {
			if op.Type == histories.OK {
				op.Type, op.Msgs, op.HW, op.Err = histories.Fail, nil, histories.Unset, "forged"
			}
		})
	}},
	{"no scans", "scan", func(f *forged) {
		f.h = slices.DeleteFunc(f.h, func(op histories.Op) bool { return op.F == histories.Scan })
	}},
	{"no scans, and no word of who has replicas", "no note says", func(f *forged) {
		f.h = slices.DeleteFunc(f.h, func(op histories.Op) bool { return op.F == histories.Scan || op.Fault == histories.NoteGroup })
	}},
	{"faults without effect", "had no effect", func(f *forged) {
		f.each([]string{histories.Heal}, func(op *histories.Op) { op.Effect = "" })
	}},
	{"faults that never struck", "had no effect", func(f *forged) {
		f.h = slices.DeleteFunc(f.h, func(op histories.Op) bool { return op.F == histories.Inject || op.F == histories.Heal })
	}},
	{"an interruption", "interrupted", func(f *forged) {
		i := f.find(0, func(op *histories.Op) bool { return op.F == histories.Note && op.Fault == histories.NoteRecovery })
		f.h[i].Fault = histories.NoteInterrupted
	}},
}

// nonsense is what no recorder can have written: it is refused, with the number of the line.
var nonsense = []struct {
	name, why string
	spoil     func(f *forged) int // returns the index of the op at fault
}{
	{"an acknowledgement of another message", "invoked one of", func(f *forged) int {
		v := f.victim()
		v.Value += 1_000_000
		return int(v.Index)
	}},
	{"a read from another position", "but invoked one from", func(f *forged) int {
		op := f.poll(func(op *histories.Op) bool { return op.From > 0 })
		op.From--
		return int(op.Index)
	}},
	{"a process that goes on after info", "used after its info", func(f *forged) int {
		v := f.victim()
		v.Type = histories.Info
		return f.find(int(v.Index)+1, func(op *histories.Op) bool { return op.Process == v.Process })
	}},
	{"a completion that came before its invocation", "did not invoke", func(f *forged) int {
		i := f.find(len(f.h)/2, func(op *histories.Op) bool { return op.Type == histories.Invoke })
		j := f.find(i, func(op *histories.Op) bool { return op.Process == f.h[i].Process && op.Type != histories.Invoke })
		f.h[i], f.h[j] = f.h[j], f.h[i]
		f.h[i].Time, f.h[j].Time = f.h[j].Time, f.h[i].Time
		return i
	}},
}

// TestTheAlarmRings records a real run that is valid, falsifies its history in every way that has a
// name, and judges each falsification with the manifest of the run: an anomaly must be found and
// excluded, and a history from which something is missing must prove nothing.
func TestTheAlarmRings(t *testing.T) {
	s := Default()
	s.Store, s.Time, s.Interval, s.Seed, s.Keep = t.TempDir(), 6*time.Second, 3*time.Second, 5, KeepAlways
	s.Options = map[string]string{"replication": "sync", "copies": "2"}
	s.Nemesis = []string{"kill:follower"}
	s.Clients = 3
	res, err := Standard().Run(t.Context(), s, Hooks{})
	require.NoError(t, err)
	require.Equal(t, judge.ExitValid, res.Summary.Exit, res.Why())
	run, err := histories.OpenRun(res.Summary.Run)
	require.NoError(t, err)
	h, warnings, err := histories.ReadFile(run.HistoryPath())
	require.NoError(t, err)
	require.False(t, warnings.Any())

	judgedOr := func(t *testing.T, f *forged) (*Result, error) {
		for i := range f.h {
			f.h[i].Index = int64(i)
		}
		dir := t.TempDir()
		manifest, err := os.ReadFile(run.Path(histories.ManifestFile))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, histories.ManifestFile), manifest, 0o644))
		var b bytes.Buffer
		require.NoError(t, histories.Write(&b, f.h))
		require.NoError(t, os.WriteFile(filepath.Join(dir, histories.HistoryFile), b.Bytes(), 0o644))
		return Standard().Judge(t.Context(), dir, JudgeOptions{})
	}
	judged := func(t *testing.T, f *forged) *Result {
		res, err := judgedOr(t, f)
		require.NoError(t, err)
		return res
	}
	t.Run("untouched", func(t *testing.T) {
		got := judged(t, &forged{t, slices.Clone(h)})
		require.Equal(t, judge.ExitValid, got.Summary.Exit, got.Why())
	})
	for _, c := range forgeries {
		t.Run(fmt.Sprintf("%s/%s", c.class, c.name), func(t *testing.T) {
			f := &forged{t, slices.Clone(h)}
			value := c.forge(f)
			got := judged(t, f)
			require.Equal(t, judge.ExitInvalid, got.Summary.Exit, got.Why())
			for _, found := range got.Findings {
				if found.Class != c.class || value >= 0 && !slices.Contains(found.Values, value) {
					continue
				}
				require.False(t, found.Permitted)
				require.NotEmpty(t, found.Witnesses)
				require.True(t, slices.IsSorted(found.Witnesses))
				require.Less(t, found.Witnesses[len(found.Witnesses)-1], int64(len(f.h)))
				if value >= 0 {
					require.Contains(t, found.Explanation, fmt.Sprint(value))
				}
				return
			}
			t.Fatalf("no %s about message %d: %s", c.class, value, got.Why())
		})
	}
	for _, c := range nonsense {
		t.Run("refused/"+c.name, func(t *testing.T) {
			f := &forged{t, slices.Clone(h)}
			at := c.spoil(f)
			_, err := judgedOr(t, f)
			require.ErrorContains(t, err, fmt.Sprintf("line %d: ", at+1))
			require.ErrorContains(t, err, c.why)
		})
	}
	for _, c := range blanks {
		t.Run("unknown/"+c.name, func(t *testing.T) {
			f := &forged{t, slices.Clone(h)}
			c.blank(f)
			got := judged(t, f)
			require.Equal(t, judge.ExitUnknown, got.Summary.Exit, got.Why())
			require.Contains(t, strings.Join(got.Summary.Unknown, "; "), c.why)
		})
	}
}
