// How a node is started on Linux.

package local

import "syscall"

// attributes gives a node a process group of its own, and lets it die with the thread that started
// it, which dies with this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
