// Package contract says what a promise is: which anomalies a configuration excludes after what
// happened to it, as data. It judges no history and knows no system: each target has a package with
// its own promises, made of the parts here.
//
// The default is exclusion: what nothing permits is a broken promise.
package contract

import (
	"math"
	"slices"

	"github.com/assay-project/assay/checker"
)

// Promise is what one configuration of a system promises. The zero Promise excludes every anomaly,
// and promises neither copies nor linearizable reads.
type Promise struct {
	// Groups is the number of replication groups: partition p is in group p mod Groups. 0: not
	// known.
	Groups int
	// Copies is on how many replicas a strongly acknowledged message is; 0 and 1 promise none
	// beyond the leader's.
	Copies int
	// NoAcks: the producer asks for no acknowledgements, so that there are none.
	NoAcks bool
	// LinearReads reports whether reads under load are linearizable after what happened; nil: they
	// never are.
	LinearReads func(Facts) bool
	// Permits lists what the configuration does not promise to prevent after what happened; nil: it
	// prevents everything.
	Permits func(Facts) []Permission
}

// Terms are what checkers have to know of a promise, after what happened.
type Terms struct {
	Copies      int  // see Promise
	NoAcks      bool // see Promise
	LinearReads bool // reads under load are linearizable
}

// After returns what the promise comes down to after what happened.
func (p Promise) After(f Facts) (Contract, Terms) {
	t := Terms{Copies: p.Copies, NoAcks: p.NoAcks, LinearReads: p.LinearReads != nil && p.LinearReads(f)}
	if p.Permits == nil {
		return Contract{}, t
	}
	return Contract{permitted: p.Permits(f)}, t
}

// Permission is one class of anomalies that a configuration does not promise to prevent, within the
// span of what happened.
type Permission struct {
	Span
	Class checker.Class `json:"class"`
	// Rows name where the promise is written down, e.g. rows of a verification matrix.
	Rows string `json:"rows"`
	// Reason is one sentence for people.
	Reason string `json:"reason"`
}

// Contract is what a configuration promises after what happened. The zero Contract excludes every
// anomaly.
type Contract struct{ permitted []Permission }

// Case is what a permission has to know of an anomaly.
type Case struct {
	Group int   // the replication group of its partition; AnyGroup: it is about none in particular
	Seen  int64 // when the last op that proves it was over, ns
	Sent  int64 // of a lost message, when it was sent, ns; 0: it does not matter
}

// Permits reports whether a class of anomalies is permitted outright anywhere in the run, and why.
// What a permitted loss implies for the messages concerned is for the caller to see: Implied names
// the classes.
func (k Contract) Permits(class checker.Class) (bool, string) {
	return k.first(class, func(*Permission) bool { return true })
}

// Covers is Permits for one anomaly: what happened to another group, or only after the anomaly was
// complete, does not excuse it.
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

// DivergencePermitted reports whether a replica of a group may stay refused by its leader, so that
// the group counts as recovered without it.
func (k Contract) DivergencePermitted(group int) bool {
	ok, _ := k.Covers(checker.ReplicaDivergence, Case{Group: group, Seen: math.MaxInt64})
	return ok
}
