// Package outside_test runs the parts of this module through the stock ones: engine, nemesis, judge,
// report and command line.
package outside_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"

	"example.com/outside/parts"
	"example.com/outside/register"
)

// spec is an experiment with the log server.
func spec(t *testing.T, change func(*experiment.Spec)) experiment.Spec {
	t.Helper()
	s := experiment.Default()
	s.Target, s.Nodes, s.Store, s.Seed = "logserver", 2, t.TempDir(), 5
	s.Time, s.Interval, s.Clients = 15*time.Second, 3*time.Second, 4
	change(&s)
	return s
}

// cases are what each part has to show: right and wrong.
var cases = map[string]struct {
	change func(*experiment.Spec)
	exit   int
	class  checker.Class
}{
	"log":                      {func(s *experiment.Spec) { s.Nemesis = []string{"kill"} }, judge.ExitValid, ""},
	"log with five partitions": {func(s *experiment.Spec) { s.Options = map[string]string{"partitions": "5"} }, judge.ExitValid, ""},
	"log with the bug": {func(s *experiment.Spec) {
		s.Nemesis, s.Options = []string{"kill"}, map[string]string{"bug": "true"}
	}, judge.ExitInvalid, checker.LostWrite},
	"register": {func(s *experiment.Spec) {
		s.Workload, s.Nemesis = "register", []string{"kill", "drain"}
	}, judge.ExitValid, ""},
	"register with the bug": {func(s *experiment.Spec) {
		s.Workload, s.Nemesis, s.Options = "register", []string{"kill"}, map[string]string{"bug": "true", "registers": "6"}
	}, judge.ExitInvalid, register.NotARegister},
	"drain and power": {func(s *experiment.Spec) { s.Nemesis = []string{"drain", "power", "partition:one/alone/with-clients"} }, judge.ExitValid, ""},
}

// TestThroughAssaytest: the parts work in `go test`, and what is wrong is found.
func TestThroughAssaytest(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			options := []assaytest.Option{assaytest.With(parts.Catalog(""))}
			if c.exit == judge.ExitInvalid {
				options = append(options, assaytest.ExpectInvalid())
			}
			s := spec(t, c.change)
			s.Keep = experiment.KeepAlways
			res := assaytest.Run(t, s, options...)
			require.Equal(t, c.exit, res.Summary.Exit, res.Why())
			requireClass(t, c.class, &res.Summary)
			requireEffects(t, s.Nemesis, &res.Summary)
			page, err := os.ReadFile(filepath.Join(res.Summary.Run, "report.html"))
			require.NoError(t, err)
			require.Contains(t, string(page), string(c.class))

			again, err := parts.Catalog("").Judge(t.Context(), res.Summary.Run, experiment.JudgeOptions{})
			require.NoError(t, err)
			require.Equal(t, res.Summary.Verdict, again.Summary.Verdict)
			require.Equal(t, res.Summary.Anomalies, again.Summary.Anomalies)
		})
	}
}

// requireClass holds that an anomaly of a class was found; "": none at all.
func requireClass(t *testing.T, class checker.Class, s *judge.Summary) {
	t.Helper()
	if class == "" {
		require.Empty(t, s.Anomalies)
		return
	}
	for i := range s.Anomalies {
		if a := &s.Anomalies[i]; a.Class == class {
			require.NotEmpty(t, a.Witnesses)
			require.NotEmpty(t, a.Explanation)
			require.False(t, a.Permitted)
			return
		}
	}
	require.Fail(t, "not found", "%s in %+v", class, s.Anomalies)
}

// requireEffects holds that each of the faults struck and had a measured effect.
func requireEffects(t *testing.T, faults []string, s *judge.Summary) {
	t.Helper()
	struck := make(map[string]bool)
	for _, f := range s.Faults {
		struck[f.Name] = true // without role and shape
		require.NotEmpty(t, f.Effect, "%s on %v", f.Name, f.Nodes)
		if f.Name == "drain" {
			require.Equal(t, "2 of 2 nodes drained", f.Effect)
		}
	}
	for _, f := range faults {
		name, _, _ := strings.Cut(f, ":")
		require.True(t, struck[name], "%s never struck: %+v", f, s.Faults)
	}
}

