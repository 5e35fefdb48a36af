package docker

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// bootID names this boot of the machine.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// pidSpace names the namespace in which this process's numbers mean something, "pid:[4026531836]".
func pidSpace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return link
}

// processStat returns the fields of a process from its state on (proc(5), field 3 of stat); nil when there is no such process.
func processStat(pid int) [][]byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The second field is the command in brackets, which may itself hold spaces and brackets.
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return nil
	}
	return fields
}

// processStart is when a process started, in clock ticks since the boot; "" when there is no such process.
func processStart(pid int) string {
	if f := processStat(pid); f != nil {
		return string(f[19])
	}
	return ""
}

// exiting is the kernel's PF_EXITING among a process's flags.
const exiting = 0x4

// processAlive says whether there is such a process, of whatever user, that will do anything more: one that was killed is there until its memory
// is given back and its parent has looked.
func processAlive(pid int) bool {
	f := processStat(pid)
	if f == nil || bytes.ContainsAny(f[0], "ZXx") {
		return false
	}
	flags, err := strconv.ParseUint(string(f[6]), 10, 64)
	return err != nil || flags&exiting == 0
}

// switches counts how often the threads of a container's first process have been given a processor. It is not known when the process
// cannot be seen here, or is not the container's: the engine may be on another machine.
func switches(pid int, containerID string) (count int64, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	group, err := os.ReadFile(dir + "/cgroup")
	if err != nil || containerID == "" || !bytes.Contains(group, []byte(containerID)) {
		return 0, false
	}
	threads, err := os.ReadDir(dir + "/task")
	if err != nil {
		return 0, false
	}
	for _, t := range threads {
		status, err := os.ReadFile(dir + "/task/" + t.Name() + "/status")
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
