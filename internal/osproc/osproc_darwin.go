package osproc

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// States of a process (sys/proc.h).
const (
	statStopped = 4 // SSTOP
	statZombie  = 5 // SZOMB
)

// BootID names this boot of the machine; "" where unknown.
func BootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

// Space names the namespace in which this process's numbers mean something. There are none here.
func Space() string { return "" }

func look(pid int) (unix.ExternProc, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return unix.ExternProc{}, false
	}
	return info.Proc, true
}

// Start is when a process started, in the system's own unit: with the number and the boot it tells
// a process from any other. "": there is no such process, or the system does not say.
func Start(pid int) string {
	p, ok := look(pid)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d.%06d", p.P_starttime.Sec, p.P_starttime.Usec)
}

// Alive says whether there is such a process, of whatever user, that will do anything more.
func Alive(pid int) bool {
	p, ok := look(pid)
	return ok && p.P_stat != statZombie
}

// GroupAlive says whether a process group has a process that is alive.
func GroupAlive(group int) bool {
	members, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", group)
	if err != nil {
		return !errors.Is(err, unix.ESRCH)
	}
	for _, m := range members {
		if m.Proc.P_stat != statZombie {
			return true
		}
	}
	return false
}

// Stopped says whether a process is stopped by a signal (SIGSTOP). known false: there is no such
// process, or the system does not say.
func Stopped(pid int) (stopped, known bool) {
	p, ok := look(pid)
	return ok && p.P_stat == statStopped, ok
}

// Switches is never known here.
func Switches(int) (count int64, ok bool) { return 0, false }

// HasEnv says whether a process was started with a setting "KEY=value" in its environment. False
// also when its environment cannot be read: it is another user's or one of the system's own
// programs, or the process has ended.
func HasEnv(pid int, setting string) bool {
	memory, err := unix.SysctlRaw("kern.procargs2", pid) // the arguments, then the environment, each with a NUL behind it
	return err == nil && bytes.Contains(memory, []byte("\x00"+setting+"\x00"))
}

// WithEnv returns the processes, this one left out, that HasEnv says yes to.
func WithEnv(setting string) ([]int, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list the processes of this machine: %w", err)
	}
	var found []int
	for _, p := range all {
		if pid := int(p.Proc.P_pid); pid != os.Getpid() && HasEnv(pid, setting) {
			found = append(found, pid)
		}
	}
	return found, nil
}
