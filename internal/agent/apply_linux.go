package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// daemonWait bounds how long applyRules waits for a delay process that was just started.
const daemonWait = 3 * time.Second

// startWait bounds how long it waits for a container that is just starting.
const startWait = 5 * time.Second

// applyRules replaces all rules of this container at once and reports what the replaced ones did.
// When rules delay packets, the delay process must run or be about to.
func applyRules(set RuleSet) (Report, error) {
	if err := waitForNode(); err != nil {
		return Report{}, err
	}
	delays := set.delays()
	wait := daemonWait
	if len(delays) == 0 {
		wait = 0
	}
	daemon, err := dialDelays(wait)
	if errors.Is(err, errNoDaemon) && len(delays) == 0 {
		daemon = nil
	} else if err != nil {
		return Report{}, err
	}
	queues := make(map[delay]uint16)
	if daemon != nil {
		if queues, err = daemon.prepare(delays); err != nil {
			return Report{}, err
		}
	}
	before, err := readDropped()
	if err != nil {
		return Report{}, err
	}
	if err := program(set, queues); err != nil {
		return Report{}, err
	}
	r := Report{Counts: before}
	if daemon != nil {
		// Only now does no packet go to the queues that are no longer wanted.
		delayed, err := daemon.commit(delays)
		if err != nil {
			return Report{}, err
		}
		r.addDelayed(delayed)
	}
	return r, nil
}

// readReport reports what the present rules have done so far.
func readReport() (Report, error) {
	dropped, err := readDropped()
	if err != nil {
		return Report{}, err
	}
	r := Report{Counts: dropped}
	daemon, err := dialDelays(0)
	if errors.Is(err, errNoDaemon) {
		return r, nil
	}
	if err != nil {
		return Report{}, err
	}
	delayed, err := daemon.counts()
	if err != nil {
		return Report{}, err
	}
	r.addDelayed(delayed)
	return r, nil
}

func (r *Report) addDelayed(delayed map[string]int64) {
	for id, n := range delayed {
		c := r.Counts[id]
		c.Delayed += n
		r.Counts[id] = c
	}
}

// waitForNode returns when the container's first process is no longer run-node: until then that one
// is about to apply the rules it was started with, and would undo newer ones.
func waitForNode() error {
	if os.Getpid() == 1 {
		return nil
	}
	for end := time.Now().Add(startWait); ; {
		first, err := os.ReadFile("/proc/1/cmdline")
		if err != nil {
			return fmt.Errorf("look at the container's first process: %w", err)
		}
		if !isRunNode(first) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the node has not started within %v", startWait)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// isRunNode reports whether a process whose arguments are cmdline (proc(5): each ends in a zero
// byte) is still run-node. Only the first arguments count: the node's own may have the same words.
func isRunNode(cmdline []byte) bool {
	args := bytes.SplitN(cmdline, []byte{0}, 4)
	return len(args) == 4 && string(args[1]) == "agent" && string(args[2]) == CmdRunNode
}

// runNode writes the node's files and applies the rules in a file, so that a node that comes back
// into a split never hears through it. Then it becomes the node, whose command is looked for in
// PATH as a shell would. It returns only errors.
func runNode(command []string, rules string, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own executable: %w", err)
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("start the node %q: %w", command, err)
	}
	if err := writeFiles(); err != nil {
		return err
	}
	if err := applyFile(self, rules, stderr); err != nil {
		return err
	}
	if err := syscall.Exec(path, command, os.Environ()); err != nil {
		return fmt.Errorf("start the node %q: %w", command, err)
	}
	return nil
}

// writeFiles writes the files that came with the environment.
func writeFiles() error {
	encoded, ok := os.LookupEnv(FilesEnv)
	if !ok {
		return nil
	}
	files, err := DecodeFiles(encoded)
	if err != nil {
		return err
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write the node's file %s: %w", path, err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write the node's file %s: %w", path, err)
		}
	}
	return os.Unsetenv(FilesEnv)
}

func applyFile(self, path string, stderr io.Writer) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the active rules: %w", err)
	}
	defer file.Close()
	set, err := Decode(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(set.Rules) == 0 {
		return nil
	}
	if set.HasDelays() {
		// A child of what becomes the node: nobody waits for it, so that it stays in the process
		// table when it has ended, until the container stops. That is one entry per start under a
		// delay.
		cmd := exec.Command(self, "agent", CmdDelay)
		cmd.Stderr = stderr
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start the delay process: %w", err)
		}
	}
	if _, err := applyRules(set); err != nil {
		return fmt.Errorf("apply the active rules: %w", err)
	}
	return nil
}
