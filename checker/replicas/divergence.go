package replicas

import (
	"fmt"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/finding"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// slot is one offset of a replica's log.
type slot struct {
	value int64
	held  bool
}

// replica is one replica's log.
type replica struct {
	chain logview.Chain
	log   logview.Grid[slot]
}

// divergence compares every replica with a reference: the leader, or where no leader is known the replica with the longest log.
func (j *judge) divergence(p *logview.Part) {
	if len(p.Scans) < 2 {
		return
	}
	all := make([]*replica, len(p.Scans))
	ref := 0
	for i, c := range p.Scans {
		all[i] = j.load(c)
		if c.End > p.Scans[ref].End {
			ref = i
		}
	}
	lead := slices.IndexFunc(p.Scans, func(c logview.Chain) bool { return c.Node == p.Leader && c.Complete })
	if lead >= 0 {
		ref = lead
	}
	for i, r := range all {
		if i != ref {
			j.compare(p, all[ref], r, lead >= 0)
		}
	}
}

// load puts a replica's log into a table.
func (j *judge) load(c logview.Chain) *replica {
	r := &replica{chain: c}
	j.v.Each(c, func(m histories.Message, _ *logview.Read) { *r.log.At(m.Offset) = slot{m.Value, true} })
	return r
}

// compare reports the offsets where r holds another message than ref does, and those beyond the end of ref when ref is the leader and the
// cluster had recovered: a replica may be shorter than its leader, but not longer.
func (j *judge) compare(p *logview.Part, ref, r *replica, leads bool) {
	if r.chain.Complete && ref.chain.Complete && r.chain.End < ref.chain.End {
		j.behind++
	}
	beyond := leads && j.recovered()
	a := checker.Anomaly{Class: checker.ReplicaDivergence, Part: p.ID}
	tail, differs := 0, 0
	var first histories.Message // that differs
	j.v.Each(r.chain, func(m histories.Message, read *logview.Read) {
		at := ref.log.Get(m.Offset)
		switch {
		case at.held && at.value != m.Value:
			if differs++; differs == 1 {
				first = m
			}
		case !at.held && m.Offset >= ref.chain.End && ref.chain.Complete && beyond:
			tail++
		default:
			return
		}
		if len(a.Values) < finding.Limit {
			a.Values, a.Offsets = append(a.Values, m.Value), append(a.Offsets, m.Offset)
			a.Witnesses = append(a.Witnesses, read.Done)
		}
	})
	if tail+differs == 0 || !j.set.Count(checker.ReplicaDivergence) {
		return
	}
	a.Witnesses = append(slices.Compact(a.Witnesses), j.v.Reads[ref.chain.Reads[0]].Done)
	if differs > 0 {
		offsets := "offset"
		if differs > 1 {
			offsets = "offsets"
		}
		a.Explanation = fmt.Sprintf("replicas %s and %s of partition %d hold different messages at %d %s: at offset %d, %s has message %d and %s has message %d",
			ref.chain.Node, r.chain.Node, p.ID, differs, offsets, first.Offset, ref.chain.Node, ref.log.Get(first.Offset).value, r.chain.Node, first.Value)
	} else {
		a.Explanation = fmt.Sprintf("the log of %s for partition %d goes on beyond the end %d of its leader %s, after recovery, with %d messages, the first %d at offset %d",
			r.chain.Node, p.ID, ref.chain.End, ref.chain.Node, tail, a.Values[0], a.Offsets[0])
	}
	j.set.Add(a)
}

// recovered reports whether the harness noted that the cluster was well again.
func (j *judge) recovered() bool {
	ok := false
	for i := range j.v.Notes {
		if n := &j.v.Notes[i]; n.Fault == logview.NoteRecovery {
			ok = n.Err == ""
		}
	}
	return ok
}

// copies reports acknowledged messages that fewer replicas hold than were promised. A replica that was not scanned gets the benefit of
// the doubt, and where a fault destroyed what a disk held, too few copies are only counted: then lost-write is what counts.
func (j *judge) copies(p *logview.Part) {
	if j.cfg.Copies < 2 || len(p.Scans) == 0 {
		return
	}
	excused, promoted := j.destroyed()
	holders := j.count(p)
	doubt := len(p.Tried)
	for _, c := range p.Scans {
		if c.Complete {
			doubt--
		}
	}
	for _, s := range p.Sends {
		send := &j.v.Sends[s]
		if send.Type != histories.OK || holders[s]+doubt >= j.cfg.Copies {
			continue
		}
		// A promote makes replicas give up their own tail. What is still there in the end was not given up by all.
		if excused || promoted && j.v.Lost(s) {
			j.underCopied++
			continue
		}
		j.lie(p, send, holders[s])
	}
}

// count returns, by index of Send, how many scanned replicas of p hold it. A message twice in one log is one copy.
func (j *judge) count(p *logview.Part) []int {
	holders := make([]int, len(j.v.Sends))
	last := make([]int, len(j.v.Sends)) // the latest replica counted, + 1
	for i, c := range p.Scans {
		j.v.Each(c, func(m histories.Message, _ *logview.Read) {
			if s := j.v.SendOf(m.Value); s >= 0 && last[s] != i+1 {
				last[s] = i + 1
				holders[s]++
			}
		})
	}
	return holders
}

// destroyed reports whether a fault of the run destroyed what a replica held, and whether there was a promote.
func (j *judge) destroyed() (destroyed, promoted bool) {
	for i := range j.v.Faults {
		switch j.v.Faults[i].Base() {
		case "wipe", "power", "corrupt", "fsync", "full":
			destroyed = true
		case "promote":
			promoted = true
		}
	}
	return destroyed, promoted
}

func (j *judge) lie(p *logview.Part, send *logview.Send, copies int) {
	if !j.set.Count(checker.WeakAckLie) {
		return
	}
	a := checker.Anomaly{
		Class: checker.WeakAckLie, Part: p.ID, Values: []int64{send.Value}, Witnesses: []int64{send.Invoke, send.Done},
		Explanation: fmt.Sprintf("message %d of partition %d was acknowledged as on %d replicas by %s at %s, and is on %d of the %d scanned ones, though no fault destroyed what a replica held",
			send.Value, p.ID, j.cfg.Copies, orSystem(send.Node), logview.Seconds(send.Return), copies, len(p.Scans)),
	}
	if send.Offset != histories.Unset {
		a.Offsets = []int64{send.Offset}
	}
	for _, c := range p.Scans {
		a.Witnesses = append(a.Witnesses, j.v.Reads[c.Reads[len(c.Reads)-1]].Done)
	}
	j.set.Add(a)
}
