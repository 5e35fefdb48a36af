package osproc

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// playVar makes the test binary wait until its standard input ends.
const playVar = "ASSAY_OSPROC_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(playVar) != "" {
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	os.Exit(m.Run())
}

// child starts a process that waits.
func child(t *testing.T) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), playVar+"="+t.Name())
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// A killed process is there until its parent has looked, which may be long after; what it owned is
// left behind all the same.
func TestAKilledProcessIsNotAlive(t *testing.T) {
	cmd := child(t)
	pid := cmd.Process.Pid
	require.True(t, Alive(pid))
	require.NoError(t, cmd.Process.Kill())
	require.Eventually(t, func() bool { return !Alive(pid) }, 10*time.Second, time.Millisecond)
	require.NotEmpty(t, Start(pid), "it is still there")
	_ = cmd.Wait() // it was killed
	require.False(t, Alive(pid))
	require.True(t, Alive(os.Getpid()))
}

func TestEnvironment(t *testing.T) {
	cmd := child(t)
	pid := cmd.Process.Pid
	setting := playVar + "=" + t.Name()
	if _, err := WithEnv(setting); errors.Is(err, errors.ErrUnsupported) {
		require.NotEqual(t, "linux", runtime.GOOS, "it shows the environment of a process")
		t.Skip("SKIPPED, NOT TESTED: this system does not show the environment of a process")
	}
	require.Eventually(t, func() bool { return HasEnv(pid, setting) }, 10*time.Second, time.Millisecond, "it shows once the program runs")
	require.False(t, HasEnv(pid, playVar), "a whole setting, not a part")
	require.False(t, HasEnv(1<<30, setting))
	found, err := WithEnv(setting)
	require.NoError(t, err)
	require.Equal(t, []int{pid}, found)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	found, err = WithEnv(setting)
	require.NoError(t, err)
	require.Empty(t, found)
}
