package shardlog_test

import (
	"log"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/docs/guide/shardlog"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness/target"
)

// TestMain: with --env local, the nodes are processes of this test binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == shardlog.Command {
		if err := shardlog.Serve(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			log.Fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

func catalog(t *target.Target) experiment.Catalog {
	c := experiment.Standard()
	c.Targets = append(c.Targets, t)
	return c
}

func spec(faults ...string) experiment.Spec {
	s := experiment.Default()
	s.Target, s.Nemesis = "shardlog", faults
	s.Time, s.Interval, s.Rate = 20*time.Second, 5*time.Second, 50
	return s
}

func TestKeepsWhatItAcknowledged(t *testing.T) {
	assaytest.Run(t, spec("kill", "power", "partition/alone/with-clients"), assaytest.With(catalog(shardlog.Target())))
}

func TestLosesWhatItNeverSynced(t *testing.T) {
	s := spec("power")
	s.Options = map[string]string{"sync": "false"}
	res := assaytest.Run(t, s, assaytest.With(catalog(shardlog.Target())), assaytest.AllowPermitted())
	require.Equal(t, judge.ExitPermitted, res.Summary.Exit)
}

// The planted bug: it promises what only sync=true keeps.
func TestBrokenPromiseIsCaught(t *testing.T) {
	liar := shardlog.Target()
	liar.Promise = func(target.Config) (contract.Promise, error) { return contract.Promise{}, nil }
	s := spec("power")
	s.Options = map[string]string{"sync": "false"}
	res := assaytest.Run(t, s, assaytest.With(catalog(liar)), assaytest.ExpectInvalid())
	require.Equal(t, checker.LostWrite, res.Summary.Anomalies[0].Class)
}

// The same nodes as processes of this machine, in real time.
func TestProcesses(t *testing.T) {
	s := spec("kill", "pause")
	s.Env, s.Time, s.Interval = experiment.EnvLocal, 4*time.Second, 4*time.Second
	assaytest.Run(t, s, assaytest.With(catalog(shardlog.Target())))
}
