package target_test

import (
	"fmt"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// A target is a value. docs/new-target.md shows a whole one.
func ExampleTarget() {
	t := &target.Target{
		Name:    "mylog",
		Modes:   []target.Mode{{Name: "plain", Doc: "one copy"}},
		Options: []harness.Option{{Name: "sync", Default: "true", Allowed: "true, false"}},
		New: func(c target.Config, _ target.Place) (*target.System, error) {
			return &target.System{Nodes: target.NodeNames(c.Nodes)}, nil
		},
		Promise: func(target.Config) (contract.Promise, error) { return contract.Promise{}, nil },
	}
	fmt.Println(t.Effective(target.Config{Mode: "plain", Nodes: 3}))
	fmt.Println(t.Effective(target.Config{Mode: "fancy", Nodes: 3}))
	s, err := t.New(target.Config{Mode: "plain", Nodes: 3}, target.Place{})
	fmt.Println(s.Nodes, err)
	// Output:
	// map[sync:true] <nil>
	// map[] unknown mode "fancy" of target mylog (want plain)
	// [n1 n2 n3] <nil>
}
