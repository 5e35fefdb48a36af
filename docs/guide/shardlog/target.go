package shardlog

import (
	"context"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

const portName = "log"

// Target returns the log server as a target.
func Target() *target.Target {
	return &target.Target{
		Name:    "shardlog",
		Doc:     "the log server of docs/new-target.md",
		Modes:   []target.Mode{{Name: "sharded", Doc: "one copy: partition p is on node p mod n"}},
		Options: []harness.Option{{Name: "sync", Default: "true", Values: []string{"true", "false"}, Doc: "an append waits for the disk"}},
		NoScans: true, // nobody can ask one replica for all that it holds
		New:     newSystem,
		Promise: promise,
	}
}

func newSystem(c target.Config, at target.Place) (*target.System, error) {
	nodes := target.NodeNames(c.Nodes)
	s := &target.System{
		Nodes: nodes,
		Ports: []target.Port{{Name: portName, Number: 7000}},
		Open: func(_ context.Context, _ int, dial target.DialFunc) (harness.Client, error) {
			return &client{nodes: nodes, addr: at.Addr, dial: dial}, nil
		},
		Sim: &target.SimNode{Start: func(_ context.Context, w target.World) (target.Node, error) {
			return start(w, c.Options["sync"] != "false")
		}},
	}
	startsReally(s, at, c.Options["sync"])
	return s, nil
}

// promise permits the loss of messages by a node whose disk lost them, and nothing else.
func promise(c target.Config) (contract.Promise, error) {
	loses := func(d *contract.Damage) bool {
		return d.Harm == histories.HarmDisk || d.Harm == histories.HarmUnsynced && c.Options["sync"] == "false"
	}
	return contract.Promise{
		LinearReads: func(contract.Facts) bool { return true },
		Permits: func(f contract.Facts) []contract.Permission {
			var all []contract.Permission
			for _, span := range f.DamageSpans(loses) {
				all = append(all, contract.Permission{
					Span: span, Class: checker.LostWrite, Rows: "docs/new-target.md", Reason: "there is one copy, and its disk lost it",
				})
			}
			return all
		},
	}, nil
}
