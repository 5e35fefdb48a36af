package outside_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
)

// binary is an executable of this machine.
type binary string

// build builds a command, as its users would.
func build(t *testing.T, dir, pkg string) binary {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return binary(path)
}

// run runs it, and returns its exit code and what it printed.
func (b binary) run(t *testing.T, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), string(b), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// json runs it, and reads the object that it prints.
func (b binary) json(t *testing.T, args ...string) (exit int, s judge.Summary) {
	t.Helper()
	exit, out, errs := b.run(t, append(args, "--json")...)
	require.NoError(t, json.Unmarshal([]byte(out), &s), errs)
	require.Equal(t, s.Exit, exit)
	return exit, s
}

// args is the scenario for the command line.
func (c *scenario) args(t *testing.T, env string) []string {
	t.Helper()
	s := c.spec(t)
	args := []string{
		"run", "--env", env, "--target", s.Target, "--workload", s.Workload, "--keep", s.Keep, "--store", s.Store,
		"--time", s.Time.String(), "--interval", s.Interval.String(), "--seed", strconv.FormatUint(s.Seed, 10),
	}
	if len(c.faults) > 0 {
		args = append(args, "--nemesis", strings.Join(c.faults, ","))
	}
	for k, v := range c.options {
		args = append(args, "--set", k+"="+v)
	}
	return args
}

// TestBinary: a binary of one's own has the whole command line with the parts of this module.
func TestBinary(t *testing.T) {
	own, stock := build(t, ".", "./cmd/outside"), build(t, "../..", "./cmd/assay")
	t.Run("run and check", func(t *testing.T) { runAndCheck(t, own, stock) })
	t.Run("text", func(t *testing.T) { text(t, own) })
	t.Run("refused", func(t *testing.T) { refused(t, own) })
	t.Run("local", func(t *testing.T) { local(t, own) })
}

// runAndCheck: it runs the parts and judges what it saved. Stock assay names the part that it
// lacks.
func runAndCheck(t *testing.T, own, stock binary) {
	for name, c := range scenarios() {
		t.Run(name, func(t *testing.T) {
			_, got := own.json(t, c.args(t, "sim")...)
			c.holds(t, &got)
			require.True(t, strings.HasPrefix(got.Reproduce, "outside run --target logserver "), got.Reproduce)

			_, again := own.json(t, "check", got.Run)
			require.Equal(t, got.Verdict, again.Verdict)
			require.Equal(t, got.Anomalies, again.Anomalies)
			require.Equal(t, got.Ops, again.Ops)

			exit, _, errs := stock.run(t, "check", got.Run)
			require.Equal(t, judge.ExitError, exit)
			require.Contains(t, errs, `unknown target "logserver" (want reference`)
		})
	}
	t.Run("foreign fault", func(t *testing.T) { // which the judge need not know
		_, got := own.json(t, "run", "--nemesis", "drain", "--time", "9s", "--interval", "4s", "--keep", "always", "--store", t.TempDir(), "--seed", "1")
		require.Equal(t, judge.ExitValid, got.Exit, got.Unknown)
		_, again := stock.json(t, "check", got.Run)
		require.Equal(t, got.Verdict, again.Verdict)
		exit, _, errs := stock.run(t, "run", "--plan", got.Run)
		require.Equal(t, judge.ExitError, exit)
		require.Contains(t, errs, `unknown fault "drain"`)
	})
}

// text: what people read knows the parts, too.
func text(t *testing.T, own binary) {
	for what, line := range map[string]string{
		"targets":   `logserver +a log server`,
		"modes":     `copies +target logserver: `,
		"workloads": `register +registers are read`,
		"options":   `bug +none +none, ack-before-write, stale-cache +copies +`,
		"faults":    `resync +instant +sim,local +make a follower`,
	} {
		exit, out, errs := own.run(t, "list", what)
		require.Zero(t, exit, errs)
		require.Regexp(t, `(?m)^`+line, out)
	}

	c := scenarios()["register with the bug"]
	_, got := own.json(t, c.args(t, "sim")...)
	exit, out, _ := own.run(t, "check", got.Run)
	require.Equal(t, judge.ExitInvalid, exit)
	require.Contains(t, out, "look closer: outside show ")
	require.Contains(t, out, "longest time without an ok write: ")
	require.NotContains(t, out, "longest time without an ok final-read: ")
	exit, out, _ = own.run(t, "show", got.Run, "--anomaly", "1")
	require.Zero(t, exit)
	require.Contains(t, out, "no order of the operations before it explains op")
	exit, out, _ = own.run(t, "show", got.Run, "--message", "1")
	require.Zero(t, exit)
	require.Regexp(t, `p\d+ (write|cas) partition \d.*, value 1`, out)
}

// refused: what does not fit together is refused before anything starts.
func refused(t *testing.T, own binary) {
	for want, args := range map[string][]string{
		`option bug="none?": allowed are none, ack-before-write, stale-cache`:     {"--set", "bug=none?"},
		`option registers="0": allowed are 1 to 100`:                              {"--workload", "register", "--set", "registers=0"},
		`it has bug, registers`:                                                   {"--workload", "register", "--set", "batch=2"},
		`fault promote: neither this environment nor the mode can promote a node`: {"--nemesis", "promote"},
		`fault resync: no group has a follower`:                                   {"--nemesis", "resync", "--nodes", "1"},
		`no role "leader": resync has follower`:                                   {"--nemesis", "resync:leader"},
		`target logserver: it does not run in containers`:                         {"--env", "docker"},
	} {
		exit, _, errs := own.run(t, append([]string{"run", "--target", "logserver"}, args...)...)
		require.Equal(t, judge.ExitError, exit, errs)
		require.Contains(t, errs, want)
	}
	exit, _, errs := own.run(t, "run", "--nemesis", "resync")
	require.Equal(t, judge.ExitError, exit, errs)
	require.Contains(t, errs, "fault resync: neither this environment nor the mode can make a node fetch its copy again")
	require.Contains(t, errs, "outside list faults --env sim")
}
