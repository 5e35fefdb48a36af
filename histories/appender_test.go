package histories

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lines are n lines of growing lengths, together more than three chunks.
func lines(t *testing.T) []string {
	t.Helper()
	var all []string
	total := 0
	for i := 0; total < 3*chunk+chunk/2; i++ {
		l := fmt.Sprintf("%d %s\n", i, strings.Repeat("x", i%9999))
		all = append(all, l)
		total += len(l)
	}
	return all
}

func TestAppender(t *testing.T) {
	path := filepath.Join(t.TempDir(), HistoryFile)
	a, err := CreateAppender(path)
	require.NoError(t, err)
	all := lines(t)
	for i, l := range all {
		n, err := a.Write([]byte(l))
		require.NoError(t, err)
		require.Equal(t, len(l), n)
		if i%100 == 0 {
			now, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.HasSuffix(bytes.TrimRight(now, "\x00"), []byte(l)), "in the file when Write returns")
		}
	}
	require.NoError(t, a.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.Join(all, ""), string(got), "and nothing behind it")

	_, err = CreateAppender(path)
	require.ErrorIs(t, err, os.ErrExist, "a history is recorded once")
}

// TestAppenderWithoutMapping: from the first byte, or from the n-th chunk on, the file system has no room or no such thing.
func TestAppenderWithoutMapping(t *testing.T) {
	all := lines(t)
	for left := range 3 {
		path := filepath.Join(t.TempDir(), HistoryFile)
		a, err := CreateAppender(path)
		require.NoError(t, err)
		a.mapAt = func(f *os.File, at int64) ([]byte, error) {
			if left--; left < 0 {
				return nil, io.ErrShortWrite
			}
			return mapChunk(f, at)
		}
		written := 0
		for _, l := range all {
			n, err := a.Write([]byte(l))
			require.NoError(t, err)
			written += n
			if a.plain {
				info, err := os.Stat(path)
				require.NoError(t, err)
				require.EqualValues(t, written, info.Size(), "nothing is reserved any more")
			}
		}
		require.True(t, a.plain)
		require.NoError(t, a.Close())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, strings.Join(all, ""), string(got))
	}
}

// TestAppenderCut: what somebody does to the file is an error of the recording, not the end of the process.
func TestAppenderCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), HistoryFile)
	a, err := CreateAppender(path)
	require.NoError(t, err)
	_, err = a.Write([]byte("one\n"))
	require.NoError(t, err)
	if a.plain {
		require.NotEqual(t, "linux", runtime.GOOS, "a file of the tests' own directory can be mapped")
		return
	}
	require.NoError(t, os.Truncate(path, 0))
	_, err = a.Write([]byte("two\n"))
	require.ErrorContains(t, err, path)
	require.NoError(t, a.Close())
}

const killedEnv = "HISTORIES_TEST_RECORD_TO"

// TestMain is the recording process of TestKilledRecorder when that starts it.
func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		recordForEver(path)
	}
	os.Exit(m.Run())
}

func recordForEver(path string) {
	a, err := CreateAppender(path)
	if err != nil {
		panic(err)
	}
	r := NewRecorder(a, func() time.Duration { return 1 })
	for i := 0; ; i++ {
		op := New(Invoke, 1, Send)
		if i%2 == 1 {
			op.Type = OK
		}
		if op, err = r.Record(op); err != nil {
			panic(err)
		}
		fmt.Println(op.Index)
	}
}

// TestKilledRecorder: kill -9 leaves every op whose Record had returned, and at most one torn line.
func TestKilledRecorder(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for round := range 5 {
		path := filepath.Join(t.TempDir(), HistoryFile)
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		in, recorded := bufio.NewScanner(out), 0
		for in.Scan() {
			recorded, err = strconv.Atoi(in.Text())
			if err != nil {
				break // the kill tore it
			}
			if recorded == 1000*(round+1) {
				require.NoError(t, cmd.Process.Kill())
			}
		}
		require.Error(t, cmd.Wait(), "it was killed")
		h, _, err := ReadFile(path)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(h), 1000*(round+1)+1)
		f, err := OpenFile(path)
		require.NoError(t, err)
		require.EqualValues(t, len(h), f.Len())
	}
}
