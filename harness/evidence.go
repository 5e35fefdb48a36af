package harness

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/histories"
)

// minAcked is the least share of the sends that must have been acknowledged, ok or weak, for a run to say something.
const minAcked = 0.01

// evidence is what a history offers to be judged by.
type evidence struct {
	ops         OpCounts
	sends       OpCounts
	invoked     int64 // sends and polls
	parts       map[int32]*partEvidence
	groups      map[int][]string // replication group -> its nodes, as noted
	nemesis     histories.History
	faults      []FaultRecord
	interrupted bool
	unwell      string // why the recovery was not reached
}

// partEvidence is what was read of one partition in the end.
type partEvidence struct {
	acked  int64            // sends
	read   bool             // a final read reached the committed end
	leader string           // noted after the recovery
	scans  map[string]int64 // node -> how far a scan that began at 0 got
	ended  map[string]bool  // nodes whose scan reached the end
	final  map[int]int64    // process -> how far its final read got
}

// collect reads the evidence from a history.
func collect(h histories.Reader) evidence {
	ev := evidence{parts: make(map[int32]*partEvidence), groups: make(map[int][]string)}
	for op := range h.Ops() {
		if op.Process == histories.NemesisProcess {
			ev.nemesis = append(ev.nemesis, *op)
		}
	}
	for inv, done := range histories.Pairs(h) {
		ev.pair(inv, done)
	}
	ev.faults = Faults(ev.nemesis)
	for i := range ev.nemesis {
		op := &ev.nemesis[i]
		switch {
		case op.F != histories.Note:
		case op.Fault == NoteInterrupted:
			ev.interrupted = true
		case op.Fault == NoteRecovery:
			ev.unwell = op.Err
		case op.Fault == contract.NoteGroup:
			ev.groups[int(op.Part)] = strings.Split(op.Node, ",")
		case op.Fault == NoteLeader:
			ev.part(op.Part).leader = op.Node
		}
	}
	return ev
}

func (ev *evidence) part(id int32) *partEvidence {
	p := ev.parts[id]
	if p == nil {
		p = &partEvidence{scans: make(map[string]int64), ended: make(map[string]bool), final: make(map[int]int64)}
		ev.parts[id] = p
	}
	return p
}

// pair takes one operation of a client. done is nil when it never completed.
func (ev *evidence) pair(inv, done *histories.Op) {
	p := ev.part(inv.Part)
	t := histories.Info
	if done != nil {
		t = done.Type
	}
	switch inv.F {
	case histories.Final:
		if t == histories.OK {
			p.chunk(p.final, inv.Process, done)
		}
	case histories.Scan:
		if t == histories.OK && chunk(p.scans, inv.Node, done) {
			p.ended[inv.Node] = true
		}
	default:
		ev.invoked++
		ev.ops.Count(t)
		if inv.F != histories.Send {
			return
		}
		ev.sends.Count(t)
		if t == histories.OK || t == histories.Weak {
			p.acked++
		}
	}
}

// scanned reports whether a scan of the partition's leader reached the end of its log.
func (p *partEvidence) scanned() bool { return p.leader != "" && p.ended[p.leader] }

func (p *partEvidence) chunk(reached map[int]int64, process int, done *histories.Op) {
	p.read = chunk(reached, process, done) || p.read
}

// chunk notes how far the chunks of one reader got, without a gap from offset 0, and reports whether that is the end.
func chunk[K comparable](reached map[K]int64, k K, done *histories.Op) bool {
	if done.From > reached[k] || done.HW < 0 {
		return false
	}
	next := done.From
	if n := len(done.Msgs); n > 0 {
		next = max(next, done.Msgs[n-1].Offset+1)
	}
	reached[k] = max(reached[k], next)
	return reached[k] >= done.HW
}

// missing returns the partitions with acknowledged messages whose end is not known: neither a final read nor the scan of the
// leader got there. After an interruption there are none by design.
func (ev *evidence) missing(interrupted bool) []string {
	var ids []int32
	for id, p := range ev.parts {
		if p.acked > 0 && !p.read && !p.scanned() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 || interrupted {
		return nil
	}
	slices.Sort(ids)
	return []string{fmt.Sprintf("no final read of partition %s", list(ids))}
}

// emptiness returns why a run without anomalies proves nothing.
func emptiness(ev *evidence, planned []string, groups int, interrupted bool) []string {
	var reasons []string
	total := ev.sends.OK + ev.sends.Weak + ev.sends.Info + ev.sends.Fail
	switch {
	case ev.invoked == 0:
		reasons = append(reasons, "idle: no operation was invoked")
	case ev.sends.OK == 0:
		reasons = append(reasons, "no send was acknowledged")
	case float64(ev.sends.OK+ev.sends.Weak) < minAcked*float64(total):
		reasons = append(reasons, fmt.Sprintf("only %d of %d sends were acknowledged", ev.sends.OK+ev.sends.Weak, total))
	}
	var scanned []int32
	for id, p := range ev.parts {
		if p.acked > 0 && !p.read && p.scanned() {
			scanned = append(scanned, id)
		}
	}
	if len(scanned) > 0 {
		slices.Sort(scanned)
		reasons = append(reasons, fmt.Sprintf("no final read by a client of partition %s, only the scan of its leader", list(scanned)))
	}
	if !interrupted {
		reasons = append(reasons, ev.unscanned(groups)...)
	}
	return append(reasons, idleFaults(ev.faults, planned)...)
}

// unscanned says which replicas of partitions with acknowledged messages were not scanned to their end: whether those hold what they should is not
// known. Where the configuration has more groups than were noted, it is not even known who has a replica.
func (ev *evidence) unscanned(groups int) []string {
	var reasons []string
	for g := range groups {
		if len(ev.groups[g]) == 0 {
			reasons = append(reasons, fmt.Sprintf("no note says which nodes are group %d, so nobody knows whether each was scanned", g))
		}
	}
	if len(reasons) > 0 {
		return reasons
	}
	missing := make(map[string][]int32)
	for id, p := range ev.parts {
		if p.acked == 0 {
			continue
		}
		for _, n := range ev.groups[GroupOf(id, len(ev.groups))] {
			if !p.ended[n] {
				missing[n] = append(missing[n], id)
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[n])
		reasons = append(reasons, fmt.Sprintf("no complete scan of partition %s on %s", list(missing[n]), n))
	}
	return reasons
}

// idleFaults returns the faults none of whose strikes had an effect.
func idleFaults(records []FaultRecord, planned []string) []string {
	names := slices.Clone(planned)
	effect, why := make(map[string]bool), make(map[string]string)
	for i := range records {
		spec := records[i].spec
		if planned == nil && !slices.Contains(names, spec) {
			names = append(names, spec)
		}
		effect[spec] = effect[spec] || records[i].Effect != ""
		if records[i].Err != "" {
			why[spec] = records[i].Err
		}
	}
	var reasons []string
	for _, n := range names {
		if effect[n] {
			continue
		}
		reason := "the fault " + n + " had no effect"
		if why[n] != "" {
			reason += ": " + why[n]
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

func list(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return strings.Join(texts, ", ")
}
