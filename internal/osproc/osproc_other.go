//go:build !linux && !darwin && !windows

package osproc

import (
	"errors"
	"os"
	"syscall"
)

// BootID names this boot of the machine; it is not known here.
func BootID() string { return "" }

// Space names the namespace in which this process's numbers mean something; it is not known here.
func Space() string { return "" }

// Start is when a process started; it is not known here, so that nothing tells a process from a
// later one with its number.
func Start(int) string { return "" }

// Alive says whether there is such a process, of whatever user.
func Alive(pid int) bool { return exists(pid) }

// GroupAlive says whether a process group has a process.
func GroupAlive(group int) bool { return exists(-group) }

func exists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

// Stopped is never known here.
func Stopped(int) (stopped, known bool) { return false, false }

// Switches is never known here.
func Switches(int) (count int64, ok bool) { return 0, false }

// HasEnv is never known here, and then no.
func HasEnv(int, string) bool { return false }

// WithEnv returns the processes that HasEnv says yes to; that is errors.ErrUnsupported here.
func WithEnv(string) ([]int, error) { return nil, errors.ErrUnsupported }
