package osproc

import (
	"errors"
	"strconv"

	"golang.org/x/sys/windows"
)

// BootID names this boot of the machine; it is not known here.
func BootID() string { return "" }

// Space names the namespace in which this process's numbers mean something. There are none here.
func Space() string { return "" }

// stillActive is the exit code of a process that has not ended (STILL_ACTIVE).
const stillActive = 259

// Start is when a process started, in the system's own unit: with the number it tells a process
// from any other. "": there is no such process, or the system does not say.
func Start(pid int) string {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return ""
	}
	defer func() { _ = windows.CloseHandle(h) }() // it was only read
	var start, exit, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &start, &exit, &kernel, &user); err != nil {
		return ""
	}
	return strconv.FormatInt(start.Nanoseconds(), 10)
}

// Alive says whether there is such a process, of whatever user. os.Process.Signal cannot tell: here
// it knows no signal but Kill.
func Alive(pid int) bool {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return errors.Is(err, windows.ERROR_ACCESS_DENIED)
	}
	defer func() { _ = windows.CloseHandle(h) }() // it was only read
	var code uint32
	return windows.GetExitCodeProcess(h, &code) != nil || code == stillActive
}

// GroupAlive is never known here, and then yes.
func GroupAlive(int) bool { return true }

// Stopped is never known here.
func Stopped(int) (stopped, known bool) { return false, false }

// Switches is never known here.
func Switches(int) (count int64, ok bool) { return 0, false }

// HasEnv is never known here, and then no.
func HasEnv(int, string) bool { return false }

// WithEnv returns the processes that HasEnv says yes to; that is errors.ErrUnsupported here.
func WithEnv(string) ([]int, error) { return nil, errors.ErrUnsupported }
