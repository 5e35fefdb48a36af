package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

// TestMain: `run` spawns this test binary as the child of its simulations.
func TestMain(m *testing.M) {
	handlers := experiment.Standard().SimHandlers()
	if os.Getenv(frozenTestEnv) != "" {
		for name := range handlers {
			handlers[name] = frozen
		}
	}
	sim.ChildMain(handlers)
	if how := os.Getenv(supervisedTestEnv); how != "" {
		playChild(how)
	}
	if fuse := os.Getenv(commandTestEnv); fuse != "" {
		playCommand(fuse)
	}
	os.Exit(m.Run())
}

// result is what one use of the command line gave.
type result struct {
	code           int
	stdout, stderr string
}

func runCLI(t *testing.T, args ...string) result {
	t.Helper()
	return runCLIContext(t.Context(), args...)
}

func runCLIContext(ctx context.Context, args ...string) result {
	var out, errOut bytes.Buffer
	a := &app{catalog: experiment.Standard(), stdin: strings.NewReader(""), stdout: &out, stderr: &errOut}
	code := a.guarded(ctx, args)
	return result{code, out.String(), errOut.String()}
}

// TestBadInput: each is exit 1 with one line on standard error that tells what to do, and nothing
// is started or written.
func TestBadInput(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("bad.jsonl", []byte("{}\n"), 0o644))
	require.NoError(t, os.WriteFile("bad.yaml", []byte("nope: 1\n"), 0o644))
	require.NoError(t, os.WriteFile("plan.json", []byte(`{"seed":1,"strikes":[{"id":1,"fault":"kill","at_ns":1,"for_ns":90000000000,"pick":1}]}`), 0o644))
	require.NoError(t, os.WriteFile("noplan.json", []byte(`[]`), 0o644))
	for _, c := range []struct{ args, want string }{
		{"frob", `unknown command "frob"`},
		{"run --frob", "unknown flag: --frob"},
		{"run --nodes x", `--nodes "x": give a whole number`},
		{"run extra", "takes flags only"},
		{"run --env moon", "unknown environment \"moon\" (want sim or docker or local)"},
		{"run --mode raft", "unknown mode \"raft\" of target reference (want master-slave"},
		{"run --nodes 0", "1 to 64 nodes"},
		{"run --set flush", "give key=value"},
		{"run --set flush=maybe", "allowed are async, sync, leader"},
		{"run --set frob=1", `has no option "frob"`},
		{"run --set flush=sync --set flush=async", "given twice"},
		{"run --set copies=2", "needs replication=sync"},
		{"run --nodes 1 --set replication=sync", "copies=2"},
		{"run --nodes 3 --set groups=2", "cannot be divided"},
		{"run --set read-from=follower", "follower-read=true"},
		{"run --workload queue", "unknown workload \"queue\" (want log"},
		{"run --nemesis frob", `unknown fault "frob"`},
		{"run --nemesis kill:boss", `no role "boss"`},
		{"run --nemesis kill/ring", "no shapes"},
		{"run --nemesis none,kill", "none or an empty name among faults"},
		{"run --nemesis kill,,pause", "none or an empty name among faults"},
		{"run --nemesis kill --time 2s", "too short"},
		{"run --nemesis slow --interval 1s", "too short"},
		{"run --nodes 2 --nemesis kill:minority", "minority"},
		{"run --env docker --nemesis power:leader", "neither this environment nor the mode can"},
		{"run --env docker --nemesis fsync,kill", "neither this environment nor the mode can"},
		{"run --time 0s", "--time"},
		{"run --rate 0", "--rate"},
		{"run --clients 0", "--clients"},
		{"run --interval -1s", "--interval"},
		{"run --check-timeout 0s", "--check-timeout"},
		{"run --keep never", "on-failure or always"},
		{"run --store=", "--store"},
		{"run --seeds 0", "--seeds"},
		{"run --jobs 0 --seeds 2", "--jobs"},
		{"run --seed -1", `--seed "-1": give a whole number from 0`},
		{"run --time 60", `--time "60": give a duration with its unit`},
		{"run --json=maybe", "give true or false"},
		{"run --nemesis=", "--nemesis is empty"},
		{"run --plan=", "--plan is empty"},
		{"run --plan nowhere.json", "no such file"},
		{"run --plan noplan.json", "plan"},
		{"run --plan plan.json", "cannot be carried out"},
		{"run --plan plan.json --nemesis kill --time 200s", "leave --nemesis out"},
		{"check", "takes one run directory"},
		{"check nowhere", "does not exist"},
		{"check bad.jsonl", "line 1"},
		{"check bad.jsonl --check-timeout 0s", "--check-timeout 0s"},
		{"check bad.jsonl --check-timeout -1s", "--check-timeout -1s"},
		{"check .", "not a run directory"},
		{"show nowhere --message 1", "does not exist"},
		{"show bad.jsonl", "either --message VALUE or --anomaly N"},
		{"show bad.jsonl --message 1 --anomaly 1", "either --message VALUE or --anomaly N"},
		{"node", "--config"},
		{"node --config nowhere.yaml", "no such file"},
		{"node --config bad.yaml", "nope"},
		{"admin", "assay admin promote"},
		{"admin promote", "--config FILE"},
		{"admin promote --config nowhere.yaml", "no such file"},
		{"admin promote --config bad.yaml --group -1", "groups count from 0"},
		{"list", "list takes one of"},
		{"list frob", "list takes one of"},
		{"list faults --env moon", "unknown environment \"moon\" (want sim or docker or local)"},
		{"bench", "assay bench broker"},
		{"bench broker --flush maybe", "allowed are sync"},
		{"bench broker --flush=", "measures nothing"},
		{"bench broker --in-flight 0", "1 to 4096"},
		{"bench broker --time 1ms", "at least 100ms"},
		{"bench broker --size 0", "--size"},
		{"version extra", "no arguments"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := runCLI(t, strings.Split(c.args, " ")...)
			require.Equal(t, 1, r.code)
			require.Contains(t, r.stderr, c.want)
			require.Equal(t, 1, strings.Count(r.stderr, "\n"), "one line: %q", r.stderr)
			require.True(t, strings.HasPrefix(r.stderr, "assay: "), r.stderr)
			require.Empty(t, r.stdout)
			require.NoDirExists(t, "runs")
		})
	}
}

