package delivery

import (
	"fmt"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// phantoms reports values that nobody sent to where they were read, and values whose send was certainly not done.
func (j *judge) phantoms() {
	strays := make([]stray, 0, len(j.strays))
	for k := range j.strays {
		strays = append(strays, k)
	}
	slices.SortFunc(strays, func(a, b stray) int { return int(j.strays[a].read) - int(j.strays[b].read) })
	for _, k := range strays {
		j.phantom(k, j.strays[k])
	}
	for s := range j.v.Sends {
		send, at := &j.v.Sends[s], j.seen[s]
		if send.Type != histories.Fail || at.read == 0 || !j.set.Count(checker.AbortedRead, at.part) {
			continue
		}
		r := j.readOf(at)
		j.set.Add(checker.Anomaly{
			Class: checker.AbortedRead, Part: at.part, Values: []int64{send.Value}, Offsets: []int64{at.offset},
			Witnesses: []int64{send.Invoke, send.Done, r.Invoke, r.Done},
			Explanation: fmt.Sprintf("message %d was refused by %s at %s, so it was certainly not stored, and yet %s at offset %d of partition %d",
				send.Value, orSystem(send.Node), logview.Seconds(send.Return), readBy(r), at.offset, at.part),
		})
	}
}

func (j *judge) phantom(k stray, at sighting) {
	s := j.v.SendOf(k.value)
	if s >= 0 && len(j.moved[s]) > 0 {
		return // also where it belongs: a duplicate
	}
	if !j.set.Count(checker.Phantom, k.part) {
		return
	}
	r := j.readOf(at)
	a := checker.Anomaly{
		Class: checker.Phantom, Part: k.part, Values: []int64{k.value}, Offsets: []int64{at.offset},
		Witnesses: []int64{r.Invoke, r.Done},
	}
	switch {
	case k.value < 0:
		a.Explanation = fmt.Sprintf("a message that no client can have written (unreadable or damaged) %s at offset %d of partition %d",
			readBy(r), at.offset, k.part)
	case s >= 0:
		send := &j.v.Sends[s]
		a.Witnesses = append(a.Witnesses, send.Invoke, send.Done)
		a.Explanation = fmt.Sprintf("message %d was sent to partition %d, and %s at offset %d of partition %d",
			k.value, send.Part, readBy(r), at.offset, k.part)
	default:
		a.Explanation = fmt.Sprintf("message %d was never sent, and %s at offset %d of partition %d", k.value, readBy(r), at.offset, k.part)
	}
	j.set.Add(a)
}

// duplicates reports messages that were read at more than one place.
func (j *judge) duplicates() {
	for s := range j.v.Sends {
		all := j.moved[int32(s)]
		send := &j.v.Sends[s]
		if len(all) < 2 || !j.set.Count(checker.Duplicate, send.Part) {
			continue
		}
		a := checker.Anomaly{
			Class: checker.Duplicate, Part: send.Part, Values: []int64{send.Value}, Witnesses: []int64{send.Invoke, send.Done},
			Explanation: fmt.Sprintf("message %d was sent once, and", send.Value),
		}
		for i, at := range all {
			r := j.readOf(at)
			a.Offsets = append(a.Offsets, at.offset)
			a.Witnesses = append(a.Witnesses, r.Done)
			if i > 0 {
				a.Explanation += " and"
			}
			a.Explanation += fmt.Sprintf(" %s at offset %d of partition %d", readBy(r), at.offset, at.part)
		}
		j.set.Add(a)
	}
}

// holder is who says that a value is at an offset: the index of an op, + 1. The zero holder is nobody.
type holder struct {
	value int64
	op    int64
}

// offsets reports offsets that two messages hold, and messages that are not where their acknowledgement put them.
func (j *judge) offsets() {
	for _, p := range j.v.Parts {
		j.conflicts(p)
	}
	for s := range j.v.Sends {
		send, at := &j.v.Sends[s], j.seen[s]
		if send.Offset == histories.Unset || at.read == 0 || at.offset == send.Offset && at.part == send.Part {
			continue
		}
		acked := sighting{offset: send.Offset, part: send.Part}
		if slices.ContainsFunc(j.moved[int32(s)], acked.same) || !j.set.Count(checker.InconsistentOffsets, send.Part) {
			continue
		}
		r := j.readOf(at)
		j.set.Add(checker.Anomaly{
			Class: checker.InconsistentOffsets, Part: send.Part, Values: []int64{send.Value}, Offsets: []int64{send.Offset, at.offset},
			Witnesses: []int64{send.Invoke, send.Done, r.Invoke, r.Done},
			Explanation: fmt.Sprintf("message %d was acknowledged at offset %d of partition %d by %s at %s, and %s at offset %d of partition %d",
				send.Value, send.Offset, send.Part, orSystem(send.Node), logview.Seconds(send.Return), readBy(r), at.offset, at.part),
		})
	}
}

// conflicts reports the offsets of p that two messages hold, by acknowledgements and committed reads. A weak acknowledgement
// promised nothing, so its offset may be taken by another message.
func (j *judge) conflicts(p *logview.Part) {
	var held logview.Grid[holder]
	known := make(map[histories.Message]bool) // conflicts reported already
	put := func(m histories.Message, op int64) {
		h := held.At(m.Offset)
		switch {
		case h.op == 0:
			*h = holder{m.Value, op + 1}
		case h.value != m.Value && !known[m]:
			known[m] = true
			j.conflict(p, *h, m, op)
		}
	}
	for _, s := range p.Sends {
		if send := &j.v.Sends[s]; send.Type == histories.OK && send.Offset != histories.Unset {
			put(histories.Message{Offset: send.Offset, Value: send.Value}, send.Done)
		}
	}
	for _, i := range p.Reads {
		r := &j.v.Reads[i]
		for _, m := range r.Msgs {
			put(m, r.Done)
		}
	}
}

// conflict reports that h and m are at one offset. What is lost comes first, for whoever asks whether the loss explains it.
func (j *judge) conflict(p *logview.Part, h holder, m histories.Message, op int64) {
	if !j.set.Count(checker.InconsistentOffsets, p.ID) {
		return
	}
	values := []int64{h.value, m.Value}
	if s := j.v.SendOf(m.Value); s >= 0 && j.v.Lost(s) {
		slices.Reverse(values)
	}
	j.set.Add(checker.Anomaly{
		Class: checker.InconsistentOffsets, Part: p.ID, Values: values, Offsets: []int64{m.Offset},
		Witnesses: []int64{h.op - 1, op},
		Explanation: fmt.Sprintf("offset %d of partition %d holds message %d according to op %d, and message %d according to op %d",
			m.Offset, p.ID, h.value, h.op-1, m.Value, op),
	})
}

// readBy says who read something, to follow the name of a message.
func readBy(r *logview.Read) string {
	switch r.F {
	case histories.Scan:
		return fmt.Sprintf("is in the log of %s", orSystem(r.Node))
	case histories.Final:
		return fmt.Sprintf("was returned by the final read of process %d at %s", r.Proc, logview.Seconds(r.Return))
	}
	return fmt.Sprintf("was read by process %d from %s at %s", r.Proc, orSystem(r.Node), logview.Seconds(r.Return))
}

func orSystem(node string) string {
	if node == "" {
		return "the system"
	}
	return node
}
