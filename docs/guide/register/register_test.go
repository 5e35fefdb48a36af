package register_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

func spec(faults ...string) experiment.Spec {
	s := experiment.Default()
	s.Env, s.Workload, s.Nemesis = "fake", "register", faults
	s.Time, s.Interval, s.Rate = 20*time.Second, 5*time.Second, 50
	return s
}

func TestValid(t *testing.T) {
	assaytest.Run(t, spec("kill", "pause"), assaytest.With(catalog(fakecluster.Options{Latency: time.Millisecond}, false)))
}

// run runs an experiment that has to fail, which assaytest.Run would report as a failure of the test.
func run(t *testing.T, c experiment.Catalog, s experiment.Spec) (*experiment.Result, error) {
	s.Store = t.TempDir()
	return c.RunWithin(s, experiment.Hooks{}, func(record func(context.Context)) {
		synctest.Test(t, func(t *testing.T) { record(t.Context()) })
	})
}

// Followers that lack the latest writes are found by those who read from them.
func TestStaleReadsAreCaught(t *testing.T) {
	res, err := run(t, catalog(fakecluster.Options{Latency: time.Millisecond, Lag: 2}, true), spec())
	require.NoError(t, err)
	require.Equal(t, judge.ExitInvalid, res.Summary.Exit, res.Why())
	require.Equal(t, checker.Nonlinearizable, res.Summary.Anomalies[0].Class)

	_, err = experiment.Standard().Judge(t.Context(), res.Summary.Run, experiment.JudgeOptions{})
	require.EqualError(t, err, `the run cannot be judged by this program: unknown workload "register" (want log); judge it with the program that made it`)
}

// A client that answers more than the workload declares ends the run: it would be lost.
func TestUndeclaredAnswer(t *testing.T) {
	surplus := fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
		op.HW = 7
		return op, err
	}}
	_, err := run(t, catalog(surplus, false), spec())
	require.ErrorContains(t, err, "add it to the Answer of the workload's Function")
}
