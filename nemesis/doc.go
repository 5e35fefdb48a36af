// Package nemesis hurts clusters: the faults, whom they strike, and the plan by which they do. It
// measures what a fault did and records it. It judges nothing, and it knows a cluster only by the
// abilities in package harness.
//
// A fault is written name[:role][/shape], as on the command line. Which names there are is a value,
// a Set of Kinds. Stock returns the kinds of this package, and a caller adds kinds of its own:
//
//	set, err := nemesis.NewSet(append(nemesis.Stock(), myKind)...)
//
// A kind of one's own is a Kind whose Build returns a harness.Fault. The stock faults share these
// parts, and others may use them too: Victims (name, role check and draw), Each and InjectEach (all
// victims at once, with one effect), Boot (start nodes again), Random, and Unsupported.
//
// A fault must not keep state between two strikes: the same value may carry out several at once.
//
// Where to find what: kind.go and set.go say what can be chosen, stock.go lists the stock faults,
// spec.go reads the spelling, draw.go and groups.go find the victims, nodes.go tracks who is down
// or damaged, plan.go makes plans, engine.go and catchup.go carry them out. The faults have one
// file per family: process.go (kill, power, restart), wipe.go with succession.go, promote.go,
// pause.go, partition.go, links.go (slow, loss), disk.go (fsync, full, corrupt).
package nemesis
