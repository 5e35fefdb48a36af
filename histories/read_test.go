package histories

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line writes an op line with what the rules are about.
func line(i, t int64, typ string, p int, f string) string {
	return fmt.Sprintf(`{"i":%d,"t":%d,"type":%q,"p":%d,"f":%q}`+"\n", i, t, typ, p, f)
}

// send is the line of a send of process 1 with what was sent.
func send(i int64, typ, what string) string {
	return fmt.Sprintf(`{"i":%d,"t":5,"type":%q,"p":1,"f":"send",%s}`+"\n", i, typ, what)
}

func TestReadRefuses(t *testing.T) {
	first := line(0, 5, "invoke", 1, "send")
	for name, tt := range map[string]struct {
		file string
		line int64
		want string
	}{
		"malformed line":                {first + "nonsense\n", 2, "expected"},
		"empty line":                    {first + "\n", 2, "the line ends"},
		"gap in the indexes":            {first + line(2, 5, "ok", 1, "send"), 2, "op 2 where op 1 is expected"},
		"index again":                   {first + line(0, 5, "ok", 1, "send"), 2, "op 0 where op 1 is expected"},
		"does not begin at 0":           {line(1, 5, "invoke", 1, "send"), 1, "op 1 where op 0 is expected"},
		"time goes backwards":           {first + line(1, 4, "ok", 1, "send"), 2, "time goes backwards"},
		"negative time":                 {line(0, -1, "invoke", 1, "send"), 1, "negative time"},
		"completion without invocation": {first + line(1, 5, "ok", 2, "send"), 2, "did not invoke"},
		"second completion":             {first + line(1, 5, "ok", 1, "send") + line(2, 5, "ok", 1, "send"), 3, "did not invoke"},
		"second invocation":             {first + line(1, 5, "invoke", 1, "poll"), 2, "invokes poll while its send is open"},
		"use after info":                {first + line(1, 5, "info", 1, "send") + line(2, 5, "invoke", 1, "poll"), 3, "used after its info"},
		"completion after info":         {first + line(1, 5, "info", 1, "send") + line(2, 5, "ok", 1, "send"), 3, "used after its info"},
		"completion of another f":       {first + line(1, 5, "ok", 1, "poll"), 2, "completes a poll while its send is open"},
		"completion of another part":    {first + `{"i":1,"t":5,"type":"ok","p":1,"f":"send","part":3}` + "\n", 2, "completes partition 3"},
		"completion of another value":   {send(0, "invoke", `"value":7`) + send(1, "fail", `"value":8`), 2, "completes a send of 8, but invoked one of 7"},
		"completion of a shorter batch": {send(0, "invoke", `"msgs":[[-1,7],[-1,8]]`) + send(1, "ok", `"msgs":[[0,7]]`), 2, "a batch of 1, but invoked one of 2"},
		"completion of another batch":   {send(0, "invoke", `"msgs":[[-1,7],[-1,8]]`) + send(1, "ok", `"msgs":[[0,7],[1,9]]`), 2, "a batch with 9, but invoked it with 8"},
		"completion of another read":    {line(0, 5, "invoke", 1, "poll") + `{"i":1,"t":5,"type":"ok","p":1,"f":"poll","from":3}` + "\n", 2, "from 3, but invoked one from -1"},
		"negative partition":            {`{"i":0,"t":5,"type":"invoke","p":1,"f":"send","part":-1}` + "\n", 1, "negative partition"},
		"no function":                   {line(0, 5, "invoke", 1, ""), 1, "no function"},
		"event of a client":             {`{"i":0,"t":5,"type":"invoke","p":1,"f":"send","event":{}}` + "\n", 1, "process 1 has an event"},
		"unreadable event":              {first + `{"i":1,"t":5,"type":"info","p":-1,"f":"inject","event":{"harm":"acid"}}` + "\n", 2, `unknown harm "acid"`},
		"nemesis that is not info":      {line(0, 5, "ok", -1, "inject"), 1, "not info"},
		"line without end":              {first + strings.Repeat(" ", maxLine+100000) + "\n", 2, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _, err := Read(strings.NewReader(tt.file))
			require.Nil(t, h)
			var at *LineError
			require.ErrorAs(t, err, &at)
			require.Equal(t, tt.line, at.Line)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, fmt.Sprintf("line %d:", tt.line))

			path := filepath.Join(t.TempDir(), "h.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(tt.file), 0o644))
			_, ferr := OpenFile(path)
			require.ErrorContains(t, ferr, err.Error())
			_, _, ferr = ReadFile(path)
			require.ErrorContains(t, ferr, path)
		})
	}
}

func TestReadAccepts(t *testing.T) {
	long := `{"i":2,"t":5,"type":"ok","p":1,"f":"poll","err":"` + strings.Repeat("x", 1<<17) + `"}` + "\n"
	h, w, err := Read(strings.NewReader(line(0, 5, "invoke", 1, "poll") + line(1, 5, "info", -1, "inject") + long + line(3, 6, "invoke", 1, "send") +
		line(4, 6, "fail", 1, "send") + line(5, 6, "invoke", 1, "send") + line(6, 6, "info", 1, "send") + line(7, 6, "info", -1, "inject")))
	require.NoError(t, err)
	require.False(t, w.Any())
	require.Empty(t, w.String())
	require.Len(t, h, 8)
	h, _, err = Read(strings.NewReader(""))
	require.NoError(t, err)
	require.Empty(t, h)
}

