//go:build unix

package local

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/osproc"
	"github.com/assay-project/assay/internal/owner"
)

// childVar makes the test binary start a cluster of that run ID and be killed by its parent.
const childVar = "TEST_LOCAL_CHILD"

// childReport is what the child prints.
type childReport struct {
	Err  string
	PIDs []int // of its nodes
	Left int   // of a process that left its node's group
	Root string
	Mark string
}

// childMain is the process that TestKilledProcess kills.
func childMain() {
	p := newProbes(2)
	c, err := New(Config{Target: p.target(), RunID: os.Getenv(childVar), Dir: os.Getenv(childVar + "_DIR")})
	var report childReport
	if err == nil {
		err = c.Start(context.Background())
	}
	if err == nil {
		report.Root, report.Mark = c.home.root, c.home.mark
		for _, n := range c.nodes {
			report.PIDs = append(report.PIDs, n.proc.Load().pid)
		}
		var left reply
		left, err = ask(context.Background(), c.dial, p.addr("n1"), request{Op: "spawn", N: 1})
		report.Left = left.PID
	}
	if err != nil {
		report.Err = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
	select {}
}

// startChild starts a process with a cluster.
func startChild(t *testing.T, runID, dir string) (*exec.Cmd, childReport) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVar+"="+runID, childVar+"_DIR="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err)
	var report childReport
	require.NoError(t, json.Unmarshal(line, &report))
	require.Empty(t, report.Err)
	require.Len(t, report.PIDs, 2)
	return child, report
}

// TestKilledProcess: a process that is killed leaves no nodes behind (on Linux), and Clean removes
// the rest, but nothing that a living one needs.
func TestKilledProcess(t *testing.T) {
	for name, dir := range map[string]string{"usual directory": "", "given directory": filepath.Join(t.TempDir(), "nodes")} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir()) // others' leftovers are not this test's business
			living := startRig(t, 1)
			child, report := startChild(t, "child", dir)
			removed, kept, err := Clean(t.Context())
			require.NoError(t, err)
			require.Empty(t, removed)
			require.ElementsMatch(t, []string{living.c.home.root, report.Root}, kept)

			require.NoError(t, child.Process.Kill())
			require.Error(t, child.Wait())
			if runtime.GOOS == "linux" {
				for _, pid := range report.PIDs {
					require.Eventually(t, func() bool { return !osproc.Alive(pid) }, patient, time.Millisecond)
				}
			}
			require.True(t, osproc.Alive(report.Left), "nothing tells a process of its grandparent's death")

			removed, kept, err = CleanProcess(t.Context(), os.Getpid())
			require.NoError(t, err)
			require.Empty(t, removed)
			require.Equal(t, []string{living.c.home.root}, kept)
			removed, kept, err = Clean(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{report.Root}, removed)
			require.Equal(t, []string{living.c.home.root}, kept)
			require.NoDirExists(t, report.Root)
			pids, err := osproc.WithEnv(markVar + "=" + report.Mark)
			require.NoError(t, err)
			require.Empty(t, pids)

			removed, _, err = Clean(t.Context())
			require.NoError(t, err)
			require.Empty(t, removed)
			living.ask("n1", request{Op: "ping"})
			entries, err := os.ReadDir(os.TempDir())
			require.NoError(t, err)
			require.Len(t, entries, 1, "only what lives is left")
		})
	}
}

func TestCleanLeavesAloneWhatItDoesNotKnow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead := owner.Self()
	dead.Start = "1"
	write := func(text string, path ...string) string {
		p := filepath.Join(path...)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o700))
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
		return filepath.Dir(p)
	}
	write(dead.String()+"\nmark\n", os.TempDir(), "other", ownerFile) // has another name
	unmarked := write("", os.TempDir(), prefix+"unmarked", "precious")
	garbled := write("x\ny\n", os.TempDir(), prefix+"garbled", ownerFile)
	elsewhere := dead
	elsewhere.Host = "elsewhere"
	remote := write(elsewhere.String()+"\nmark\n", os.TempDir(), prefix+"remote", ownerFile)
	over := write(dead.String()+"\nmark\n", os.TempDir(), prefix+"over", ownerFile)
	require.NoError(t, os.Symlink("/nonexistent/nodes", filepath.Join(os.TempDir(), prefix+"dangling")))
	file := filepath.Join(os.TempDir(), prefix+"file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	removed, kept, err := Clean(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{over}, removed)
	require.ElementsMatch(t, []string{unmarked, garbled, remote, file}, kept)
	require.NoDirExists(t, over)
	require.FileExists(t, filepath.Join(os.TempDir(), "other", ownerFile))
	require.FileExists(t, filepath.Join(unmarked, "precious"))
	require.FileExists(t, filepath.Join(remote, ownerFile))
	_, err = os.Lstat(filepath.Join(os.TempDir(), prefix+"dangling"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestCleanOfOthersDirectories: in a directory where everybody writes, what another user made
// counts for nothing.
func TestCleanOfOthersDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: only root can make files of other users")
	}
	t.Setenv("TMPDIR", t.TempDir())
	dead := owner.Self()
	dead.Start = "1"
	theirs := filepath.Join(os.TempDir(), prefix+"theirs")
	require.NoError(t, os.Mkdir(theirs, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(theirs, ownerFile), []byte(dead.String()+"\nmark\n"), 0o600))
	require.NoError(t, os.Chown(theirs, 4711, 4711))
	mine := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(mine, ownerFile), []byte(dead.String()+"\nmark\n"), 0o600))
	require.NoError(t, os.Chown(filepath.Join(mine, ownerFile), 4711, 4711))
	require.NoError(t, os.Symlink(mine, filepath.Join(os.TempDir(), prefix+"mine")))
	removed, _, err := Clean(t.Context())
	require.NoError(t, err)
	require.Empty(t, removed)
	require.DirExists(t, theirs)
	require.DirExists(t, mine)
}
