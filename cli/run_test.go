package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/histories"
)

// runJSON runs `assay run --json` and returns the object.
func runJSON(t *testing.T, args ...string) judge.Summary {
	t.Helper()
	r := runCLI(t, append([]string{"run", "--json"}, args...)...)
	var s judge.Summary
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &s), "one object and nothing else: %q %q", r.stdout, r.stderr)
	require.Equal(t, s.Exit, r.code)
	require.Contains(t, r.stderr, "seed ", "the seed comes first, beside the object")
	return s
}

var wipes = []string{"--nodes", "2", "--nemesis", "slow:follower,wipe:leader,promote", "--time", "40s"}

// TestAsyncLosesAndMay is item 1 of the issue, shortened: acknowledged messages are lost, and
// nobody promised otherwise.
func TestAsyncLosesAndMay(t *testing.T) {
	t.Chdir(t.TempDir())
	var s judge.Summary
	for _, seed := range []string{"1", "2", "3"} { // which messages meet the wipe is not decided by the seed alone
		if s = runJSON(t, append(wipes, "--set", "replication=async", "--seed", seed)...); s.Exit == 4 {
			break
		}
	}
	require.Equal(t, 4, s.Exit, "%+v", s)
	require.Equal(t, "permitted", s.Verdict)
	for _, a := range s.Anomalies {
		require.True(t, a.Permitted)
	}
	lost := s.Anomalies[0]
	require.EqualValues(t, "lost-write", lost.Class, "what is gone comes first")
	require.NotEmpty(t, lost.Witnesses)
	require.Contains(t, lost.Explanation, "was acknowledged")
	require.NotEmpty(t, s.Faults)
	for _, f := range s.Faults {
		require.NotEmpty(t, f.Effect, "%+v", f)
	}

	// What is kept of it can be judged again, looked at, and run again.
	for _, name := range []string{histories.ManifestFile, histories.HistoryFile, histories.VerdictFile, histories.ReportFile, "nodes/n1.log", "nodes/n2.log"} {
		require.FileExists(t, filepath.Join(s.Run, name))
	}
	r := runCLI(t, "check", s.Run, "--json")
	require.Equal(t, 4, r.code, r.stdout)
	r = runCLI(t, "show", s.Run, "--anomaly", "1")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "lost-write 1 of", "the numbers follow the order of the summary")
	r = runCLI(t, "check", filepath.Join(s.Run, histories.HistoryFile), "--json")
	require.Equal(t, 3, r.code, "without the manifest there is no contract")
	f := runFlags{}
	cmd := (&app{catalog: experiment.Standard()}).runCommand()
	cmd.ResetFlags()
	f.bind(cmd, nil)
	require.NoError(t, cmd.ParseFlags(strings.Fields(s.Reproduce)[2:]), s.Reproduce)
	require.Equal(t, s.Seed, f.spec.Seed)
	require.Equal(t, 2, f.spec.Nodes)

	// A plan can be taken from a run.
	again := runJSON(t, "--nodes", "2", "--set", "replication=sync", "--time", "40s", "--plan", s.Run)
	require.Len(t, again.Faults, len(s.Faults))
	require.Equal(t, 0, again.Exit, "%v", again.Unknown)
}

// TestSyncKeeps is item 2, shortened: the same faults, and nothing is lost.
func TestSyncKeeps(t *testing.T) {
	t.Chdir(t.TempDir())
	s := runJSON(t, append(wipes, "--set", "replication=sync", "--set", "copies=2", "--seed", "1")...)
	require.Equal(t, 0, s.Exit, "%+v", s)
	require.Equal(t, "valid", s.Verdict)
	require.Greater(t, s.Ops.OK, int64(1000))
	require.Empty(t, s.Anomalies)
	require.NotNil(t, s.Unknown)
	for _, f := range s.Faults {
		require.NotEmpty(t, f.Effect, "%+v", f)
	}
	require.NoDirExists(t, s.Run, "a valid run is not kept by default")
}

// TestPowerLoss is item 5, shortened.
func TestPowerLoss(t *testing.T) {
	t.Chdir(t.TempDir())
	s := runJSON(t, "--set", "flush=sync", "--nemesis", "power:leader", "--time", "20s", "--seed", "1", "--keep", "always")
	require.Equal(t, 0, s.Exit, "%+v", s)
	require.DirExists(t, s.Run)
	for _, seed := range []string{"1", "2", "3"} {
		if s = runJSON(t, "--set", "flush=async", "--nemesis", "power:leader", "--time", "20s", "--seed", seed); s.Exit == 4 {
			break
		}
	}
	require.Equal(t, 4, s.Exit, "%+v", s)
}

// TestSeeds: several seeds are summed up.
func TestSeeds(t *testing.T) {
	t.Chdir(t.TempDir())
	args := []string{"--nemesis", "kill", "--time", "8s", "--interval", "4s", "--seed", "5", "--seeds", "3", "--jobs", "2"}
	s := runJSON(t, args...)
	require.Equal(t, 0, s.Exit, "%+v", s)
	require.EqualValues(t, 5, s.Seed)
	require.Len(t, s.Seeds, 3)
	var ok int64
	for i, one := range s.Seeds {
		require.EqualValues(t, 5+i, one.Seed)
		require.Equal(t, "valid", one.Verdict)
		ok += one.Ops.OK
	}
	require.Equal(t, s.Ops.OK, ok)
	require.Contains(t, s.Reproduce, "--seed 5 --seeds 3 --jobs 2")
	entries, err := os.ReadDir("runs")
	require.NoError(t, err)
	require.Empty(t, entries)

	r := runCLI(t, append([]string{"run"}, args...)...)
	require.Zero(t, r.code)
	require.Contains(t, r.stdout, "3 seeds: 3 valid")
	require.True(t, strings.HasSuffix(r.stdout, "--seed 5 --seeds 3 --jobs 2\n"), r.stdout)
}

// TestRunText: the seed comes first, the verdict next, the command that runs it again last.
func TestRunText(t *testing.T) {
	t.Chdir(t.TempDir())
	r := runCLI(t, "run", "--time", "3s", "--seed", "11", "--progress")
	require.Zero(t, r.code, r.stdout+r.stderr)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Equal(t, "seed 11", lines[0])
	require.True(t, strings.HasPrefix(lines[1], "VALID (exit 0): "), lines[1])
	require.Equal(t, "assay run --time 3s --seed 11", lines[len(lines)-1])
	require.NotContains(t, r.stdout, "\x1b")
}
