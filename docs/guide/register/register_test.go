package register_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness/fakecluster"
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

// Followers that lack the latest writes are found by those who read from them.
func TestStaleReadsAreCaught(t *testing.T) {
	s := spec()
	s.Store, s.Keep = t.TempDir(), experiment.KeepAlways
	lagging := fakecluster.Options{Latency: time.Millisecond, Lag: 2}
	res := assaytest.Run(t, s, assaytest.With(catalog(lagging, true)), assaytest.ExpectInvalid())
	require.Equal(t, checker.Nonlinearizable, res.Summary.Anomalies[0].Class)

	_, err := experiment.Standard().Judge(t.Context(), res.Summary.Run, experiment.JudgeOptions{})
	require.ErrorContains(t, err, `the run cannot be judged by this program: unknown workload "register" (want log`)
	require.ErrorContains(t, err, "; judge it with the program that made it")
}
