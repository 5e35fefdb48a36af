package logview

import (
	"fmt"
	"strings"

	"github.com/assay-project/assay/histories"
)

// What the harness notes (Op.Fault of an op whose F is histories.Note).
const (
	NoteLeader   = "leader"   // Op.Node leads partition Op.Part from here on
	NoteRecovery = "recovery" // the cluster is well again; with Op.Err set: it was not within its bound
)

// Fault is one injected fault with its span.
type Fault struct {
	Name   string // as on the command line, e.g. "wipe:leader"
	Nodes  string
	Inject int64 // index of the op
	Heal   int64 // index of the op; histories.Unset when it was never healed
	From   int64 // ns
	To     int64 // ns; Never when it was never healed, and From for a fault that needs no heal

	missed bool // it did not take place
}

// Base returns the fault's name without role and shape: "wipe" for "wipe:leader".
func (f *Fault) Base() string { return base(f.Name) }

func base(name string) string {
	if i := strings.IndexAny(name, ":/"); i >= 0 {
		return name[:i]
	}
	return name
}

// String names the fault in a sentence: "wipe n1 at 13.0s".
func (f *Fault) String() string {
	s := f.Base()
	if f.Nodes != "" {
		s += " " + f.Nodes
	}
	return s + " at " + Seconds(f.From)
}

// instant reports whether a fault is over when it has happened, so that it may lack a heal: the cluster is as it would be
// had an operator done it.
func instant(name string) bool {
	switch base(name) {
	case "promote", "transfer", "restart", "corrupt":
		return true
	}
	return false
}

// addNemesis takes the next op of the nemesis. An injection with an error did not take place. A heal ends the latest open fault of its name and nodes, or else of its name; a heal
// without a name ends all.
func (v *View) addNemesis(op *histories.Op) {
	switch op.F {
	case histories.Inject:
		f := Fault{Name: op.Fault, Nodes: op.Node, Inject: op.Index, Heal: histories.Unset, From: op.Time, To: Never, missed: op.Err != ""}
		if instant(f.Name) {
			f.To = f.From
		}
		v.Faults = append(v.Faults, f)
	case histories.Heal:
		v.heal(op)
	case histories.Note:
		v.Notes = append(v.Notes, *op)
	}
}

func (v *View) heal(op *histories.Op) {
	var exact, named *Fault
	for i := range v.Faults {
		f := &v.Faults[i]
		switch {
		case f.Heal != histories.Unset:
		case op.Fault == "":
			f.Heal, f.To = op.Index, op.Time
		case f.Name == op.Fault && f.Nodes == op.Node:
			exact, named = f, f
		case f.Name == op.Fault:
			named = f
		}
	}
	if exact == nil {
		exact = named
	}
	if exact != nil {
		exact.Heal, exact.To = op.Index, op.Time
	}
}

// Between returns the faults that were on at some time within [from, to], ns.
func (v *View) Between(from, to int64) []Fault {
	var fs []Fault
	for _, f := range v.Faults {
		if f.From <= to && f.To >= from {
			fs = append(fs, f)
		}
	}
	return fs
}

// Seconds writes a time in ns as seconds, with as many digits as a reader needs: "13.0s", "12.345s".
func Seconds(ns int64) string {
	s := fmt.Sprintf("%.3f", float64(ns)/1e9)
	for strings.HasSuffix(s, "0") && !strings.HasSuffix(s, ".0") {
		s = s[:len(s)-1]
	}
	return s + "s"
}