// TestJSONErrors: with --json there is exactly one object on standard output, whatever went wrong.
func TestJSONErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"run", "--json", "--nodes", "0"}, {"run", "--json", "--frob"}, {"run", "--nemesis", "frob", "--json"}, {"run", "--rate", "x", "--json=true"},
	} {
		r := runCLI(t, args...)
		require.Equal(t, 1, r.code)
		var s judge.Summary
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &s), r.stdout)
		require.Equal(t, "error", s.Verdict)
		require.Equal(t, 1, s.Exit)
		require.Len(t, s.Unknown, 1)
		require.NotContains(t, r.stdout, "null")
	}
	require.Empty(t, runCLI(t, "run", "--json=false", "--nodes", "0").stdout)
	r := runCLI(t, "check", "nowhere", "--json")
	require.Equal(t, 1, r.code)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got), r.stdout)
	require.ElementsMatch(t, []string{"verdict", "exit", "unknown", "anomalies", "ops", "check_ms"}, keys(got))
}

// TestUnwrittenOutputIsAnError: a result that went nowhere is not a success, whatever it says.
func TestUnwrittenOutputIsAnError(t *testing.T) {
	t.Chdir(t.TempDir())
	path := lossy(t)
	for _, args := range []string{"version", "run --time 1s --seed 1", "run --time 1s --seed 1 --json", "run --time 1s --seed 1 --seeds 2 --json", "check --json " + path, "check " + path} {
		var errOut bytes.Buffer
		a := &app{catalog: experiment.Standard(), stdin: strings.NewReader(""), stdout: fullPipe{}, stderr: &errOut}
		require.Equal(t, 1, a.guarded(t.Context(), strings.Fields(args)), args)
		require.Contains(t, errOut.String(), "no space", args)
	}
}

// fullPipe takes nothing.
type fullPipe struct{}

func (fullPipe) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestOneLine(t *testing.T) {
	require.Equal(t, "yaml: errors: line 1: bad; line 2: worse", oneLine(errors.New("yaml: errors:\n  line 1: bad\n\n  line 2: worse\r\n")))
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range []string{"", "run", "check", "show", "node", "admin promote", "list", "clean", "bench broker"} {
		r := runCLI(t, append(strings.Fields(args), "--help")...)
		require.Zero(t, r.code)
		require.Empty(t, r.stderr)
		if args != "clean" {
			require.Contains(t, r.stdout, "Examples:", args)
		}
		require.NotContains(t, r.stdout, "completion")
		require.NotContains(t, r.stdout, "  agent")
	}
}

// TestExamplesAreValid: every `assay run` in the help texts can be run.
func TestExamplesAreValid(t *testing.T) {
	found := 0
	for _, help := range []string{runCLI(t, "--help").stdout, runCLI(t, "run", "--help").stdout} {
		for _, line := range regexp.MustCompile(`(?m)^  assay run( .*)?$`).FindAllString(help, -1) {
			args := strings.Fields(regexp.MustCompile(`  +`).Split(strings.TrimSpace(line), 2)[0])[2:]
			a := &app{catalog: experiment.Standard()}
			cmd := a.runCommand()
			require.NoError(t, cmd.ParseFlags(args), line)
			f := runFlags{spec: experiment.Default()}
			bound := a.runCommand()
			bound.ResetFlags()
			f.bind(bound, nil)
			require.NoError(t, bound.ParseFlags(args), line)
			require.NoError(t, f.finish(experiment.Standard(), false), line)
			found++
		}
	}
	require.Greater(t, found, 5)
}

