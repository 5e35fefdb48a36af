package osproc

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStopped(t *testing.T) {
	cmd := child(t)
	pid := cmd.Process.Pid
	isStopped := func() bool {
		stopped, known := Stopped(pid)
		require.True(t, known)
		return stopped
	}
	require.False(t, isStopped())
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	require.Eventually(t, isStopped, 10*time.Second, time.Millisecond)
	before, ok := Switches(pid)
	require.True(t, ok)
	require.Positive(t, before)
	after, ok := Switches(pid)
	require.True(t, ok)
	require.Equal(t, before, after)
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { n, ok := Switches(pid); return ok && n > before }, 10*time.Second, time.Millisecond)
	require.False(t, isStopped())

	_, known := Stopped(1 << 30)
	require.False(t, known)
	_, ok = Switches(1 << 30)
	require.False(t, ok)
}

func TestGroupAlive(t *testing.T) {
	require.True(t, GroupAlive(syscall.Getpgrp()))
	require.False(t, GroupAlive(1<<30))
	require.NotEmpty(t, BootID())
	require.NotEmpty(t, Space())
	require.NotEmpty(t, Start(os.Getpid()))
}
