// Package delivery judges what became of every message: lost-write, unseen, duplicate, phantom, aborted-read and
// inconsistent-offsets, and it accounts for weak acknowledgements. Order and timing are other checkers' business.
//
// The definitions are in docs/anomalies.md; they follow jepsen.tests.kafka, except that this project reads every partition and every
// replica to its end after the faults, so that lost and unseen are decided by that and not by what some later poll skipped.
package delivery

import (
	"context"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/finding"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// Checker judges delivery. It runs in time linear in the messages sent and read.
//
// Figures: the number of anomalies of each class found; ok_sends, weak_sends, info_sends and fail_sends, in messages; weak_lost and
// info_lost, those of them that a known final truth does not hold, which is nobody's broken promise.
type Checker struct{}

var (
	_ checker.Checker  = (*Checker)(nil)
	_ checker.Follower = (*Checker)(nil)
)

// New returns the checker.
func New() *Checker { return &Checker{} }

// Name implements checker.Checker.
func (*Checker) Name() string { return "delivery" }

// FollowsLoss implements checker.Follower: another message takes
// its offset.
func (*Checker) FollowsLoss() []checker.Class {
	return []checker.Class{checker.InconsistentOffsets}
}

// Check implements checker.Checker. It is Unknown without an acknowledged message, or when a partition with acknowledged
// messages has neither a complete final read nor a complete scan of its leader.
func (*Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	v, err := logview.BuildSound(ctx, h)
	if err != nil {
		return finding.Unknown(err.Error())
	}
	j := &judge{v: v}
	j.account()
	for _, step := range []func(){j.reads, j.phantoms, j.offsets, j.duplicates, j.lost} {
		if ctx.Err() != nil {
			j.set.Undecided("out of time")
			break
		}
		step()
	}
	return j.set.Result()
}

// judge is one check.
type judge struct {
	v   *logview.View
	set finding.Set

	// seen is by index of Send; moved are the sends seen at more than one place, with all their places.
	seen  []sighting
	moved map[int32][]sighting
	// strays are values read that no send of the partition wrote.
	strays map[stray]sighting
	// holders are, by partition and index of Send, the replicas that hold what the truth lacks; see held.
	holders map[int32]map[int32][]string
}

// sighting is one place where a message was read. The zero sighting is none.
type sighting struct {
	offset int64
	read   int32 // index into View.Reads, + 1
	part   int32
}

func (s sighting) same(o sighting) bool { return s.offset == o.offset && s.part == o.part }

// stray is a value read from a partition that it was not sent to.
type stray struct {
	part  int32
	value int64
}

// account counts the sends by their outcome, and says what cannot be judged.
func (j *judge) account() {
	ok := j.v.Count(histories.OK)
	j.set.Figure("ok_sends", float64(ok))
	j.set.Figure("weak_sends", float64(j.v.Count(histories.Weak)))
	j.set.Figure("info_sends", float64(j.v.Count(histories.Info)))
	j.set.Figure("fail_sends", float64(j.v.Count(histories.Fail)))
	if ok == 0 {
		j.set.Undecided("no message was acknowledged")
	}
}

// reads notes where every message was read. Scans of replicas count for phantoms and aborted reads, which no replica may hold;
// where a message is, only committed reads and the leader's scan say.
func (j *judge) reads() {
	j.seen = make([]sighting, len(j.v.Sends))
	j.moved = make(map[int32][]sighting)
	j.strays = make(map[stray]sighting)
	for i := range j.v.Reads {
		r := &j.v.Reads[i]
		committed := r.F != histories.Scan || r.Node == j.v.Part(r.Part).Leader
		for _, m := range r.Msgs {
			at := sighting{offset: m.Offset, read: int32(i) + 1, part: r.Part}
			s := j.v.SendOf(m.Value)
			if s < 0 || j.v.Sends[s].Part != r.Part {
				k := stray{r.Part, m.Value}
				if _, ok := j.strays[k]; !ok {
					j.strays[k] = at
				}
			}
			if s >= 0 && committed {
				j.sight(s, at)
			} else if s >= 0 && j.v.Sends[s].Type == histories.Fail && j.seen[s].read == 0 {
				j.seen[s] = at // the only use of it is that it was seen at all
			}
		}
	}
}

// sight notes that the s-th send was read.
func (j *judge) sight(s int32, at sighting) {
	first := j.seen[s]
	if first.read == 0 {
		j.seen[s] = at
		return
	}
	if first.same(at) {
		return
	}
	all := j.moved[s]
	if all == nil {
		all = []sighting{first}
	}
	for _, o := range all {
		if o.same(at) {
			return
		}
	}
	j.moved[s] = append(all, at)
}

// readOf returns the read of a sighting.
func (j *judge) readOf(s sighting) *logview.Read { return &j.v.Reads[s.read-1] }
