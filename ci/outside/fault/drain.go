// Package fault is two faults of somebody else. drain.go restarts one node after the other, as an
// operator does who updates a cluster: it needs no more than the environments have. resync.go needs
// an ability that assay does not know.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// Drain is the fault for a catalog.
func Drain() nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{
			Name: "drain", Kind: nemesis.Instant, Roles: []string{nemesis.RoleAll},
			Doc: "restart all nodes, one after the other",
		},
		Harm: histories.HarmNone, Downs: true, Restarts: true,
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

// Inject implements harness.Fault. That a node does not come back is the system's doing, and no
// error of the harness.
func (d drain) Inject(
	ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID,
) (harness.Undo, error) {
	k, ok := harness.Can[harness.Killer](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(d.Spec, "restart a node")
	}
	var drained int64
	var refusals []string
	var errs []error
	for _, n := range nodes {
		e, err := k.Shutdown(ctx, n)
		refused, berr := nemesis.Boot(context.WithoutCancel(ctx), s.Cluster, []harness.NodeID{n})
		errs = append(errs, err, berr)
		drained += e.Count
		if refused != "" {
			refusals = append(refusals, "; "+refused)
		}
	}
	text := fmt.Sprintf("%d of %d nodes drained", drained, len(nodes)) + strings.Join(refusals, "")
	effect := harness.Effect{Count: drained, Text: text}
	return func(context.Context) (harness.Effect, error) { return effect, nil }, errors.Join(errs...)
}