func TestList(t *testing.T) {
	for what, want := range map[string][]string{
		"modes": {"master-slave"}, "faults": {"wipe", "partition", "with-clients", "sim,docker"}, "workloads": {"log"}, "targets": {"reference"},
		"options": {"replication.timeout.ms", "read-from", "3000"},
	} {
		r := runCLI(t, "list", what)
		require.Zero(t, r.code)
		for _, w := range want {
			require.Contains(t, r.stdout, w)
		}
	}
	r := runCLI(t, "list", "faults", "--env", "docker")
	require.Contains(t, r.stdout, "kill")
	require.NotContains(t, r.stdout, "power")
	require.NotContains(t, r.stdout, "greatest", "what cannot be written is not listed")
}

func TestVersion(t *testing.T) {
	r := runCLI(t, "version")
	require.Zero(t, r.code)
	require.Regexp(t, `^assay \S+ go1\.\S+ \S+/\S+\n$`, r.stdout)
}

// TestPanicIsExitOne: a Go panic's own exit code, 2, would say that nothing can be concluded about
// the system.
func TestPanicIsExitOne(t *testing.T) {
	removed := false
	var errOut bytes.Buffer
	a := &app{catalog: experiment.Standard(), stdout: panicky{}, stderr: &errOut}
	a.clusters.add(func(context.Context) error { removed = true; return nil })
	require.Equal(t, 1, a.guarded(t.Context(), []string{"version"}))
	require.Contains(t, errOut.String(), "panic: no")
	require.True(t, removed, "the cluster is removed on the way out")
}

type panicky struct{}

func (panicky) Write([]byte) (int, error) { panic("no") }

// lossy writes a history in which an acknowledged message is gone, and returns its path.
func lossy(t *testing.T) string {
	t.Helper()
	send := histories.New(histories.Invoke, 0, histories.Send)
	send.Value = 7
	sent := send
	sent.Type, sent.Offset, sent.Node = histories.OK, 0, "n1"
	final := histories.New(histories.Invoke, 1, histories.Final)
	final.From = 0
	read := final
	read.Type, read.HW, read.Msgs = histories.OK, 0, []histories.Message{}
	h := histories.History{send, sent, final, read}
	for i := range h {
		h[i].Index, h[i].Time = int64(i), int64(i)*1e6
	}
	var b bytes.Buffer
	require.NoError(t, histories.Write(&b, h))
	path := filepath.Join(t.TempDir(), "lossy.jsonl")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// TestAlarm: a lost message must be found, and without a manifest nothing permits it.
func TestAlarm(t *testing.T) {
	path := lossy(t)
	r := runCLI(t, "check", path, "--json")
	require.Equal(t, 3, r.code, r.stdout+r.stderr)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	require.Equal(t, "invalid", got["verdict"])
	require.ElementsMatch(t, []string{"verdict", "exit", "unknown", "anomalies", "ops", "check_ms"}, keys(got))
	require.Contains(t, r.stdout, `"lost-write"`)
	require.Contains(t, r.stderr, "there is no contract")

	r = runCLI(t, "check", path)
	require.Equal(t, 3, r.code)
	require.True(t, strings.HasPrefix(r.stdout, "INVALID (exit 3): "), r.stdout)
	require.Contains(t, r.stdout, "there is no contract")

	r = runCLI(t, "show", path, "--message", "7")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "lost: acknowledged")
	r = runCLI(t, "show", path, "--anomaly", "1")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "send 7 to partition 0")
	r = runCLI(t, "show", path, "--message", "8")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "message 8")
}

func keys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

// A program with parts of its own is called by its own name, has its own defaults, and is not taken
// for assay's version.
func TestProgramOfSomebodyElse(t *testing.T) {
	c := experiment.Standard()
	c.Program = "ours"
	other := *c.Targets[0]
	other.Name = "other"
	c.Targets = []*target.Target{&other}
	use := func(args ...string) result {
		var out, errOut bytes.Buffer
		a := &app{catalog: c, stdin: strings.NewReader(""), stdout: &out, stderr: &errOut}
		return result{a.guarded(t.Context(), args), out.String(), errOut.String()}
	}
	require.Contains(t, use("--help").stdout, "  ours run --nemesis kill")
	help := use("run", "--help").stdout
	require.Contains(t, help, "ours run --nemesis")
	require.Contains(t, help, "see ours list faults")
	require.NotContains(t, help, "assay ")
	require.Contains(t, use("version").stdout, "ours with assay ")
	require.Contains(t, use("list", "environments").stdout, "docker")
	require.Contains(t, use("list", "faults").stdout, "kill")
	r := use("run", "--env", "moon")
	require.True(t, strings.HasPrefix(r.stderr, "ours: unknown environment"), r.stderr)
	r = use("clean", "--env", "moon")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, `unknown environment "moon"`)

	info := &debug.BuildInfo{Main: debug.Module{Path: "example.com/ours", Version: "v9.9.9"}, Deps: []*debug.Module{{Path: module, Version: "v1.2.3"}}}
	require.Equal(t, "v1.2.3", versionOf(info))
	info.Deps[0].Replace = &debug.Module{Path: "../assay"}
	require.Equal(t, "unknown", versionOf(info))
}

// Whoever has only local nodes can clean up where there is no Docker.
func TestCleanOneEnvironment(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	require.Equal(t, 1, runCLI(t, "clean").code)
	r := runCLI(t, "clean", "--env", "local")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, "nothing to remove\n", r.stdout)
}
