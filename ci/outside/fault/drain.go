// Package fault is a fault of somebody else: drain restarts one node after the other, as an operator
// does who updates a cluster.
package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// Drain is the fault for a catalog.
func Drain() nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{Name: "drain", Kind: nemesis.Instant, Roles: []string{nemesis.RoleAll}, Doc: "restart all nodes, one after the other"},
		Harm: histories.HarmNone,
		Build: func(spec nemesis.Spec, nodes *nemesis.Nodes) harness.Fault {
			return drain{nemesis.Victims{Spec: spec, Nodes: nodes}}
		},
	}
}

// drain has its name and its victims from the stock parts.
type drain struct{ nemesis.Victims }

var _ harness.Fault = drain{}

// Supports implements harness.Fault.
func (d drain) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Killer](c); !ok {
		return nemesis.Unsupported(d.Spec, "restart a node")
	}
	return d.Victims.Supports(c)
}

// Inject implements harness.Fault.
func (d drain) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	k, ok := harness.Can[harness.Killer](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(d.Spec, "restart a node")
	}
	drained := 0
	var errs []error
	for _, n := range nodes {
		e, err := k.Shutdown(ctx, n)
		errs = append(errs, err, k.Boot(context.WithoutCancel(ctx), n))
		drained += int(e.Count)
	}
	effect := harness.Effect{Count: int64(drained), Text: fmt.Sprintf("%d of %d nodes drained", drained, len(nodes))}
	return func(context.Context) (harness.Effect, error) { return effect, nil }, errors.Join(errs...)
}
