package gaps_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/docs/guide/gaps"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

func check(t *testing.T, h *histtest.Builder) checker.Named {
	return checker.Run(t.Context(), h.History(), gaps.Checker{}).Results[0]
}

func TestGapIsFound(t *testing.T) {
	h := histtest.New()
	h.Final(1, 0, 0).OK(4, histtest.Msgs(0, 100, 101)...)
	h.Final(1, 0, 2).OK(5, histtest.Msgs(2, 102)...)
	require.Equal(t, checker.Valid, check(t, h).Result.Verdict, "the good twin")

	h.Final(2, 1, 0).OK(3, histories.Message{Offset: 0, Value: 200}, histories.Message{Offset: 2, Value: 201})
	res := check(t, h).Result
	require.Equal(t, checker.Invalid, res.Verdict)
	require.Equal(t, []checker.Anomaly{{
		Class: gaps.OffsetGap, Part: 1, Values: []int64{200, 201}, Offsets: []int64{0, 2}, Witnesses: []int64{5},
		Explanation: "partition 1 has nothing between offset 0 and offset 2",
	}}, res.Anomalies)
}

func TestNothingToJudge(t *testing.T) {
	h := histtest.New()
	h.Final(1, 0, 0).OK(1, histtest.Msgs(0, 100)...)
	require.Equal(t, checker.Unknown, check(t, h).Result.Verdict)
}

func TestReferenceBrokerHasNoGaps(t *testing.T) {
	s := experiment.Default()
	s.Nemesis, s.Time, s.Interval, s.Rate = []string{"kill"}, 10*time.Second, 5*time.Second, 50
	assaytest.Run(t, s, assaytest.With(gaps.Catalog()))
}

// A whole run on a cluster whose final reads leave out a message: the judge and the report show the
// class as any other.
func TestRunWithAGap(t *testing.T) {
	c := gaps.Catalog()
	forget := fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
		if op.F == histories.Final && len(op.Msgs) > 2 {
			op.Msgs = append(op.Msgs[:1:1], op.Msgs[2:]...)
		}
		return op, err
	}}
	c.Environments = append(c.Environments, experiment.Environment{
		Name: "fake", Virtual: true,
		New: func(cfg experiment.ClusterConfig) (harness.Cluster, func() error, error) {
			return fakecluster.New(forget, cfg.Config.Nodes), nil, nil
		},
	})
	s := experiment.Default()
	s.Env, s.Time, s.Rate = "fake", 5*time.Second, 50
	res := assaytest.Run(t, s, assaytest.With(c), assaytest.ExpectInvalid())
	found := make(map[checker.Class]bool)
	for _, a := range res.Summary.Anomalies {
		found[a.Class] = true
	}
	require.True(t, found[gaps.OffsetGap], res.Why())
}
