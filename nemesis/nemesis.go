// Package nemesis hurts clusters: the faults, whom they strike, and the plan by which they do. It measures what a fault did and records it; it
// judges nothing, and it knows a cluster only by the abilities in package harness.
//
// A fault is written name[:role][/shape], as on the command line. One file per family: process.go (kill, power, restart), wipe.go, promote.go,
// pause.go, partition.go, links.go (slow, loss), disk.go (fsync, full, corrupt). spec.go reads the spelling, draw.go
// finds the victims, plan.go makes plans, and engine.go carries them out.
package nemesis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-project/assay/harness"
)

// Kind says how a fault relates to time.
type Kind string

const (
	// Instant faults happen at one moment; what they leave behind (a dead process) is repaired a moment later.
	Instant Kind = "instant"
	// Lasting faults go on until they are healed.
	Lasting Kind = "lasting"
)

// Info describes a fault to whoever chooses one.
type Info struct {
	Name   string
	Kind   Kind
	Roles  []string // whom it may strike; the first is the default
	Shapes []string // the first is the default; empty: it has none
	Doc    string   // one line
}

// kind is an entry of the catalog.
type kind struct {
	Info
	downs   bool // the node does not run while the fault is on
	damages bool // what the node's disk held may be gone
	build   func(Spec, *ward) harness.Fault
}

// catalog lists the faults by name.
func catalog() []kind {
	return []kind{
		{Info: Info{"corrupt", Instant, roles(), nil, "flip a bit of the log, in a closed segment or in the tail"}, build: newCorrupt},
		{Info: Info{"fsync", Lasting, roles(), nil, "fail every fsync"}, build: newFsync},
		{Info: Info{"full", Lasting, roles(), nil, "fill the disk"}, build: newFull},
		{Info: Info{"kill", Instant, roles(), nil, "end the process with SIGKILL; the page cache stays"}, downs: true, build: newKill},
		{Info: Info{"loss", Lasting, roles(), nil, "lose 5 to 20 % of the packets of the node"}, build: newLoss},
		{Info: Info{"partition", Lasting, roles(), []string{shapeHalves, shapeAlone, shapeOneway, shapeRing}, "cut links between nodes; with " + withClients + " also those of clients"}, build: newPartition},
		{Info: Info{"pause", Lasting, roles(), nil, "freeze the process"}, downs: true, build: newPause},
		{Info: Info{"power", Instant, roles(), nil, "cut the power: the process ends, and unsynced bytes and directory entries are lost"}, downs: true, damages: true, build: newPower},
		{Info: Info{"promote", Instant, []string{roleGreatest, RoleLeader, RoleFollower}, nil, "promote as an operator would: the node with the most, the present leader again, or, with force if it must be, a follower"}, build: newPromote},
		{Info: Info{"restart", Instant, roles(), nil, "end the process with SIGTERM and start it again"}, downs: true, build: newRestart},
		{Info: Info{"slow", Lasting, roles(), nil, "delay each packet of the node by 20 to 100 ms each way"}, build: newSlow},
		{Info: Info{"wipe", Instant, roles(), nil, "end the process and delete its disk; a leader's group is promoted before it returns empty"}, downs: true, damages: true, build: newWipe},
	}
}

// List describes all faults, by name.
func List() []Info {
	var all []Info
	for _, k := range catalog() {
		all = append(all, k.Info)
	}
	return all
}

// kindOf returns the catalog's entry of a name.
func kindOf(name string) (kind, error) {
	var names []string
	for _, k := range catalog() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	if name == "transfer" {
		return kind{}, fmt.Errorf("fault %q: there is no transfer of the leadership in this version; promote moves it in master-slave mode", name)
	}
	return kind{}, fmt.Errorf("unknown fault %q: there is %s", name, strings.Join(names, ", "))
}

// Faults returns the faults of specs, each once, as values that can be asked whether a cluster supports them.
func Faults(specs ...string) ([]harness.Fault, error) {
	var all []harness.Fault
	w := newWard()
	for _, text := range distinct(specs) {
		s, err := Parse(text)
		if err != nil {
			return nil, err
		}
		k, err := kindOf(s.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, k.build(s, w))
	}
	return all, nil
}

func distinct(specs []string) []string {
	var all []string
	for _, s := range specs {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
