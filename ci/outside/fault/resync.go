package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// Resyncable is an ability that assay does not know: the operator of a target has it.
type Resyncable interface {
	// Resync makes a follower forget its copy, and returns how many messages that were. What it
	// forgot comes back from the leader by itself.
	Resync(ctx context.Context, n harness.NodeID) (dropped int64, err error)
}

// Resync is the fault for a catalog. An operator makes a follower throw its copy away and fetch it
// again.
func Resync() nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{
			Name: "resync", Kind: nemesis.Instant, Roles: []string{nemesis.RoleFollower},
			Doc: "make a follower throw its copy away and fetch it again",
		},
		Harm: histories.HarmDisk,
		Build: func(spec nemesis.Spec, nodes *nemesis.Nodes) harness.Fault {
			return resync{nemesis.Victims{Spec: spec, Nodes: nodes}}
		},
	}
}

// resync has its name and its victims from the stock parts.
type resync struct{ nemesis.Victims }

var _ harness.Fault = resync{}

const (
	// able is what the fault cannot do without.
	able = "make a node fetch its copy again"
	// resyncTime is how long a node has to answer.
	resyncTime = 5 * time.Second
)

// Supports implements harness.Fault.
func (f resync) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[Resyncable](c); !ok {
		return nemesis.Unsupported(f.Spec, able)
	}
	return f.Victims.Supports(c)
}

// Inject implements harness.Fault. That a node does not answer is no error of the harness: the
// strike has no effect then, and the text says why.
func (f resync) Inject(
	ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID,
) (harness.Undo, error) {
	c, ok := harness.Can[Resyncable](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(f.Spec, able)
	}
	ctx, cancel := context.WithTimeout(ctx, resyncTime)
	defer cancel()
	effect, err := nemesis.Each(nodes, func(n harness.NodeID) (harness.Effect, error) {
		dropped, err := c.Resync(ctx, n)
		if err != nil {
			return harness.Effect{Text: err.Error()}, nil
		}
		text := fmt.Sprintf("%d messages dropped", dropped)
		return harness.Effect{Count: dropped, Text: text}, nil
	})
	return func(context.Context) (harness.Effect, error) { return effect, nil }, err
}
