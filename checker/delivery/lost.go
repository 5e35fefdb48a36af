package delivery

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// maxFaults is how many faults one explanation names.
const maxFaults = 6

// lost reports acknowledged messages that the final truth of their partition does not hold: as unseen where the leader has them in its
// log all the same, else as lost. Weak and open ones are only counted.
func (j *judge) lost() {
	var lostSends []int32
	weak, info := 0, 0
	for _, p := range j.v.Parts {
		if !p.Truth.Known {
			j.undecided(p)
			continue
		}
		held := j.held(p)
		for _, s := range p.Sends {
			if !j.v.Lost(s) {
				continue
			}
			switch j.v.Sends[s].Type {
			case histories.Weak:
				weak++
			case histories.Info:
				info++
			case histories.OK:
				if slices.Contains(held[s], p.Leader) {
					j.unseen(p, s)
				} else {
					lostSends = append(lostSends, s)
				}
			}
		}
	}
	j.set.Figure("weak_lost", float64(weak))
	j.set.Figure("info_lost", float64(info))
	j.report(lostSends)
}

// undecided notes that p has no truth, if something of it was to be judged.
func (j *judge) undecided(p *logview.Part) {
	for _, s := range p.Sends {
		if j.v.Sends[s].Type == histories.OK {
			j.set.Undecided(fmt.Sprintf("partition %d has neither a complete final read nor a complete scan of its leader", p.ID))
			return
		}
	}
}

// held returns which replicas hold the sends that the truth lacks, by the index of the send.
func (j *judge) held(p *logview.Part) map[int32][]string {
	if held := j.holders[p.ID]; held != nil {
		return held
	}
	held := make(map[int32][]string)
	for _, c := range p.Scans {
		j.v.Each(c, func(m histories.Message, _ *logview.Read) {
			s := j.v.SendOf(m.Value)
			if s >= 0 && j.v.Lost(s) && j.v.Sends[s].Part == p.ID && !slices.Contains(held[s], c.Node) {
				held[s] = append(held[s], c.Node)
			}
		})
	}
	if j.holders == nil {
		j.holders = make(map[int32]map[int32][]string)
	}
	j.holders[p.ID] = held
	return held
}

func (j *judge) unseen(p *logview.Part, s int32) {
	if !j.set.Count(checker.Unseen, p.ID) {
		return
	}
	send := &j.v.Sends[s]
	a := checker.Anomaly{
		Class: checker.Unseen, Part: p.ID, Values: []int64{send.Value}, Witnesses: []int64{send.Invoke, send.Done, p.Truth.Done},
		Explanation: fmt.Sprintf("%s and is in the log of the leader %s, and %s, though complete, did not return it",
			acknowledged(send), p.Leader, p.Truth.Source),
	}
	if send.Offset != histories.Unset {
		a.Offsets = []int64{send.Offset}
	}
	j.set.Add(a)
}

// report lists the lost sends. Who read one of them last is looked for only now, and for those that are listed.
func (j *judge) report(lost []int32) {
	listed := make(map[int32]int32) // send -> index of the last read that returned it, + 1
	for _, s := range lost {
		if j.set.Count(checker.LostWrite, j.v.Sends[s].Part) {
			listed[s] = 0
		}
	}
	if len(listed) == 0 {
		return
	}
	for i := range j.v.Reads {
		r := &j.v.Reads[i]
		if r.F == histories.Scan {
			continue
		}
		for _, m := range r.Msgs {
			s := j.v.SendOf(m.Value)
			if _, ok := listed[s]; ok {
				listed[s] = int32(i) + 1
			}
		}
	}
	for _, s := range lost {
		if last, ok := listed[s]; ok {
			j.lostWrite(j.v.Part(j.v.Sends[s].Part), s, last)
		}
	}
}

func (j *judge) lostWrite(p *logview.Part, s, last int32) {
	send := &j.v.Sends[s]
	a := checker.Anomaly{
		Class: checker.LostWrite, Part: p.ID, Values: []int64{send.Value},
		Witnesses: []int64{send.Invoke, send.Done, p.Truth.Done},
	}
	if send.Offset != histories.Unset {
		a.Offsets = []int64{send.Offset}
	}
	var b strings.Builder
	b.WriteString(acknowledged(send))
	since := send.Return
	if last > 0 {
		r := &j.v.Reads[last-1]
		a.Witnesses = append(a.Witnesses, r.Invoke, r.Done)
		since = max(since, r.Return)
		fmt.Fprintf(&b, ", was last read by process %d from %s at %s,", r.Proc, orSystem(r.Node), logview.Seconds(r.Return))
	} else {
		b.WriteByte(',')
	}
	fmt.Fprintf(&b, " and is absent from %s", p.Truth.Source)
	if held := j.held(p)[s]; len(held) > 0 {
		fmt.Fprintf(&b, ", though it is still in the log of %s", strings.Join(held, " and "))
	}
	a.Explanation = b.String() + j.faults(&a, since, p.Truth.At)
	j.set.Add(a)
}

// faults names the faults that were on within [since, until], and makes their injections witnesses of a.
func (j *judge) faults(a *checker.Anomaly, since, until int64) string {
	var b strings.Builder
	faults := j.v.Between(since, until)
	for i := range faults {
		if i == maxFaults {
			fmt.Fprintf(&b, " and %d more", len(faults)-i)
			break
		}
		if i == 0 {
			b.WriteString("; faults between: ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(faults[i].String())
		a.Witnesses = append(a.Witnesses, faults[i].Inject)
	}
	if len(faults) == 0 {
		b.WriteString("; no fault between")
	}
	return b.String()
}

// acknowledged says what a client was promised.
func acknowledged(s *logview.Send) string {
	where := fmt.Sprintf("in partition %d", s.Part)
	if s.Offset != histories.Unset {
		where = fmt.Sprintf("at offset %d of partition %d", s.Offset, s.Part)
	}
	return fmt.Sprintf("message %d was acknowledged %s at %s by %s to process %d", s.Value, where, logview.Seconds(s.Return), orSystem(s.Node), s.Proc)
}
