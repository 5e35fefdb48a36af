package osproc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// BootID names this boot of the machine; "" where unknown.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// Space names the namespace in which this process's numbers mean something, "pid:[4026531836]"; ""
// where there are none.
func Space() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return link
}

// Fields of proc(5)'s stat, counted from the state on.
const (
	statState = 0
	statGroup = 2
	statFlags = 6
	statStart = 19
)

// stat returns the fields of a stat file from the state on; nil when there is no such process or
// thread.
func stat(path string) [][]byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	// The second field is the command in brackets, which may itself hold spaces and brackets.
	_, rest, ok := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) <= statStart {
		return nil
	}
	return fields
}

func dirOf(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// Start is when a process started, in the system's own unit: with the number and the boot it tells
// a process from any other. "": there is no such process, or the system does not say.
func Start(pid int) string {
	if f := stat(dirOf(pid) + "/stat"); f != nil {
		return string(f[statStart])
	}
	return ""
}

// exiting is the kernel's PF_EXITING among a process's flags.
const exiting = 0x4

// Alive says whether there is such a process, of whatever user, that will do anything more: one
// that was killed is there until its memory is given back and its parent has looked.
func Alive(pid int) bool { return doesMore(stat(dirOf(pid) + "/stat")) }

func doesMore(f [][]byte) bool {
	if f == nil || bytes.ContainsAny(f[statState], "ZXx") {
		return false
	}
	flags, err := strconv.ParseUint(string(f[statFlags]), 10, 64)
	return err != nil || flags&exiting == 0
}

// GroupAlive says whether a process group has a process that is alive.
func GroupAlive(group int) bool {
	want := []byte(strconv.Itoa(group))
	pids, err := all()
	if err != nil {
		return true
	}
	for _, pid := range pids {
		if f := stat(dirOf(pid) + "/stat"); doesMore(f) && bytes.Equal(f[statGroup], want) {
			return true
		}
	}
	return false
}

// all are the numbers of all processes.
func all() ([]int, error) {
	names, err := readNames("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes of this machine: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// readNames lists a directory of /proc. A process that ends meanwhile is no error.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// Stopped says whether all threads of a process are stopped by a signal (SIGSTOP). known false:
// there is no such process, or the system does not say.
func Stopped(pid int) (stopped, known bool) {
	tids, err := readNames(dirOf(pid) + "/task")
	if err != nil {
		return false, false
	}
	for _, tid := range tids {
		f := stat(dirOf(pid) + "/task/" + tid + "/stat")
		if f == nil {
			continue // it ended
		}
		known = true
		if !bytes.ContainsAny(f[statState], "TtZXx") {
			return false, true
		}
	}
	return known, known
}

// Switches counts how often the threads of a process were taken off a processor: a process whose
// count does not change does not run. ok false: there is no such process, or the system does not
// say.
func Switches(pid int) (count int64, ok bool) {
	tids, err := readNames(dirOf(pid) + "/task")
	if err != nil {
		return 0, false
	}
	for _, tid := range tids {
		status, err := os.ReadFile(dirOf(pid) + "/task/" + tid + "/status")
		if err != nil {
			return 0, false
		}
		for line := range bytes.Lines(status) {
			name, value, _ := bytes.Cut(line, []byte(":"))
			if !bytes.HasSuffix(name, []byte("voluntary_ctxt_switches")) { // and nonvoluntary
				continue
			}
			n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return 0, false
			}
			count += n
		}
	}
	return count, true
}

// HasEnv says whether a process was started with a setting "KEY=value" in its environment. False
// also when its environment cannot be read: it is another user's, or the process has ended.
func HasEnv(pid int, setting string) bool {
	env, err := os.ReadFile(dirOf(pid) + "/environ")
	if err != nil {
		return false
	}
	for one := range bytes.SplitSeq(env, []byte{0}) {
		if string(one) == setting {
			return true
		}
	}
	return false
}

// WithEnv returns the processes, this one left out, that HasEnv says yes to.
func WithEnv(setting string) ([]int, error) {
	pids, err := all()
	if err != nil {
		return nil, err
	}
	var found []int
	for _, pid := range pids {
		if pid != os.Getpid() && HasEnv(pid, setting) {
			found = append(found, pid)
		}
	}
	return found, nil
}