// TestPartsThatDoNotFit: what cannot work is refused before anything starts.
func TestPartsThatDoNotFit(t *testing.T) {
	for want, change := range map[string]func(*experiment.Spec){
		`workload register needs clients that can do "read"`: func(s *experiment.Spec) { s.Target, s.Workload = "reference", "register" },
		"fault promote": func(s *experiment.Spec) { s.Nemesis = []string{"promote"} },
		"in containers": func(s *experiment.Spec) { s.Env = experiment.EnvDocker },
		`"registers"`:   func(s *experiment.Spec) { s.Options = map[string]string{"registers": "2"} },
	} {
		require.ErrorContains(t, parts.Catalog("").Validate(spec(t, change)), want)
	}
}

// build builds a command into a directory of its own, and returns its path.
func build(t *testing.T, dir, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "binary")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// command runs a binary, and returns its exit code and what it printed.
func command(t *testing.T, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &errOut
	_ = cmd.Run() // its exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// TestBinaryOfItsOwn: a binary with own parts runs them, in the simulation and as processes, and judges what it saved. Stock
// assay names the part that it lacks.
func TestBinaryOfItsOwn(t *testing.T) {
	own, stock := build(t, ".", "./cmd/outside"), build(t, "../..", "./cmd/assay")
	for _, what := range []string{"targets", "workloads", "faults", "options", "modes"} {
		code, out, _ := command(t, own, "list", what)
		require.Zero(t, code)
		require.Contains(t, out, map[string]string{"targets": "logserver", "workloads": "register", "faults": "drain", "options": "bug", "modes": "single"}[what])
	}
	for _, env := range []string{"sim", "local"} {
		for name, c := range cases {
			s := spec(t, c.change)
			if env == "local" && strings.Contains(strings.Join(s.Nemesis, ","), "power") {
				continue // a process cannot lose what its machine still has
			}
			t.Run(env+"/"+name, func(t *testing.T) {
				args := []string{"run", "--env", env, "--target", s.Target, "--workload", s.Workload, "--nodes", "2", "--seed", "5", "--rate", "200",
					"--time", s.Time.String(), "--interval", s.Interval.String(), "--store", s.Store, "--keep", "always", "--json"}
				if len(s.Nemesis) > 0 {
					args = append(args, "--nemesis", strings.Join(s.Nemesis, ","))
				}
				for k, v := range s.Options {
					args = append(args, "--set", k+"="+v)
				}
				code, out, errOut := command(t, own, args...)
				var got judge.Summary
				require.NoError(t, json.Unmarshal([]byte(out), &got), errOut)
				require.Equal(t, c.exit, code, "%s%s", out, errOut)
				require.Equal(t, env, got.Env)
				require.True(t, strings.HasPrefix(got.Reproduce, "outside run "), got.Reproduce)
				requireClass(t, c.class, &got)
				requireEffects(t, s.Nemesis, &got)

				code, out, errOut = command(t, own, "check", got.Run, "--json")
				require.Equal(t, c.exit, code, errOut)
				var again judge.Summary
				require.NoError(t, json.Unmarshal([]byte(out), &again))
				require.Equal(t, got.Verdict, again.Verdict)
				require.Equal(t, got.Anomalies, again.Anomalies)

				code, _, errOut = command(t, stock, "check", got.Run)
				require.Equal(t, judge.ExitError, code)
				require.Contains(t, errOut, `unknown target "logserver" (want reference)`)
			})
		}
	}
}

// The target of a whole system is one file of a size that somebody writes in an afternoon.
func TestTheTargetIsSmall(t *testing.T) {
	files, err := filepath.Glob("logtarget/*.go")
	require.NoError(t, err)
	require.Len(t, files, 1)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.LessOrEqual(t, bytes.Count(b, []byte("\n")), 150)
}
