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

// applyRules replaces all rules of this container at once and reports what the replaced ones did. When rules delay packets, the
// delay process must run or be about to.
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

// waitForNode returns when the container's first process is no longer run-node: until then that one is about to apply the rules it
// was started with, and would undo newer ones.
func waitForNode() error {
	if os.Getpid() == 1 {
		return nil
	}
	for end := time.Now().Add(startWait); ; {
		first, err := os.ReadFile("/proc/1/cmdline")
		if err != nil {
			return fmt.Errorf("look at the container's first process: %w", err)
		}
		if !bytes.Contains(first, []byte("\x00"+CmdRunNode+"\x00")) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the node has not started within %v", startWait)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// runNode applies the rules in the file, so that a node that comes back into a split never hears through it, and then becomes the
// node. It returns only errors.
func runNode(config, rules string, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own executable: %w", err)
	}
	if err := writeConfig(config); err != nil {
		return err
	}
	if err := applyFile(self, rules, stderr); err != nil {
		return err
	}
	argv := []string{self, "node", "--config", config}
	if err := syscall.Exec(self, argv, os.Environ()); err != nil {
		return fmt.Errorf("start the node %q: %w", argv, err)
	}
	return nil
}

// writeConfig puts the configuration that came with the environment into its file.
func writeConfig(path string) error {
	config, ok := os.LookupEnv(ConfigEnv)
	if !ok {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the node's configuration: %w", err)
	}
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return fmt.Errorf("write the node's configuration: %w", err)
	}
	return os.Unsetenv(ConfigEnv)
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
		// A child of what becomes the node: nobody waits for it, so that it stays in the process table when it has ended, until
		// the container stops. That is one entry per start under a delay.
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
