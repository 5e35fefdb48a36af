package harness

import (
	"strings"

	"github.com/assay-project/assay/histories"
)

// Faults reads what became of the strikes from a history: each injection with its heal. A strike that did not take place has an Err and no
// effect, and one that was never healed a HealedMS of -1.
func Faults(h histories.Reader) []FaultRecord {
	var all []FaultRecord
	type key struct{ fault, nodes string }
	open := make(map[key][]int)
	for op := range h.Ops() {
		if op.Process != histories.NemesisProcess {
			continue
		}
		k := key{op.Fault, op.Node}
		switch op.F {
		case histories.Inject:
			open[k] = append(open[k], len(all))
			all = append(all, newRecord(op))
		case histories.Heal:
			at := open[k]
			if len(at) == 0 {
				continue
			}
			open[k] = at[1:]
			rec := &all[at[0]]
			rec.HealedMS = op.Time / 1e6
			if op.Effect != "" {
				rec.Effect = op.Effect
			}
			if op.Err != "" {
				rec.Err = op.Err
			}
		}
	}
	return all
}

func newRecord(op *histories.Op) FaultRecord {
	name, target := splitFault(op.Fault)
	rec := FaultRecord{
		Name: name, Target: target, Nodes: []NodeID{}, AtMS: op.Time / 1e6, HealedMS: -1, Effect: op.Effect, Err: op.Err, spec: op.Fault,
	}
	if op.Node != "" {
		for n := range strings.SplitSeq(op.Node, ",") {
			rec.Nodes = append(rec.Nodes, NodeID(n))
		}
	}
	return rec
}

// defaultRole is the role of a fault that is written without one.
const defaultRole = "one"

// splitFault splits a fault in the spelling of the command line into its name and its target: the role, by default "one", and the shape where
// one is written.
func splitFault(spec string) (name, target string) {
	i := strings.IndexAny(spec, ":/")
	switch {
	case i < 0:
		return spec, defaultRole
	case spec[i] == '/':
		return spec[:i], defaultRole + spec[i:]
	}
	return spec[:i], spec[i+1:]
}