func TestTornTail(t *testing.T) {
	whole := line(0, 5, "invoke", 1, "send")
	for _, tail := range []string{`{"i":1,"t"`, "x", strings.TrimSuffix(line(1, 5, "ok", 1, "send"), "\n"), strings.Repeat("y", 1<<17)} {
		path := filepath.Join(t.TempDir(), "h.jsonl")
		require.NoError(t, os.WriteFile(path, []byte(whole+tail+strings.Repeat("\x00", len(tail)%7*1000)), 0o644))
		h, w, err := ReadFile(path)
		require.NoError(t, err)
		require.Len(t, h, 1)
		require.Equal(t, Warnings{TornLine: 2, TornBytes: len(tail)}, w)
		require.Contains(t, w.String(), "line 2 has no newline")
		f, err := OpenFile(path)
		require.NoError(t, err)
		require.Equal(t, w, f.Warnings())
		n := 0
		for _, done := range Pairs(f) {
			require.Nil(t, done, "the operation stays open")
			n++
		}
		require.Equal(t, 1, n)
		require.NoError(t, f.Err())
	}
}

// TestReserved: the room that a killed Appender had made is not torn, and zeros before a line are
// not room.
func TestReserved(t *testing.T) {
	whole := line(0, 5, "invoke", 1, "send")
	room := strings.Repeat("\x00", 1<<17)
	h, w, err := Read(strings.NewReader(whole + room))
	require.NoError(t, err)
	require.Len(t, h, 1)
	require.False(t, w.Any())
	_, _, err = Read(strings.NewReader(whole + room + line(1, 5, "ok", 1, "send")))
	var at *LineError
	require.ErrorAs(t, err, &at)
	require.EqualValues(t, 2, at.Line)
}

func TestFile(t *testing.T) {
	h := sample(1000)
	path := filepath.Join(t.TempDir(), "h.jsonl")
	var b bytes.Buffer
	require.NoError(t, Write(&b, h))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	f, err := OpenFile(path)
	require.NoError(t, err)
	require.Equal(t, int64(len(h)), f.Len())
	for range 2 { // repeatable
		var got History
		for op := range f.Ops() {
			got = append(got, *op)
		}
		require.Equal(t, h, got)
	}
	for range f.Ops() {
		break // stopping early is no error
	}
	require.NoError(t, f.Err())

	require.NoError(t, os.WriteFile(path, b.Bytes()[:b.Len()/2], 0o644))
	n := 0
	for range f.Ops() {
		n++
	}
	require.Less(t, n, len(h))
	require.ErrorContains(t, f.Err(), "ends after")
	_, err = OpenFile(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPairs(t *testing.T) {
	text := line(0, 5, "invoke", 1, "send") + line(1, 5, "invoke", 2, "poll") + line(2, 5, "info", -1, "inject") + line(3, 5, "ok", 2, "poll") +
		line(4, 5, "invoke", 3, "poll") + line(5, 5, "invoke", 2, "send") + line(6, 5, "info", 2, "send")
	h, _, err := Read(strings.NewReader(text))
	require.NoError(t, err)
	var got []string
	for inv, done := range Pairs(h) {
		if done == nil {
			got = append(got, fmt.Sprint(inv.Index))
		} else {
			got = append(got, fmt.Sprint(inv.Index, "-", done.Index))
		}
	}
	require.Equal(t, []string{"1-3", "5-6", "0", "4"}, got)
	for range Pairs(h) {
		break
	}
	orphan := History{Op{Type: OK, Process: 4, F: Send}}
	require.Empty(t, slices.Collect(func(yield func(*Op) bool) {
		for inv := range Pairs(orphan) {
			yield(inv)
		}
	}))
}

func TestValidatorStateAfterError(t *testing.T) {
	var v Validator
	op := New(Invoke, 1, Send)
	require.NoError(t, v.Add(&op))
	bad := op
	bad.Index = 1
	require.ErrorIs(t, v.Add(&bad), ErrInvalid)
	done := New(OK, 1, Send)
	done.Index = 1
	require.NoError(t, v.Add(&done))
	bad = New(Invalid, 2, Send)
	bad.Index = 2
	require.ErrorContains(t, v.Add(&bad), "no type")
	bad.Process = -7
	require.ErrorContains(t, v.Add(&bad), "negative process")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestReadError(t *testing.T) {
	_, _, err := Read(failingReader{})
	require.ErrorContains(t, err, "disk on fire")
}

// sample returns a valid history of n ops like those of a run.
func sample(n int) History {
	var h History
	const procs = 10
	for i := range n {
		p := i / 2 % procs
		op := New(Invoke, p, Send)
		op.Node, op.Part, op.Value = "n1", int32(p%3), int64(i/2)
		if p%2 == 1 {
			op.F, op.Value, op.From = Poll, Unset, int64(i/4)
		}
		if i%2 == 1 {
			op.Type = OK
			if op.F == Send {
				op.Offset = int64(i / 4)
			} else {
				op.HW = int64(i/4) + 3
				op.Msgs = []Message{{int64(i / 4), int64(i)}, {int64(i/4) + 1, int64(i) + 1}, {int64(i/4) + 2, int64(i) + 2}}
			}
		}
		op.Index, op.Time = int64(i), int64(i)*2_500_000
		h = append(h, op)
	}
	return h
}
