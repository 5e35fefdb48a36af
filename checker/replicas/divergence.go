package replicas

import (
	"fmt"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// maxDiffering is how many messages one anomaly lists.
const maxDiffering = 1000

// slot is one offset of a replica's log.
type slot struct {
	value int64
	held  bool
}

// replica is one replica's log.
type replica struct {
	chain logview.Chain
	log   logview.Grid[slot]
	next  int64 // after the last message
}

// divergence compares every replica with a reference: the leader, or where no leader is known the
// replica with the longest log.
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
	j.v.Each(c, func(m histories.Message, _ *logview.Read) {
		*r.log.At(m.Offset) = slot{m.Value, true}
		r.next = max(r.next, m.Offset+1)
	})
	return r
}

// compare reports the offsets where r holds another message than ref does, or where one of them has
// a hole below its end, and, when ref is the leader and the cluster had recovered, those beyond the
// end of one that the other holds: then nothing is on its way any more.
func (j *judge) compare(p *logview.Part, ref, r *replica, leads bool) {
	if r.chain.Complete && ref.chain.Complete && r.chain.End < ref.chain.End {
		j.behind++
	}
	d := &difference{a: checker.Anomaly{Class: checker.ReplicaDivergence, Part: p.ID}}
	settled := leads && j.v.Recovered() && ref.chain.Complete
	j.v.Each(r.chain, func(m histories.Message, read *logview.Read) {
		at := ref.log.Get(m.Offset)
		switch {
		case at.held && at.value != m.Value:
			d.add(&d.differs, m, read)
		case !at.held && ref.passed(m.Offset):
			d.add(&d.holes, m, read)
		case !at.held && m.Offset >= ref.chain.End && settled:
			d.add(&d.tail, m, read)
		}
	})
	j.v.Each(ref.chain, func(m histories.Message, read *logview.Read) {
		switch {
		case r.log.Get(m.Offset).held:
		case r.passed(m.Offset):
			d.add(&d.holes, m, read)
		case m.Offset >= r.chain.End && settled && r.chain.Complete:
			d.add(&d.behind, m, read)
		}
	})
	if len(d.a.Values) == 0 || !j.set.Count(checker.ReplicaDivergence, p.ID) {
		return
	}
	d.a.Witnesses = append(slices.Compact(d.a.Witnesses), j.v.Reads[ref.chain.Reads[0]].Done, j.v.Reads[r.chain.Reads[0]].Done)
	d.a.Explanation = d.explain(p, ref, r)
	j.set.Add(d.a)
}

// passed reports whether a replica was scanned beyond an offset, so that nothing there is a hole.
func (r *replica) passed(offset int64) bool { return offset < r.next }

// difference is what two replicas of a partition do not agree on.
type difference struct {
	a                            checker.Anomaly
	differs, holes, tail, behind kindOfDifference
}

// kindOfDifference counts the messages of one kind.
type kindOfDifference struct {
	count int
	first histories.Message
}

func (d *difference) add(k *kindOfDifference, m histories.Message, read *logview.Read) {
	if k.count++; k.count == 1 {
		k.first = m
	}
	if len(d.a.Values) < maxDiffering {
		d.a.Values, d.a.Offsets = append(d.a.Values, m.Value), append(d.a.Offsets, m.Offset)
		d.a.Witnesses = append(d.a.Witnesses, read.Done)
	}
}

// explain says the worst of it: other messages, else holes, else too long a log, else too short a
// one.
func (d *difference) explain(p *logview.Part, ref, r *replica) string {
	switch {
	case d.differs.count > 0:
		offsets := "offset"
		if d.differs.count > 1 {
			offsets = "offsets"
		}
		m := d.differs.first
		return fmt.Sprintf("replicas %s and %s of partition %d hold different messages at %d %s: at offset %d, %s has message %d and %s has message %d",
			ref.chain.Node, r.chain.Node, p.ID, d.differs.count, offsets, m.Offset, ref.chain.Node, ref.log.Get(m.Offset).value, r.chain.Node, m.Value)
	case d.holes.count > 0:
		m, has, lacks := d.holes.first, ref.chain.Node, r.chain.Node
		if !ref.log.Get(m.Offset).held {
			has, lacks = lacks, has
		}
		return fmt.Sprintf("the log of %s for partition %d has a hole: message %d, at offset %d of %s, is not in it, though later ones are (messages that one of the two lacks: %d)",
			lacks, p.ID, m.Value, m.Offset, has, d.holes.count)
	case d.tail.count == 0:
		return fmt.Sprintf("the log of %s for partition %d ends at %d, though the cluster was well again: that of its leader %s goes on with %d messages, the first %d at offset %d",
			r.chain.Node, p.ID, r.chain.End, ref.chain.Node, d.behind.count, d.behind.first.Value, d.behind.first.Offset)
	}
	return fmt.Sprintf("the log of %s for partition %d goes on beyond the end %d of its leader %s, after recovery, with %d messages, the first %d at offset %d",
		r.chain.Node, p.ID, ref.chain.End, ref.chain.Node, d.tail.count, d.tail.first.Value, d.tail.first.Offset)
}

// copies reports acknowledged messages that fewer replicas hold than were promised. A replica that
// was not scanned gets the benefit of the doubt, and where a fault may have destroyed what a disk
// held of them, too few copies are only counted: then lost-write is what counts.
func (j *judge) copies(p *logview.Part) {
	if j.cfg.Copies < 2 || len(p.Scans) == 0 {
		return
	}
	until, promoted := j.destroyed(p)
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
		// A promote makes replicas give up their own tail. What is still there in the end was not
		// given up by all.
		if send.Call <= until || promoted && j.v.Lost(s) {
			j.underCopied++
			continue
		}
		j.lie(p, send, holders[s])
	}
}

// count returns, by index of Send, how many scanned replicas of p hold it. A message twice in one
// log is one copy.
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

// destroyed returns until when, ns, a message was sent that a fault of p's nodes may have destroyed
// on one of them, and whether there was a promote. What was sent after the heal was on no disk that
// the fault took from, but for a flipped bit: that is found at the next start, and what follows it
// is cut off.
func (j *judge) destroyed(p *logview.Part) (until int64, promoted bool) {
	until = histories.Unset
	for i := range j.v.Strikes {
		f := &j.v.Strikes[i]
		if len(f.Nodes) > 0 && !p.Holds(f.Nodes) {
			continue
		}
		switch f.Harm {
		case histories.HarmLeadership:
			promoted = true
		case histories.HarmDisk, histories.HarmUnsynced, histories.HarmWrites:
			until = max(until, f.To)
		case histories.HarmBits:
			until = logview.Never
		}
	}
	return until, promoted
}

func (j *judge) lie(p *logview.Part, send *logview.Send, copies int) {
	if !j.set.Count(checker.WeakAckLie, p.ID) {
		return
	}
	a := checker.Anomaly{
		Class: checker.WeakAckLie, Part: p.ID, Values: []int64{send.Value}, Witnesses: []int64{send.Invoke, send.Done},
		Explanation: fmt.Sprintf("message %d of partition %d was acknowledged as on %d replicas by %s at %s, and is on %d of the %d scanned ones, though no fault since has destroyed what a replica held",
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
