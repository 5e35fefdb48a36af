package histories

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecorder(t *testing.T) {
	var b bytes.Buffer
	times := []time.Duration{5, 3, 9}
	r := NewRecorder(&b, func() time.Duration {
		now := times[0]
		times = times[1:]
		return now
	}).Keep()
	send := New(Invoke, 1, Send)
	send.Value = 7
	got, err := r.Record(send)
	require.NoError(t, err)
	require.Equal(t, int64(0), got.Index)
	require.Equal(t, int64(5), got.Time)
	require.Equal(t, `{"i":0,"t":5,"type":"invoke","p":1,"f":"send","part":0,"value":7}`+"\n", b.String(), "written before Record returns")
	send.Type, send.Err = Fail, "no \xff leader"
	got, err = r.Record(send)
	require.NoError(t, err)
	require.Equal(t, int64(5), got.Time, "time does not go backwards")
	view := r.History()
	_, err = r.Record(New(Info, NemesisProcess, Note))
	require.NoError(t, err)
	require.Len(t, view, 2)
	require.Equal(t, int64(3), r.Len())
	read, w, err := Read(&b)
	require.NoError(t, err)
	require.False(t, w.Any())
	require.Equal(t, read, r.History(), "memory and file are the same")
}

func TestRecorderRefuses(t *testing.T) {
	var b bytes.Buffer
	r := NewRecorder(&b, func() time.Duration { return 1 })
	_, err := r.Record(New(OK, 1, Send))
	require.ErrorIs(t, err, ErrInvalid)
	require.Zero(t, b.Len())
	require.NoError(t, r.Err(), "a refused op does no harm")
	op, err := r.Record(New(Invoke, 1, Send))
	require.NoError(t, err)
	require.Zero(t, op.Index)
	require.Nil(t, r.History(), "without Keep")
}

// Events are recorded as they are made, and read back from the file as they are kept in memory.
func TestRecorderOfEvents(t *testing.T) {
	var b bytes.Buffer
	now := time.Duration(0)
	r := NewRecorder(&b, func() time.Duration { now += time.Second; return now }).Keep()
	for _, op := range []Op{
		NewGroupNote(1, "n4", "n3"),
		NewInject("wipe:leader", Event{Strike: 1, Harm: HarmDisk}, "n4"),
		NewPromoteNote(1, "n3", Promote{Epoch: 2, Safe: true}),
		NewHeal("wipe:leader", 1, "n4"),
		NewNote(NoteCaughtUp, "n4"),
	} {
		got, err := r.Record(op)
		require.NoError(t, err)
		require.Equal(t, op.Event, got.Event)
	}
	read, _, err := Read(&b)
	require.NoError(t, err)
	require.Equal(t, read, r.History(), "memory and file are the same")
	require.Equal(t, EventsOf(read), EventsOf(r.History()))
	require.Equal(t, []Strike{{
		Fault: "wipe:leader", Name: "wipe", Role: "leader", Nodes: []string{"n4"}, Harm: HarmDisk, Number: 1, Inject: 1, Heal: 3, From: 2e9, To: 4e9,
	}}, EventsOf(read).Strikes)
}

// What the decoder would refuse is not written: the file of a run must stay readable, whatever a
// fault from outside says of itself.
func TestRecorderRefusesUnreadableEvents(t *testing.T) {
	var b bytes.Buffer
	r := NewRecorder(&b, func() time.Duration { return 1 })
	client := New(Invoke, 1, Send)
	client.Event = &Event{}
	for says, op := range map[string]Op{
		`unknown harm "acid"`:    NewInject("spill", Event{Strike: 1, Harm: "acid"}, "n1"),
		"unknown harm \"\\xff\"": NewInject("spill", Event{Strike: 1, Harm: "\xff"}, "n1"),
		"strike -1 out of range": NewHeal("spill", -1, "n1"),
		"strike 2147483648":      NewHeal("spill", 1<<31, "n1"),
		"process 1 has an event": client,
	} {
		_, err := r.Record(op)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, says)
	}
	require.Zero(t, b.Len())
	require.NoError(t, r.Err())
	_, err := r.Record(NewInject("spill", Event{Strike: 1<<31 - 1, Harm: HarmDisk}, "n1"))
	require.NoError(t, err)
	_, _, err = Read(&b)
	require.NoError(t, err)
}

type failingWriter struct {
	after int
	wrote int
}

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.after--; f.after < 0 {
		return len(b) / 2, errors.New("disk full")
	}
	f.wrote += len(b)
	return len(b), nil
}

func TestRecorderIsSticky(t *testing.T) {
	w := &failingWriter{after: 1}
	r := NewRecorder(w, func() time.Duration { return 1 }).Keep()
	_, err := r.Record(New(Invoke, 1, Send))
	require.NoError(t, err)
	for range 2 {
		_, err = r.Record(New(OK, 1, Send))
		require.ErrorContains(t, err, "disk full")
		require.ErrorContains(t, err, "op 1")
		w.after = 10 // the disk is well again, but half a line is there
	}
	require.Error(t, r.Err())
	require.Len(t, r.History(), 1, "what is not in the file is not in memory")
}

func TestRecorderConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.jsonl")
	f, err := os.Create(path)
	require.NoError(t, err)
	start := time.Now()
	r := NewRecorder(f, func() time.Duration { return time.Since(start) }).Keep()
	var wg sync.WaitGroup
	for p := range 8 {
		wg.Go(func() {
			for range 200 {
				for _, typ := range []Type{Invoke, OK} {
					if _, err := r.Record(New(typ, p, Send)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, f.Close())
	h, _, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, h, r.History())
	require.Len(t, h, 8*200*2)
}

func TestRecordIsCheap(t *testing.T) {
	r := NewRecorder(&failingWriter{after: 1 << 30}, func() time.Duration { return 1 }).Keep()
	send, done := sample(2)[0], sample(2)[1]
	allocs := testing.AllocsPerRun(1000, func() {
		_, err := r.Record(send)
		_, err2 := r.Record(done)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	})
	require.LessOrEqual(t, allocs, 2*3.0)
}

func BenchmarkRecord(b *testing.B) {
	f, err := CreateAppender(filepath.Join(b.TempDir(), "h.jsonl"))
	require.NoError(b, err)
	defer f.Close()
	r := NewRecorder(f, func() time.Duration { return 1 }).Keep()
	ops := sample(20)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := r.Record(ops[i%len(ops)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

const million = 1_000_000

func BenchmarkWrite(b *testing.B) {
	h := sample(million)
	path := filepath.Join(b.TempDir(), "h.jsonl")
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(Write(f, h), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "h.jsonl")
	var buf bytes.Buffer
	require.NoError(b, Write(&buf, sample(million)))
	require.NoError(b, os.WriteFile(path, buf.Bytes(), 0o644))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
