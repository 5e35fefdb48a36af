//go:build unix

package local

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/osproc"
)

func (r *rig) pause(n harness.NodeID) harness.Undo {
	r.t.Helper()
	undo, err := r.c.Pause(r.t.Context(), n)
	require.NoError(r.t, err)
	return undo
}

func TestPause(t *testing.T) {
	r := startRig(t, 2)
	begin := time.Now()
	thaw := r.pause("n1")
	require.False(t, r.answers("n1"))
	r.ask("n2", request{Op: "ping"})
	effect := r.undo(thaw)
	require.GreaterOrEqual(t, effect.Count, int64(300), "milliseconds")
	require.LessOrEqual(t, effect.Count, time.Since(begin).Milliseconds())
	require.Regexp(t, `^n1 frozen for \d+ms$`, effect.Text)
	r.ask("n1", request{Op: "ping"})
}

func TestPausesOverlap(t *testing.T) {
	r := startRig(t, 1)
	first, second := r.pause("n1"), r.pause("n1")
	require.Positive(t, r.undo(first).Count)
	require.False(t, r.answers("n1"), "the second one holds")
	require.Positive(t, r.undo(second).Count)
	r.ask("n1", request{Op: "ping"})
}

// TestPauseThatDoesNotHold: somebody else lets the process run, which must not count.
func TestPauseThatDoesNotHold(t *testing.T) {
	r := startRig(t, 1)
	thaw := r.pause("n1")
	require.NoError(t, syscall.Kill(r.process("n1").pid, syscall.SIGCONT))
	r.ask("n1", request{Op: "ping"})
	require.Equal(t, harness.Effect{Text: "n1 was not frozen"}, r.undo(thaw))
}

func TestPauseThatDidNotHoldAllTheTime(t *testing.T) {
	r := startRig(t, 1)
	pid := r.process("n1").pid
	if _, ok := osproc.Switches(pid); !ok {
		require.NotEqual(t, "linux", runtime.GOOS, "it tells how often a process ran")
		t.Skip("SKIPPED, NOT TESTED: this system does not tell how often a process ran")
	}
	thaw := r.pause("n1")
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	r.ask("n1", request{Op: "ping"})
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Eventually(t, func() bool { stopped, _ := osproc.Stopped(pid); return stopped }, patient, time.Millisecond)
	effect := r.undo(thaw)
	require.Zero(t, effect.Count)
	require.Regexp(t, `^n1 ran \d+ times while it should have been frozen$`, effect.Text)
}

func TestKillOfAPausedNode(t *testing.T) {
	r := startRig(t, 1)
	thaw := r.pause("n1")
	require.False(t, r.answers("n1"))
	require.Equal(t, int64(1), r.kill("n1").Count)
	r.boot("n1")
	again := r.pause("n1")
	effect := r.undo(thaw)
	require.GreaterOrEqual(t, effect.Count, int64(300))
	require.Regexp(t, `^n1 frozen for \d+ms until it was killed$`, effect.Text)
	require.False(t, r.answers("n1"), "the pause of the new process holds")
	r.undo(again)
	r.ask("n1", request{Op: "ping"})
}

func TestShutdownOfAPausedNode(t *testing.T) {
	r := startRig(t, 1)
	r.c.patience = 50 * time.Millisecond
	thaw := r.pause("n1")
	effect, err := r.c.Shutdown(t.Context(), "n1")
	require.NoError(t, err)
	require.Contains(t, effect.Text, "and was killed", "a frozen process handles no signal")
	require.Contains(t, r.undo(thaw).Text, "until it was killed")
}

func TestPauseOfADeadNode(t *testing.T) {
	r := startRig(t, 1)
	r.kill("n1")
	thaw := r.pause("n1")
	r.boot("n1")
	require.Zero(t, r.undo(thaw))
	r.ask("n1", request{Op: "ping"})
}

func TestEndOfAPausedNode(t *testing.T) {
	r := startRig(t, 1)
	thaw := r.pause("n1")
	p := r.process("n1")
	require.NoError(t, syscall.Kill(p.pid, syscall.SIGKILL)) // not by this package
	require.NoError(t, p.await(t.Context()))
	require.Equal(t, harness.Effect{Text: "n1 ended by itself while it should have been frozen: signal: killed"}, r.undo(thaw))
	r.boot("n1")
	again := r.pause("n1")
	require.False(t, r.answers("n1"), "the new process is frozen, too")
	require.Positive(t, r.undo(again).Count)
	r.ask("n1", request{Op: "ping"})
}
