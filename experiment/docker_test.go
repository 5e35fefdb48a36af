package experiment

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/docker"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

// panicking is a workload whose generator panics while faults are on.
type panicking struct{ harness.Workload }

func (w panicking) Generator(seed uint64) harness.Generator {
	return panickingGenerator{w.Workload.Generator(seed)}
}

type panickingGenerator struct{ harness.Generator }

func (g panickingGenerator) Next(c harness.Context) (histories.Op, harness.Status) {
	if c.Now > 4*time.Second {
		panic("the generator has lost its place")
	}
	return g.Generator.Next(c)
}

// stiff is a cluster of containers that cannot freeze its leader, in the goroutine that has to.
type stiff struct{ *docker.Cluster }

// Parts implements harness.Composed: its own Pause comes first.
func (s stiff) Parts() []any { return append([]any{s}, s.Cluster.Parts()...) }

func (s stiff) Pause(ctx context.Context, n harness.NodeID) (harness.Undo, error) {
	if n == "n1" {
		panic("frozen stiff")
	}
	return s.Cluster.Pause(ctx, n)
}

// TestPanicInDocker: wherever in the harness a run in containers panics, what is on is healed,
// nothing is left of the cluster, and the history can be judged. (A panic that takes the process
// with it is tested where the supervisor is, in cli.)
func TestPanicInDocker(t *testing.T) {
	for says, c := range map[string]struct {
		workload func(harness.Workload) harness.Workload
		cluster  func(*docker.Cluster) harness.Cluster
	}{
		"the generator has lost its place": {
			func(w harness.Workload) harness.Workload { return panicking{w} }, func(c *docker.Cluster) harness.Cluster { return c },
		},
		"n1 panicked: frozen stiff": {
			func(w harness.Workload) harness.Workload { return w }, func(c *docker.Cluster) harness.Cluster { return stiff{c} },
		},
	} {
		t.Run(says, func(t *testing.T) {
			dockertest.Need(t)
			s := Default()
			s.Env, s.Store, s.Time, s.Rate = EnvDocker, t.TempDir(), 20*time.Second, 100
			s.Plan = PlanFile{Plan: &harness.Plan{Strikes: []harness.Strike{
				{ID: 1, Fault: "partition:leader/alone", At: 500 * time.Millisecond, For: 19 * time.Second},
				{ID: 2, Fault: "kill:follower", At: time.Second, For: 18 * time.Second},
				{ID: 3, Fault: "pause:all", At: 2500 * time.Millisecond, For: 15 * time.Second},
			}}}
			p, err := Standard().prepare(s)
			require.NoError(t, err)
			p.workload = c.workload(p.workload)
			run, m, err := p.begin(Hooks{})
			require.NoError(t, err)
			made, closeLogs, err := p.cluster(run)
			require.NoError(t, err)
			out := p.execute(t.Context(), run, c.cluster(made.(*docker.Cluster)))
			require.NoError(t, closeLogs())
			require.Empty(t, dockertest.Leftovers(t, docker.LabelRun, runID(run)))
			require.ErrorContains(t, out.err, says)

			res, err := p.conclude(t.Context(), run, m, out)
			require.ErrorContains(t, err, says)
			require.Equal(t, judge.ExitError, res.Summary.Exit)
			require.Len(t, res.Summary.Faults, 3)
			for _, f := range res.Summary.Faults {
				require.Positive(t, f.HealedMS, "%+v", f)
			}
			again, err := Standard().Judge(t.Context(), run.Dir(), JudgeOptions{})
			require.NoError(t, err)
			require.Equal(t, judge.ExitUnknown, again.Summary.Exit, again.Why())
			require.Positive(t, again.Summary.Ops.OK)
		})
	}
}
