// Package replicas judges what the replicas hold in the end, and what readers saw before: rolled-back-read, replica-divergence and
// weak-ack-lie. It needs the scans of the replicas that the harness makes after the faults.
//
// The definitions are in docs/anomalies.md.
package replicas

import (
	"context"
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/finding"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// Config says what the configuration under test promises.
type Config struct {
	// Copies is on how many replicas, the leader included, an acknowledged message is. 0 and 1 promise no copy beyond the
	// leader's, so that weak-ack-lie is not judged.
	Copies int
}

// Checker judges replicas. It runs in time linear in the messages sent, read and held.
//
// Figures: the number of anomalies of each class found; replicas_behind: replicas whose log ends before the leader's; replicas_scanned;
// and under_copied: acknowledged messages on fewer than Copies replicas, where faults that destroy data excuse it.
type Checker struct{ cfg Config }

var (
	_ checker.Checker  = (*Checker)(nil)
	_ checker.Follower = (*Checker)(nil)
)

// New returns the checker.
func New(cfg Config) *Checker { return &Checker{cfg: cfg} }

// Name implements checker.Checker.
func (*Checker) Name() string { return "replicas" }

// FollowsLoss implements checker.Follower: who had read it has
// read what is no longer there.
func (*Checker) FollowsLoss() []checker.Class {
	return []checker.Class{checker.RolledBackRead, checker.ReplicaDivergence}
}

// Check implements checker.Checker. It is Unknown without an acknowledged message, or when a partition with messages has neither
// a final truth nor two complete scans.
func (c *Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	v, err := logview.BuildSound(ctx, h)
	if err != nil {
		return finding.Unknown(err.Error())
	}
	j := &judge{v: v, cfg: c.cfg}
	if v.Count(histories.OK) == 0 {
		j.set.Undecided("no message was acknowledged")
	}
	for _, p := range v.Parts {
		if ctx.Err() != nil {
			j.set.Undecided("out of time")
			break
		}
		j.part(p)
	}
	j.set.Figure("replicas_behind", float64(j.behind))
	j.set.Figure("replicas_scanned", float64(j.scanned))
	j.set.Figure("under_copied", float64(j.underCopied))
	return j.set.Result()
}

// judge is one check.
type judge struct {
	v   *logview.View
	cfg Config
	set finding.Set

	behind, scanned, underCopied int
}

func (j *judge) part(p *logview.Part) {
	complete := 0
	for _, c := range p.Scans {
		if c.Complete {
			complete++
		}
	}
	j.scanned += complete
	if !p.Truth.Known && complete < 2 && len(p.Sends) > 0 {
		j.set.Undecided(fmt.Sprintf("partition %d has no final truth and fewer than two complete scans", p.ID))
	}
	j.rolledBack(p)
	j.divergence(p)
	j.copies(p)
}

// rolledBack reports messages that a client read and that the final truth does not hold. Values that nobody sent are phantoms, and
// not reported again.
func (j *judge) rolledBack(p *logview.Part) {
	if !p.Truth.Known {
		return
	}
	done := make(map[int32]bool)
	for _, i := range p.Reads {
		r := &j.v.Reads[i]
		for _, m := range r.Msgs {
			s := j.v.SendOf(m.Value)
			if s < 0 || j.v.Sends[s].Part != p.ID || j.v.InTruth(s) || r.Done > p.Truth.Began || done[s] {
				continue
			}
			done[s] = true
			if !j.set.Count(checker.RolledBackRead, p.ID) {
				continue
			}
			send := &j.v.Sends[s]
			j.set.Add(checker.Anomaly{
				Class: checker.RolledBackRead, Part: p.ID, Values: []int64{m.Value}, Offsets: []int64{m.Offset},
				Witnesses: []int64{send.Invoke, send.Done, r.Invoke, r.Done, p.Truth.Done},
				Explanation: fmt.Sprintf("message %d (%s) was read by process %d from %s at offset %d of partition %d at %s, and is absent from %s",
					m.Value, outcome(send), r.Proc, orSystem(r.Node), m.Offset, p.ID, logview.Seconds(r.Return), p.Truth.Source),
			})
		}
	}
}

// outcome says what the sender of a message was told.
func outcome(s *logview.Send) string {
	switch s.Type {
	case histories.OK:
		return "acknowledged"
	case histories.Weak:
		return "weakly acknowledged"
	case histories.Fail:
		return "refused"
	}
	return "its send is open"
}

func orSystem(node string) string {
	if node == "" {
		return "the system"
	}
	return node
}
