// Package order judges the order of messages: nonmonotonic-send, nonmonotonic-poll and poll-skip. Whether messages are there at all
// is delivery's business. The definitions are in docs/anomalies.md; they follow jepsen.tests.kafka.
package order

import (
	"context"
	"fmt"
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/finding"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// maxSkipped is how many skipped messages one anomaly lists.
const maxSkipped = 100

// Checker judges order. It runs in time linear in the messages sent and read.
//
// Figures: the number of anomalies of each class found, and hw_regressions: how often one process saw the committed offset of a partition
// go backwards, which is staleness and no anomaly where a configuration promises no fresh reads.
type Checker struct{}

var (
	_ checker.Checker  = (*Checker)(nil)
	_ checker.Follower = (*Checker)(nil)
)

// New returns the checker.
func New() *Checker { return &Checker{} }

// Name implements checker.Checker.
func (*Checker) Name() string { return "order" }

// FollowsLoss implements checker.Follower: a reader goes on in a
// log whose tail is another one.
func (*Checker) FollowsLoss() []checker.Class {
	return []checker.Class{checker.NonmonotonicPoll, checker.PollSkip}
}

// Check implements checker.Checker. It is Unknown without an acknowledged message, and without any answered read.
func (*Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	v, err := logview.BuildSound(ctx, h)
	if err != nil {
		return finding.Unknown(err.Error())
	}
	j := &judge{v: v}
	if v.Count(histories.OK) == 0 {
		j.set.Undecided("no message was acknowledged")
	}
	if !slices.ContainsFunc(v.Parts, func(p *logview.Part) bool { return len(p.Reads) > 0 }) {
		j.set.Undecided("no read was answered")
	}
	for _, p := range v.Parts {
		if ctx.Err() != nil {
			j.set.Undecided("out of time")
			break
		}
		j.sends(p)
		j.reads(p)
	}
	j.set.Figure("hw_regressions", float64(j.regressions))
	return j.set.Result()
}

// judge is one check.
type judge struct {
	v           *logview.View
	set         finding.Set
	regressions int
}

// sends reports acknowledged messages whose offset is not above that of the message that the same process sent before. A message that is lost
// is left out: that it is not where it was is the loss, and whatever takes its offset is in order.
func (j *judge) sends(p *logview.Part) {
	last := make(map[int]int32) // process -> its latest send that counts
	for _, s := range p.Sends {
		send := &j.v.Sends[s]
		if send.Type != histories.OK || send.Offset == histories.Unset || j.v.Lost(s) {
			continue
		}
		before, ok := last[send.Proc]
		last[send.Proc] = s
		if !ok || send.Offset > j.v.Sends[before].Offset {
			continue
		}
		if !j.set.Count(checker.NonmonotonicSend, p.ID) {
			continue
		}
		prev := &j.v.Sends[before]
		then := "then"
		if prev.Done == send.Done {
			then = "and after it in the same batch"
		}
		j.set.Add(checker.Anomaly{
			Class: checker.NonmonotonicSend, Part: p.ID, Values: []int64{prev.Value, send.Value}, Offsets: []int64{prev.Offset, send.Offset},
			Witnesses: []int64{prev.Invoke, prev.Done, send.Invoke, send.Done},
			Explanation: fmt.Sprintf("process %d sent message %d, acknowledged at offset %d of partition %d, %s message %d, acknowledged at offset %d",
				send.Proc, prev.Value, prev.Offset, p.ID, then, send.Value, send.Offset),
		})
	}
}

// reads judges each poll and final read of p against itself and against what is known of the partition.
func (j *judge) reads(p *logview.Part) {
	known := j.known(p)
	hw := make(map[int]int64)
	for _, i := range p.Reads {
		r := &j.v.Reads[i]
		if last, ok := hw[r.Proc]; ok && r.HW != histories.Unset && r.HW < last {
			j.regressions++
		}
		if r.HW != histories.Unset {
			hw[r.Proc] = r.HW
		}
		at := r.From // the first offset not accounted for
		for k, m := range r.Msgs {
			if m.Offset < at {
				j.backwards(r, k)
				break
			}
			if m.Offset > at {
				j.gap(r, &known, at, m.Offset)
			}
			at = m.Offset + 1
		}
	}
}

// backwards reports that the k-th message of r is below the one before it, or below what r asked for.
func (j *judge) backwards(r *logview.Read, k int) {
	if !j.set.Count(checker.NonmonotonicPoll, r.Part) {
		return
	}
	m := r.Msgs[k]
	a := checker.Anomaly{
		Class: checker.NonmonotonicPoll, Part: r.Part, Values: []int64{m.Value}, Offsets: []int64{m.Offset},
		Witnesses: []int64{r.Invoke, r.Done},
	}
	if k == 0 {
		a.Explanation = fmt.Sprintf("process %d asked partition %d for offset %d and up, and got message %d at offset %d",
			r.Proc, r.Part, r.From, m.Value, m.Offset)
	} else {
		prev := r.Msgs[k-1]
		a.Values, a.Offsets = []int64{prev.Value, m.Value}, []int64{prev.Offset, m.Offset}
		a.Explanation = fmt.Sprintf("process %d read partition %d from offset %d, and got message %d at offset %d before message %d at offset %d",
			r.Proc, r.Part, r.From, prev.Value, prev.Offset, m.Value, m.Offset)
	}
	j.set.Add(a)
}

// holder is who says that a value is at an offset: the index of an op, + 1. The zero holder is nobody.
type holder struct {
	value int64
	op    int64
}

// offsets are the offsets of a partition that certainly hold a message.
type offsets struct {
	held   logview.Grid[holder]
	sorted []int64 // the same offsets, in order; built when first needed
}

// known collects what acknowledgements and committed reads say of p.
func (j *judge) known(p *logview.Part) (o offsets) {
	for _, s := range p.Sends {
		if send := &j.v.Sends[s]; send.Type == histories.OK && send.Offset != histories.Unset {
			if h := o.held.At(send.Offset); h.op == 0 {
				*h = holder{send.Value, send.Done + 1}
			}
		}
	}
	for _, i := range p.Reads {
		r := &j.v.Reads[i]
		for _, m := range r.Msgs {
			if h := o.held.At(m.Offset); h.op == 0 {
				*h = holder{m.Value, r.Done + 1}
			}
		}
	}
	return o
}

// gap reports the messages that r jumped over in [from, to). An offset that nobody knows a message at may be empty: Kafka's logs
// have such gaps.
func (j *judge) gap(r *logview.Read, known *offsets, from, to int64) {
	if known.sorted == nil {
		known.sorted = []int64{}
		known.held.Keys(func(k int64, h *holder) {
			if h.op != 0 {
				known.sorted = append(known.sorted, k)
			}
		})
		slices.Sort(known.sorted)
	}
	first, _ := slices.BinarySearch(known.sorted, from)
	end, _ := slices.BinarySearch(known.sorted, to)
	if first == end || !j.set.Count(checker.PollSkip, r.Part) {
		return
	}
	a := checker.Anomaly{Class: checker.PollSkip, Part: r.Part, Witnesses: []int64{r.Invoke, r.Done}}
	for _, k := range known.sorted[first:min(end, first+maxSkipped)] {
		h := known.held.Get(k)
		a.Values, a.Offsets = append(a.Values, h.value), append(a.Offsets, k)
		if len(a.Witnesses) < 8 {
			a.Witnesses = append(a.Witnesses, h.op-1)
		}
	}
	a.Explanation = fmt.Sprintf("process %d read partition %d from offset %d at %s and got offset %d without message %d at offset %d, which op %d knows of",
		r.Proc, r.Part, r.From, logview.Seconds(r.Return), to, a.Values[0], a.Offsets[0], known.held.Get(a.Offsets[0]).op-1)
	if n := end - first - 1; n > 0 {
		a.Explanation += fmt.Sprintf(", and without %d more", n)
	}
	j.set.Add(a)
}
