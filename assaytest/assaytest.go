// Package assaytest runs an experiment inside `go test`: in a simulation within milliseconds, in
// containers, or as processes of this machine.
//
//	func TestNothingIsLostUnderKills(t *testing.T) {
//		spec := experiment.Default()
//		spec.Options = map[string]string{"replication": "sync", "copies": "2"}
//		spec.Nemesis = []string{"kill", "partition"}
//		assaytest.Run(t, spec)
//	}
//
// A simulation runs within this process, in a synctest bubble of the test, so that a debugger, the
// race detector and coverage see the broker.
//
// A run in real time ends early, and removes what it made, when the test's own time (-timeout) is
// nearly over, and on Ctrl-C and SIGTERM. A panic elsewhere in the test binary ends the process,
// and leaves the containers to `assay clean`.
package assaytest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
)

// StoreEnv names a directory in which runs that fail are kept. Without it they are kept in a
// temporary directory that outlives the test.
const StoreEnv = "ASSAY_STORE"

// Option changes what Run accepts.
type Option func(*options)

type options struct {
	accepted []int // exit codes
	catalog  experiment.Catalog
}

// With runs the experiment with the parts of a catalog instead of the standard ones.
func With(c experiment.Catalog) Option { return func(o *options) { o.catalog = c } }

// AllowPermitted accepts anomalies that the configuration never promised to prevent (exit code 4),
// beside a valid run.
func AllowPermitted() Option {
	return func(o *options) { o.accepted = append(o.accepted, judge.ExitPermitted) }
}

// ExpectInvalid accepts nothing but an anomaly that the contract excludes (exit code 3): for a
// system that is known to be wrong, to see that the alarm rings.
func ExpectInvalid() Option {
	return func(o *options) { o.accepted = []int{judge.ExitInvalid} }
}

// Run runs spec and returns its judged result. The test fails with the verdict and the path of the
// report when the harness fails, when nothing can be concluded, and when there are anomalies (those
// that the contract permits included, unless AllowPermitted is given). The run is kept when the
// test failed because of it, and always with spec.Keep = experiment.KeepAlways. spec.Store is used
// when it is set and differs from the default.
//
// The test must not be in a synctest bubble already.
func Run(t *testing.T, spec experiment.Spec, opts ...Option) *experiment.Result {
	t.Helper()
	o := options{catalog: experiment.Standard(), accepted: []int{judge.ExitValid}}
	for _, opt := range opts {
		opt(&o)
	}
	if spec.Store == "" || spec.Store == experiment.Default().Store {
		spec.Store = store(t)
	}
	keep := spec.Keep == experiment.KeepAlways
	spec.Keep = experiment.KeepAlways // what happens to it is decided below
	res, err := execute(t, o.catalog, spec)
	if res == nil {
		t.Fatalf("assay: seed %d: %v", spec.Seed, err)
	}
	s := &res.Summary
	if slices.Contains(o.accepted, s.Exit) {
		if keep {
			return res
		}
		if err := os.RemoveAll(s.Run); err != nil {
			t.Errorf("assay: removing a run: %v", err)
		}
		return res
	}
	why := strings.ReplaceAll(res.Why(), "\n", "\n    ")
	t.Errorf("assay: %s (exit %d)\n    %s\n  report: %s\n  again:  %s", s.Verdict, s.Exit, why, filepath.Join(s.Run, "report.html"), s.Reproduce)
	return res
}

// execute runs the experiment where it belongs.
func execute(t *testing.T, c experiment.Catalog, spec experiment.Spec) (*experiment.Result, error) {
	t.Helper()
	if !c.IsVirtual(spec.Env) {
		return inRealTime(t, c, spec)
	}
	return c.RunWithin(spec, experiment.Hooks{}, func(record func(context.Context)) {
		synctest.Test(t, func(t *testing.T) { record(t.Context()) })
	})
}

// store is where the run is recorded: a directory that the end of the test does not remove.
func store(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(StoreEnv); dir != "" {
		return dir
	}
	dir := filepath.Join(os.TempDir(), "assay-runs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("assay: a directory for the run: %v", err)
	}
	return dir
}
