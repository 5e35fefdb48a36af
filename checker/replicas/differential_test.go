package replicas_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/oracle"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/histories"
)

// definitions are the sentences of docs/anomalies.md that the oracle below leaves out, to see that the checker follows each.
type definitions uint

const (
	rolledBack     definitions = 1 << iota // what was read and is gone
	afterwards                             // but not what was read after the truth began
	differing                              // two messages at one offset of two logs
	holes                                  // a message that one log lacks below its last one ...
	leadersHoles                           // ... be it the leader's
	tails                                  // a log that goes on beyond its leader's
	shortOnes                              // a log that ends before its leader's
	onceSettled                            // neither of which counts without recovery
	theLeader                              // the leader is what the others are compared with
	copies                                 // an ok message on too few replicas
	onlyOK                                 // but no weak one
	benefit                                // a replica that was not scanned to its end may hold it
	destroyed                              // and so may one whose disk a fault destroyed ...
	itsOwn                                 // ... if it has one of its own nodes
	untilHealed                            // ... and the message was sent before the heal
	lostByPromotes                         // a promote may lose it
	noDefinition
)

type judging struct {
	f       *oracle.Facts
	without definitions
	found   oracle.Found
}

// judged is the checker's findings by the definitions alone, without those in without. Two copies are promised.
func judged(h histories.History, without definitions) oracle.Found {
	o := &judging{f: oracle.Of(h), without: without, found: make(oracle.Found)}
	for part := range int32(2) {
		o.rolledBack(part)
		o.divergence(part)
	}
	for i := range o.f.Sends {
		o.copies(&o.f.Sends[i])
	}
	return o.found
}

func (o *judging) on(d definitions) bool { return o.without&d == 0 }

func (o *judging) rolledBack(part int32) {
	if _, known := o.f.Truth(part); !known {
		return
	}
	for _, r := range o.f.Reads {
		if r.Part != part || r.F == histories.Scan || o.on(afterwards) && r.Index > o.f.Began(part) {
			continue
		}
		for _, m := range r.Msgs {
			if o.f.Sent(part, m.Value) != nil && !o.f.InTruth(part, m.Value) && o.on(rolledBack) {
				o.found.Add(checker.RolledBackRead, part, m.Value)
			}
		}
	}
}

// replica is one log, as far as it was scanned.
type replica struct {
	oracle.Whole
	at   map[int64]int64
	last int64
}

// scans returns the logs of a partition by node, and the names of the nodes in order.
func (o *judging) scans(part int32) (logs map[string]*replica, nodes []string) {
	logs = make(map[string]*replica)
	for _, n := range o.f.Tried(part) {
		w := o.f.Log(part, n)
		if len(w.Chunks) == 0 {
			continue
		}
		r := &replica{Whole: w, at: make(map[int64]int64), last: -1}
		for _, m := range w.Msgs() {
			r.at[m.Offset] = m.Value
			r.last = max(r.last, m.Offset)
		}
		logs[n] = r
	}
	return logs, slices.Sorted(maps.Keys(logs))
}

func (o *judging) divergence(part int32) {
	logs, nodes := o.scans(part)
	if len(nodes) < 2 {
		return
	}
	lead := o.f.Leader(part)
	leads := logs[lead] != nil && logs[lead].Complete && o.on(theLeader)
	if !leads {
		lead = slices.MaxFunc(nodes, func(a, b string) int {
			if d := int(logs[a].End() - logs[b].End()); d != 0 {
				return d
			}
			return strings.Compare(b, a) // the first of equals
		})
	}
	for _, n := range nodes {
		if n == lead {
			continue
		}
		if values := o.compare(logs[lead], logs[n], leads && (o.f.Recovered || !o.on(onceSettled))); len(values) > 0 {
			o.found.Add(checker.ReplicaDivergence, part, values...)
		}
	}
}

// compare returns the messages that r and the reference do not agree on.
func (o *judging) compare(ref, r *replica, settled bool) (values []int64) {
	for _, m := range r.Msgs() {
		v, held := ref.at[m.Offset]
		differs := held && v != m.Value && o.on(differing)
		hole := !held && m.Offset <= ref.last && o.on(holes) && o.on(leadersHoles)
		tail := !held && m.Offset > ref.last && settled && m.Offset >= ref.End() && o.on(tails)
		if differs || hole || tail {
			values = append(values, m.Value)
		}
	}
	for _, m := range ref.Msgs() {
		_, held := r.at[m.Offset]
		hole := !held && m.Offset <= r.last && o.on(holes)
		short := !held && m.Offset > r.last && settled && r.Complete && m.Offset >= r.End() && o.on(shortOnes)
		if hole || short {
			values = append(values, m.Value)
		}
	}
	return values
}

func (o *judging) copies(s *oracle.Sent) {
	logs, _ := o.scans(s.Part)
	if len(logs) == 0 || s.Type != histories.OK && (s.Type != histories.Weak || o.on(onlyOK)) {
		return
	}
	holding := 0
	if o.on(benefit) {
		holding = len(o.f.Tried(s.Part))
	}
	for _, r := range logs {
		if r.Complete && o.on(benefit) {
			holding--
		}
		if r.Has(s.Value) {
			holding++
		}
	}
	if holding < 2 && !o.excused(s) && o.on(copies) {
		o.found.Add(checker.WeakAckLie, s.Part, s.Value)
	}
}

func (o *judging) excused(s *oracle.Sent) bool {
	for i, op := range o.f.Nemesis {
		own := op.Node == "" || slices.ContainsFunc(strings.Split(op.Node, ","), func(n string) bool { return slices.Contains(o.f.Tried(s.Part), n) })
		if op.F != histories.Inject || !own && o.on(itsOwn) {
			continue
		}
		if op.Fault == "promote" {
			if o.on(lostByPromotes) && o.f.Lost(s) {
				return true
			}
			continue
		}
		healed := slices.IndexFunc(o.f.Nemesis[i:], func(heal histories.Op) bool {
			return heal.F == histories.Heal && heal.Fault == op.Fault && heal.Node == op.Node
		})
		before := healed < 0 || s.Call < o.f.Nemesis[i+healed].Index || op.Fault == "corrupt" || !o.on(untilHealed)
		if op.Fault != "kill" && before && o.on(destroyed) {
			return true
		}
	}
	return false
}

func TestReplicasFollowTheirDefinitions(t *testing.T) {
	runs := 16_000
	if testing.Short() {
		runs = 8_000
	}
	r := rand.New(rand.NewPCG(11, 12))
	classes := make(map[checker.Class]int)
	missed := definitions(0)
	for i := range runs {
		h := oracle.Generate(r)
		res := replicas.New(replicas.Config{Copies: 2}).Check(t.Context(), h)
		got := oracle.Listed(res)
		if want := judged(h, 0); !maps.Equal(got, want) {
			t.Fatalf("history %d: the checker finds %v, the definitions %v\n%s", i, got, want, oracle.Text(h))
		}
		for _, a := range res.Anomalies {
			classes[a.Class]++
		}
		for d := rolledBack; d < noDefinition; d <<= 1 {
			if missed&d == 0 && !maps.Equal(got, judged(h, d)) {
				missed |= d
			}
		}
	}
	require.Equal(t, noDefinition-1, missed, "a definition that makes no difference: %b", noDefinition-1-missed)
	for _, c := range []checker.Class{checker.RolledBackRead, checker.ReplicaDivergence, checker.WeakAckLie} {
		require.Greater(t, classes[c], runs/500, "%s is too rare to say anything", c)
	}
}
