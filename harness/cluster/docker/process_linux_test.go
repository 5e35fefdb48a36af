package docker

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A killed process is there until its parent has looked, which may be long after; what it owned is left behind all the same.
func TestAKilledProcessIsNotAlive(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^$", "-test.timeout=0")
	require.NoError(t, cmd.Start())
	pid := cmd.Process.Pid
	require.NoError(t, cmd.Process.Kill())
	require.Eventually(t, func() bool { return !processAlive(pid) }, 10*time.Second, time.Millisecond)
	require.NotEmpty(t, processStart(pid), "it is still there")
	_ = cmd.Wait() // it was killed, or had ended by then
	require.False(t, processAlive(pid))
	require.True(t, processAlive(os.Getpid()))
}
