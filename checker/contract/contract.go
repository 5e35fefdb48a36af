// Package contract holds what each configuration promises: which anomalies it excludes under which faults, as data. It judges no
// history and knows no system; it says only whether an anomaly that a checker found was ever promised not to happen.
//
// The rules are those of docs/guarantees.md, which a test keeps equal to them. The default is exclusion: what no rule permits is a broken promise.
package contract

import (
	"math"
	"slices"

	"github.com/assay-project/assay/checker"
)

// Conditions are a configuration and what happened to it.
type Conditions struct {
	Config
	Facts
}

// Permission is one class of anomalies that a configuration does not promise to prevent under its conditions, within the span of
// what happened.
type Permission struct {
	Span
	Class checker.Class `json:"class"`
	// Rows are the rows of the verification matrix (semantics.md) that say so.
	Rows string `json:"rows"`
	// Reason is one sentence for people.
	Reason string `json:"reason"`
}

// Contract is what a configuration promises under its conditions. The zero Contract excludes every anomaly.
type Contract struct{ permitted []Permission }

// For returns the contract of a configuration under the conditions that a run had. A mode without rules excludes everything.
func For(c Conditions) Contract {
	var k Contract
	if c.Mode != MasterSlave {
		return k
	}
	for _, r := range Rules() {
		for _, s := range r.spans(&c) {
			for _, class := range r.Permits {
				k.permitted = append(k.permitted, Permission{Span: s, Class: class, Rows: r.Rows, Reason: r.Reason})
			}
		}
	}
	return k
}

// Case is what a permission has to know of an anomaly.
type Case struct {
	Group int   // the replication group of its partition; AnyGroup: it is about none in particular
	Seen  int64 // when the last op that proves it was over, ns
	Sent  int64 // of a lost message, when it was sent, ns; 0: it does not matter
}

// Permits reports whether a class of anomalies is permitted outright anywhere in the run, and why. What a permitted loss implies for the messages
// concerned is for the caller to see: Implied names the classes.
func (k Contract) Permits(class checker.Class) (bool, string) {
	return k.first(class, func(*Permission) bool { return true })
}

// Covers is Permits for one anomaly: what happened to another group, or only after the anomaly was complete, does not excuse it.
func (k Contract) Covers(class checker.Class, c Case) (bool, string) {
	return k.first(class, func(p *Permission) bool { return p.covers(c) })
}

func (k Contract) first(class checker.Class, is func(*Permission) bool) (bool, string) {
	for i := range k.permitted {
		if p := &k.permitted[i]; p.Class == class && is(p) {
			return true, p.Reason + " (" + p.Rows + ")"
		}
	}
	return false, ""
}

// Permissions returns all that is permitted, a class once for every event that permits it.
func (k Contract) Permissions() []Permission { return slices.Clone(k.permitted) }

// DivergencePermitted reports whether a replica of a group may stay refused by its leader, so that the group counts as recovered without it.
func (k Contract) DivergencePermitted(group int) bool {
	ok, _ := k.Covers(checker.ReplicaDivergence, Case{Group: group, Seen: math.MaxInt64})
	return ok
}

// Implied reports whether the loss of messages implies anomalies of class c for the same messages: where the tail of a log is gone, another
// message takes its offset, who had read it has read what is no longer there, and who reads later does not see what others saw.
func Implied(c checker.Class) bool {
	switch c {
	case checker.Nonlinearizable, checker.StaleRead, checker.InconsistentOffsets, checker.RolledBackRead, checker.PollSkip,
		checker.NonmonotonicPoll, checker.OffsetRegress, checker.ReplicaDivergence:
		return true
	}
	return false
}
