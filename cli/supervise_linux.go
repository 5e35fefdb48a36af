package cli

import "syscall"

// ownGroup puts a child in a process group of its own, and lets it die with its parent.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
