package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/histories"
)

// TestTailFollowsAHistory: a history that grows line by line, and in parts of lines, gives the line
// that people see.
func TestTailFollowsAHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), histories.HistoryFile)
	var tl tail
	defer tl.close()
	require.False(t, tl.read(path), "there is no history yet")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	write := func(at time.Duration, op histories.Op) {
		op.Time = int64(at)
		line := append(histories.AppendOp(nil, &op), '\n')
		half := len(line) / 2
		for _, part := range [][]byte{line[:half], line[half:]} {
			_, err := f.Write(part)
			require.NoError(t, err)
			require.True(t, tl.read(path))
		}
	}
	const load = time.Minute
	require.True(t, tl.read(path))
	require.Equal(t, "starting", tl.line(load, 118))
	write(5*time.Second, histories.New(histories.Invoke, 0, histories.Send))
	for i, typ := range []histories.Type{histories.OK, histories.Weak, histories.Fail, histories.Info} {
		write(time.Duration(6+i)*time.Second, histories.New(typ, 0, histories.Send))
	}
	fault := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
	fault.Fault, fault.Node = "kill:leader", "n1"
	write(10*time.Second, fault)
	line := tl.line(load, 118)
	require.Contains(t, line, "  5s of 60s")
	require.Contains(t, line, "ok 1 weak 1 info 1 fail 1")
	require.Contains(t, line, "on: kill:leader n1")
	fault.F = histories.Heal
	write(70*time.Second, fault)
	line = tl.line(load, 118)
	require.NotContains(t, line, "on:")
	require.Contains(t, line, "recovering")
	require.Contains(t, line, " 60s of 60s", "the load is over")
	write(71*time.Second, histories.NewNote(histories.NoteRecovery))
	require.Contains(t, tl.line(load, 118), "final reads")
	fault.F, fault.Fault = histories.Inject, strings.Repeat("x", 300)
	write(72*time.Second, fault)
	require.LessOrEqual(t, len(tl.line(load, 118)), 118, "one line of a terminal")
}

// TestTailTiesHealsByNumber: of two strikes of one fault, that one is over whose number the heal
// has, whatever nodes it names.
func TestTailTiesHealsByNumber(t *testing.T) {
	var tl tail
	add := func(op histories.Op) { tl.add(&op) }
	add(histories.New(histories.Invoke, 0, histories.Send))
	add(histories.NewInject("slow", histories.Event{Strike: 1, Harm: histories.HarmNone}, "n1"))
	add(histories.NewInject("slow", histories.Event{Strike: 2, Harm: histories.HarmNone}, "n2"))
	require.Equal(t, []string{"slow n1", "slow n2"}, tl.on())
	add(histories.NewHeal("slow", 1))
	require.Equal(t, []string{"slow n2"}, tl.on())
	missed := histories.NewInject("wipe", histories.Event{Strike: 3, Harm: histories.HarmDisk})
	missed.Err = "nobody leads"
	add(missed)
	require.Equal(t, []string{"slow n2"}, tl.on())
}

// TestTailFollowsARecording: the file of a history that is being recorded ends in reserved space,
// and every line counts all the same, however long.
func TestTailFollowsARecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), histories.HistoryFile)
	w, err := histories.CreateAppender(path)
	require.NoError(t, err)
	var tl tail
	defer tl.close()
	const lines = 3000
	for i := range int64(lines) {
		op := histories.New(histories.OK, 0, histories.Poll)
		op.Index, op.Time = i, i
		for range i % 3 * 2500 {
			op.Msgs = append(op.Msgs, histories.Message{Offset: 1 << 50, Value: 1 << 50})
		}
		if i%100 != 99 {
			op.Msgs = nil
		}
		_, err := w.Write(append(histories.AppendOp(nil, &op), '\n'))
		require.NoError(t, err)
		if i%7 == 0 {
			require.True(t, tl.read(path))
			require.Equal(t, i+1, tl.ops.OK)
		}
	}
	require.NoError(t, w.Close())
	require.True(t, tl.read(path))
	require.EqualValues(t, lines, tl.ops.OK)
}

func TestLineWidth(t *testing.T) {
	for columns, want := range map[int]int{0: 79, 80: 79, 100: 99, 300: 119} {
		require.Equal(t, want, lineWidth(columns))
	}
}

func TestSeedsLine(t *testing.T) {
	require.Equal(t, "3 of 5 seeds  valid 2  invalid 1", seedsLine([]string{"valid", "invalid", "valid"}, 5))
}
