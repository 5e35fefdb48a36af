package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
)

// programEnv makes this test binary the program.
const programEnv = "MYASSAY_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// myassay runs the program in a directory, and returns what it printed and its exit code.
func myassay(t *testing.T, dir string, args ...string) (out string, exit int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), programEnv+"=1")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

func TestListsThePartsOfItsOwn(t *testing.T) {
	for what, want := range map[string]string{
		"targets": "shardlog", "modes": "target shardlog: one copy", "options": "sync", "workloads": "register", "faults": "recrash",
	} {
		out, exit := myassay(t, t.TempDir(), "list", what)
		require.Zero(t, exit, out)
		require.Contains(t, out, want)
	}
}

// What one's own binary ran, it judges again; the stock one says which part it lacks.
func TestRunAndCheck(t *testing.T) {
	dir := t.TempDir()
	out, exit := myassay(t, dir, "run", "--target", "shardlog", "--set", "sync=false", "--nemesis", "recrash,power", "--time", "12s", "--interval", "5s", "--rate", "50", "--seed", "1")
	require.Equal(t, judge.ExitPermitted, exit, out)
	require.Contains(t, out, "there is one copy, and its disk lost it")
	require.Contains(t, out, "\nmyassay run --target shardlog ")

	runs, err := filepath.Glob(filepath.Join(dir, "runs", "*"))
	require.NoError(t, err)
	require.Len(t, runs, 1)
	out, exit = myassay(t, dir, "check", runs[0])
	require.Equal(t, judge.ExitPermitted, exit, out)

	_, err = experiment.Standard().Judge(t.Context(), runs[0], experiment.JudgeOptions{})
	require.ErrorContains(t, err, `the run cannot be judged by this program: unknown target "shardlog" (want reference`)
	require.ErrorContains(t, err, "; judge it with the program that made it")
}

// What does not fit together is refused before anything starts, and the message says why.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"neither this environment nor the mode can cut the power", []string{"--env", "local", "--nemesis", "power"}},
		{"this cluster does not tell who leads", []string{"--nemesis", "kill:leader"}},
		{`unknown fault "recrush"`, []string{"--nemesis", "recrush"}},
		{"has no option \"flush\"", []string{"--set", "flush=sync"}},
	} {
		out, exit := myassay(t, t.TempDir(), append([]string{"run", "--target", "shardlog"}, c.args...)...)
		require.Equal(t, judge.ExitError, exit, out)
		require.Contains(t, out, c.want)
	}
}
