// Package recrash is the example of docs/new-fault.md: a fault that kills a node again while it
// recovers.
package recrash

import (
	"context"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// Kind returns the fault for a catalog.
func Kind() nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{
			Name: "recrash", Kind: nemesis.Instant, Roles: nemesis.Roles(),
			Doc: "kill the process, start it, and kill it again while it recovers",
		},
		Harm:  histories.HarmNone, // the page cache stays
		Downs: true,               // until the heal, no other fault is drawn for the victims
		Build: func(s nemesis.Spec, n *nemesis.Nodes) harness.Fault {
			return recrash{nemesis.Victims{Spec: s, Nodes: n}}
		},
	}
}

// recoveryTime is how long a node may recover before it is killed again.
const recoveryTime = 20 * time.Millisecond

// recrash is the fault. Victims has its name, and draws whom it strikes.
type recrash struct{ nemesis.Victims }

// Supports implements harness.Fault. It is asked before the run.
func (f recrash) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Killer](c); !ok {
		return nemesis.Unsupported(f.Spec, "kill a process")
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (f recrash) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	able, ok := harness.Can[harness.Killer](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(f.Spec, "kill a process")
	}
	kill := func(n harness.NodeID) (harness.Effect, error) { return able.Kill(ctx, n) }
	down := true
	effect, err := nemesis.Each(nodes, kill)
	heal := func(ctx context.Context) (harness.Effect, error) {
		if !down {
			return effect, nil
		}
		refused, err := nemesis.Boot(ctx, s.Cluster, nodes)
		effect.Text += refused
		return effect, err
	}
	if err != nil {
		return heal, err // a heal that comes with an error is called too
	}
	if _, err := nemesis.Boot(ctx, s.Cluster, nodes); err != nil {
		return heal, err
	}
	down = false
	select {
	case <-time.After(recoveryTime):
	case <-ctx.Done():
		return heal, ctx.Err()
	}
	down = true
	again, err := nemesis.Each(nodes, kill)
	effect.Count += again.Count
	effect.Text += "; again: " + again.Text
	return heal, err
}
