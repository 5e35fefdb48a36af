//go:build unix

// What the package asks of a Unix system.

package local

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// supported says whether this system has what the package is made of.
const supported = true

func killGroup(group int) error   { return syscall.Kill(-group, syscall.SIGKILL) }
func freezeGroup(group int) error { return syscall.Kill(-group, syscall.SIGSTOP) }
func thawGroup(group int) error   { return syscall.Kill(-group, syscall.SIGCONT) }

// terminate asks a process to end.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// exitOf says how a process ended.
func exitOf(state *os.ProcessState) exit {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exit{
			code: 128 + int(status.Signal()), killed: status.Signal() == syscall.SIGKILL,
			how: fmt.Sprintf("signal: %v", status.Signal()),
		}
	}
	return exit{code: state.ExitCode(), how: fmt.Sprintf("exit code %d", state.ExitCode())}
}

// ownedByMe says whether a file belongs to the user of this process: directories of temporary files
// are everybody's.
func ownedByMe(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
