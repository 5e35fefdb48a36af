package assaytest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/experiment"
)

func spec(t *testing.T) experiment.Spec {
	s := experiment.Default()
	s.Time, s.Interval, s.Seed, s.Store = 12*time.Second, 4*time.Second, 1, t.TempDir()
	return s
}

// TestValid: a run inside the test's own process and bubble.
func TestValid(t *testing.T) {
	s := spec(t)
	s.Nemesis = []string{"kill", "partition"}
	s.Options = map[string]string{"replication": "sync", "copies": "2"}
	res := assaytest.Run(t, s)
	require.Positive(t, res.Summary.Ops.OK)
	left, err := filepath.Glob(filepath.Join(s.Store, "*"))
	require.NoError(t, err)
	require.Empty(t, left, "a valid run is not kept")
}

// TestPermitted: losses that nobody promised to prevent are accepted on request.
func TestPermitted(t *testing.T) {
	s := spec(t)
	s.Nemesis = []string{"power:leader"}
	res := assaytest.Run(t, s, assaytest.AllowPermitted())
	require.Contains(t, []int{0, 4}, res.Summary.Exit)
}

// TestFails: the alarm is tested. The test runs itself once more in a process of its own, where an
// unpermitted verdict has to fail it.
func TestFails(t *testing.T) {
	const role = "ASSAYTEST_FAIL"
	if dir := os.Getenv(role); dir != "" {
		s := spec(t)
		s.Nemesis, s.Store, s.Time = []string{"power:leader"}, dir, 40*time.Second
		assaytest.Run(t, s) // loses messages under flush=async: permitted, but not here
		return
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFails$", "-test.v")
	cmd.Env = append(os.Environ(), role+"="+dir)
	out, err := cmd.CombinedOutput()
	require.Error(t, err, string(out))
	require.Contains(t, string(out), "assay: permitted (exit 4)")
	require.Regexp(t, `(?m)^\s+\d+ lost-write \(permitted\): message \d+ was acknowledged`, string(out))
	require.Contains(t, string(out), "assay run --nemesis power:leader")
	reports, err := filepath.Glob(filepath.Join(dir, "*", "report.html"))
	require.NoError(t, err)
	require.Len(t, reports, 1, "the run is kept")
	require.Contains(t, string(out), reports[0])
}
