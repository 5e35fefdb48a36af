package register_test

import (
	"context"

	"github.com/assay-project/assay/docs/guide/register"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

// cluster is a fake cluster whose clients know registers: the value of one is the last message of a
// log.
type cluster struct {
	*fakecluster.Cluster
	stale bool // reads ask a follower
}

func (c cluster) Open(ctx context.Context, process int) (harness.Client, error) {
	log, err := c.Cluster.Open(ctx, process)
	return client{log, c.stale}, err
}

type client struct {
	harness.Client
	stale bool
}

func (c client) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	if op.F == "write" {
		op.F = histories.Send
		got, err := c.Client.Invoke(ctx, op)
		got.F, got.Offset = "write", histories.Unset // Offset is not in the Answer of write
		return got, err
	}
	ask := histories.New(histories.Invoke, op.Process, histories.Poll)
	ask.Part, ask.From = op.Part, 0
	if c.stale {
		ask.Node = "n2"
	}
	got, err := c.Client.Invoke(ctx, ask)
	op.Node = got.Node
	if n := len(got.Msgs); n > 0 {
		op.Value = got.Msgs[n-1].Value
	}
	return op, err
}

// catalog has the workload, and an environment of fake clusters.
func catalog(opt fakecluster.Options, stale bool) experiment.Catalog {
	c := experiment.Standard()
	c.Workloads = append(c.Workloads, register.Workload())
	c.Targets[0].Functions = nil // the clients are those of the fake cluster
	c.Environments = append(c.Environments, experiment.Environment{
		Name: "fake", Virtual: true,
		New: func(cfg experiment.ClusterConfig) (harness.Cluster, func() error, error) {
			return cluster{fakecluster.New(opt, cfg.Config.Nodes), stale}, nil, nil
		},
	})
	return c
}
