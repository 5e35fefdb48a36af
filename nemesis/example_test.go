package nemesis_test

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// nap is a fault of one's own: it kills its victims. Victims has the name, and draws nodes of the
// role that was asked for.
type nap struct{ nemesis.Victims }

// Supports asks for the ability before the run.
func (f nap) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[harness.Killer](c); !ok {
		return nemesis.Unsupported(f.Spec, "kill a process")
	}
	return f.Victims.Supports(c)
}

// Inject kills all victims at once. Its Undo starts them again, and says what was done.
func (f nap) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	k, ok := harness.Can[harness.Killer](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(f.Spec, "kill a process")
	}
	effect, err := nemesis.Each(nodes, func(n harness.NodeID) (harness.Effect, error) { return k.Kill(ctx, n) })
	return func(ctx context.Context) (harness.Effect, error) {
		refused, err := nemesis.Boot(ctx, s.Cluster, nodes)
		if refused != "" {
			effect.Text += "; " + refused
		}
		return effect, err
	}, err
}

// A fault of one's own is a Kind, and one line where the set is made.
func ExampleNewSet() {
	kind := nemesis.Kind{
		Info:  nemesis.Info{Name: "nap", Kind: nemesis.Lasting, Roles: nemesis.Roles(), Doc: "kill, and start again some seconds later"},
		Harm:  histories.HarmNone, // what was written stays in the page cache
		Downs: true,
		Build: func(s nemesis.Spec, n *nemesis.Nodes) harness.Fault { return nap{nemesis.Victims{Spec: s, Nodes: n}} },
	}
	set, err := nemesis.NewSet(append(nemesis.Stock(), kind)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := set.MakePlan(nemesis.PlanConfig{
		Seed: 7, Faults: []string{"nap:minority", "promote"}, Time: 30 * time.Second, Interval: 10 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range plan.Strikes {
		fmt.Println(s.Fault)
	}
	// Output:
	// nap:minority
	// promote
	// nap:minority
	// promote
	// nap:minority
	// promote
}

// A set reads faults as they are written on the command line, and says what is wrong with others.
func ExampleSet_ParseList() {
	set, err := nemesis.NewSet(nemesis.Stock()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.ParseList("kill:leader, partition/alone"))
	fmt.Println(set.ParseList("kill:king"))
	// Output:
	// [kill:leader partition/alone] <nil>
	// [] fault "kill:king": no role "king": kill has one, leader, follower, minority, majority, all
}
