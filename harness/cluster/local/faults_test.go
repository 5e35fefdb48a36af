//go:build unix

package local

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/osproc"
)

func TestKillAndBoot(t *testing.T) {
	r := startRig(t, 3)
	address := r.p.addr("n1")
	before := r.ask("n1", request{Op: "ping"})
	r.ask("n1", request{Op: "write", N: 1000})
	child := r.ask("n1", request{Op: "spawn"}).PID
	effect := r.kill("n1")
	require.Equal(t, harness.Effect{Count: 1, Text: fmt.Sprintf("n1 killed (process %d gone)", before.PID)}, effect)
	require.ErrorIs(t, syscall.Kill(before.PID, 0), syscall.ESRCH)
	require.False(t, osproc.Alive(child), "what it started is gone with it")
	_, err := r.c.dial(t.Context(), "tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorContains(t, err, "node n1 is down, ended on request: signal: killed")
	require.Zero(t, r.kill("n1"), "killing what is dead has no effect")
	r.ask("n2", request{Op: "ping"})

	r.boot("n1")
	r.boot("n1") // twice
	after := r.ask("n1", request{Op: "ping"})
	require.NotEqual(t, before.Boot, after.Boot)
	require.Equal(t, address, r.p.addr("n1"))
	require.Equal(t, int64(1000), r.ask("n1", request{Op: "size"}).Size, "what was written stays")

	_, err = r.c.Kill(t.Context(), "n9")
	require.ErrorContains(t, err, `there is no node "n9"; there are [n1 n2 n3]`)
	_, err = r.c.dial(t.Context(), "tcp", "127.0.0.1:1")
	require.ErrorContains(t, err, `no node has the address "127.0.0.1:1"`)
}

func TestShutdown(t *testing.T) {
	r := startRig(t, 1)
	effect, err := r.c.Shutdown(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, int64(1), effect.Count)
	require.Regexp(t, `^n1 ended by SIGTERM after .*, exit code 0$`, effect.Text)
	require.Equal(t, harness.NodeState{Node: "n1", Detail: "down, ended on request: exit code 0"}, r.state("n1"))
	effect, err = r.c.Shutdown(t.Context(), "n1")
	require.NoError(t, err)
	require.Zero(t, effect)
	r.boot("n1")
	r.ask("n1", request{Op: "ping"})
}

func TestShutdownOfANodeThatDoesNotEnd(t *testing.T) {
	p := newProbes(1)
	p.change = func(_ harness.NodeID, _ *target.Process, c *config) { c.Deaf = true }
	r := newRig(t, p)
	require.NoError(t, r.c.Start(t.Context()))
	r.c.patience = 50 * time.Millisecond
	effect, err := r.c.Shutdown(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, harness.Effect{Count: 1, Text: "n1 did not end by SIGTERM within 50ms and was killed, exit code 137"}, effect)
	require.Equal(t, "down, ended on request: signal: killed", r.state("n1").Detail)
}

func TestWipe(t *testing.T) {
	r := startRig(t, 2)
	r.ask("n1", request{Op: "write", N: 54321})
	effect, err := r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, harness.Effect{Count: 1, Text: "n1 killed, its disk with 54321 bytes deleted"}, effect)
	require.False(t, r.answers("n1"), "it stays down until it is started")
	inside, err := os.ReadDir(filepath.Join(r.c.home.root, "n1"))
	require.NoError(t, err)
	require.Empty(t, inside)
	effect, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Zero(t, effect, "who is down with an empty disk has nothing to lose")
	r.boot("n1")
	require.Zero(t, r.ask("n1", request{Op: "size"}).Size)
	r.kill("n1")
	effect, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Zero(t, effect, "its configuration is none of its bytes")

	r.boot("n1")
	r.ask("n1", request{Op: "write", N: 4321})
	r.kill("n1")
	effect, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, harness.Effect{Count: 1, Text: "n1 was down, its disk with 4321 bytes deleted"}, effect)
	r.boot("n1")
	require.Zero(t, r.ask("n1", request{Op: "size"}).Size)
}

func TestANodeThatEndsByItself(t *testing.T) {
	r := newRig(t, newProbes(2))
	require.NoError(t, r.c.Start(t.Context()))
	r.p.asked = make(chan harness.NodeID, 10)
	require.Equal(t, harness.NodeState{Up: true, Role: harness.RoleFollower}, r.state("n1"))
	require.Equal(t, harness.NodeID("n1"), <-r.p.asked)

	child := r.ask("n1", request{Op: "spawn"}).PID
	r.exit("n1", 7)
	failed := harness.NodeState{Node: "n1", Role: harness.RoleFailed, Detail: "down, ended by itself: exit code 7"}
	require.Equal(t, failed, r.state("n1"))
	require.Empty(t, r.p.asked, "nobody asks a node that is down")
	require.False(t, osproc.Alive(child))
	_, err := r.c.dial(t.Context(), "tcp", r.p.addr("n1"))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Zero(t, r.kill("n1"), "it was down")
	require.Equal(t, failed, r.state("n1"), "and that was not this package's doing")
	r.boot("n1")
	require.True(t, r.state("n1").Up)

	// A signal from elsewhere is not on request either.
	p := r.process("n1")
	require.NoError(t, syscall.Kill(p.pid, syscall.SIGKILL))
	require.NoError(t, p.await(t.Context()))
	require.Equal(t, "down, ended by itself: signal: killed", r.state("n1").Detail)
	_, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Empty(t, r.state("n1").Role, "its failure is gone with its disk")
}

func TestBootOfANodeThatCannotStart(t *testing.T) {
	r := startRig(t, 1)
	r.ask("n1", request{Op: "poison"})
	r.kill("n1")
	err := r.c.Boot(t.Context(), "n1")
	require.ErrorIs(t, err, harness.ErrNodeExited)
	require.EqualError(t, err, "node n1: the node ended by itself with exit code 1: the disk is damaged")
	require.Zero(t, r.kill("n1"))
	require.Equal(t, harness.RoleFailed, r.state("n1").Role)
}

// TestLastWordsWithoutLogs: they are told even when nobody keeps logs.
func TestLastWordsWithoutLogs(t *testing.T) {
	r := newRig(t, newProbes(1), func(c *Config) { c.LogDir = "" })
	require.NoError(t, r.c.Start(t.Context()))
	r.exit("n1", 3)
	require.Contains(t, r.process("n1").lastWords(), "I have had enough")
}

func TestStateOfANodeThatWasNotStarted(t *testing.T) {
	r := newRig(t, newProbes(1))
	require.Equal(t, harness.NodeState{Node: "n1", Detail: "down, not started"}, r.state("n1"))
	g, _ := harness.Can[harness.Groups](r.c)
	require.Equal(t, [][]harness.NodeID{{"n1"}}, g.Groups())
	_, err := g.State(t.Context(), 0, "n9")
	require.Error(t, err)
}
