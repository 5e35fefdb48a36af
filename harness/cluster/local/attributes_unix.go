//go:build unix && !linux

// How a node is started on Unix systems other than Linux.

package local

import "syscall"

// attributes gives a node a process group of its own. Nothing lets it die with this process here:
// Clean finds it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
