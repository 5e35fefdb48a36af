package recrash_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/docs/guide/recrash"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

func catalog(k nemesis.Kind) experiment.Catalog {
	c := experiment.Standard()
	c.Faults = append(c.Faults, k)
	return c
}

func spec(faults ...string) experiment.Spec {
	s := experiment.Default()
	s.Nemesis = faults
	s.Time, s.Interval, s.Rate = 20*time.Second, 5*time.Second, 50
	return s
}

// The reference broker keeps what it acknowledged, and every strike killed its victims twice.
func TestKillsTwice(t *testing.T) {
	res := assaytest.Run(t, spec("recrash:leader", "recrash:minority"), assaytest.With(catalog(recrash.Kind())))
	for _, f := range res.Summary.Faults {
		require.Regexp(t, `^n\d killed; again: n\d killed$`, f.Effect)
	}
}

// fragile is a cluster with a bug that only this fault finds: who dies soon after a start loses the
// end of its log.
type fragile struct {
	*fakecluster.Cluster

	mu     sync.Mutex // guards booted
	booted map[harness.NodeID]time.Time
}

func (c *fragile) Boot(ctx context.Context, n harness.NodeID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.booted[n] = time.Now()
	return c.Cluster.Boot(ctx, n)
}

func (c *fragile) Kill(ctx context.Context, n harness.NodeID) (harness.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.booted[n]) < 100*time.Millisecond {
		return c.CutPower(ctx, n)
	}
	return c.Cluster.Kill(ctx, n)
}

// onFake is the catalog with an environment of fragile clusters.
func onFake(k nemesis.Kind) assaytest.Option {
	c := catalog(k)
	c.Environments = append(c.Environments, experiment.Environment{
		Name: "fake", Virtual: true,
		New: func(cfg experiment.ClusterConfig) (harness.Cluster, func() error, error) {
			return &fragile{Cluster: fakecluster.New(fakecluster.Options{}, cfg.Config.Nodes), booted: make(map[harness.NodeID]time.Time)}, nil, nil
		},
	})
	return assaytest.With(c)
}

func TestFindsWhatKillDoesNot(t *testing.T) {
	s := spec("kill:leader")
	s.Env = "fake"
	assaytest.Run(t, s, onFake(recrash.Kind()))

	s.Nemesis, s.Store, s.Keep = []string{"recrash:leader"}, t.TempDir(), experiment.KeepAlways
	res := assaytest.Run(t, s, onFake(recrash.Kind()), assaytest.ExpectInvalid())
	require.Equal(t, checker.LostWrite, res.Summary.Anomalies[0].Class)

	// The stock parts judge the run too: the history says what each strike could destroy.
	stock, err := experiment.Standard().Judge(t.Context(), res.Summary.Run, experiment.JudgeOptions{})
	require.NoError(t, err)
	require.Equal(t, judge.ExitInvalid, stock.Summary.Exit)
}

// What Harm says decides whether a loss is excused: the same cluster, and a fault that says what it
// does to the disk.
func TestHarmIsBelieved(t *testing.T) {
	honest := recrash.Kind()
	honest.Harm = histories.HarmUnsynced
	s := spec("recrash:leader")
	s.Env = "fake"
	res := assaytest.Run(t, s, onFake(honest), assaytest.AllowPermitted())
	require.Equal(t, judge.ExitPermitted, res.Summary.Exit, res.Why())
}

// What the environment cannot do is refused before the run.
func TestUnsupported(t *testing.T) {
	set, err := nemesis.NewSet(recrash.Kind())
	require.NoError(t, err)
	faults, err := set.Faults("recrash:leader")
	require.NoError(t, err)
	c := fakecluster.New(fakecluster.Options{}, 3)
	require.NoError(t, faults[0].Supports(c))
	require.ErrorIs(t, faults[0].Supports(struct{ harness.Cluster }{c}), harness.ErrUnsupported)
}
