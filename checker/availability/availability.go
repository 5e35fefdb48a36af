// Package availability judges whether the system came back: stall. A safety checker is content with
// a system that refuses everything; this one is not. What happens while a fault is on is measured
// and not judged.
//
// The definition is in docs/anomalies.md.
package availability

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/finding"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// minAttempts is how many sends a partition must have refused or left open in a row before it
// counts as stalled.
const minAttempts = 10

// noPart is the partition of a stall of the whole cluster.
const noPart = -1

// Config says how long a system may take.
type Config struct {
	// Budget is how long after the last heal a partition may be without an acknowledgement, and how
	// long it may pause after that.
	Budget time.Duration
}

// Checker judges availability.
//
// Figures: the number of stalls; longest_gap_ms: the longest time without an acknowledgement of any
// partition, ok or weak; and longest_quiet_gap_ms: the same within the time that no fault was on.
type Checker struct{ cfg Config }

var _ checker.Checker = (*Checker)(nil)

// New returns the checker.
func New(cfg Config) *Checker { return &Checker{cfg: cfg} }

// Name implements checker.Checker.
func (*Checker) Name() string { return "availability" }

// Check implements checker.Checker. It is Unknown when no send was tried at a time without faults
// and the harness noted no recovery.
func (c *Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	v, err := logview.Build(ctx, h)
	if err != nil {
		return finding.Unknown(err.Error())
	}
	j := &judge{v: v, budget: int64(c.cfg.Budget)}
	recovery := j.recovery()
	quiet := j.windows()
	tried := false
	var all []int64
	for _, p := range v.Parts {
		acks := j.acks(p)
		all = append(all, acks...)
		calls := j.calls(p)
		for _, w := range quiet {
			tried = j.part(p, w, acks, calls) || tried
		}
	}
	slices.Sort(all)
	longest, longestQuiet := longestGap(all, span{0, v.LoadEnd}), int64(0)
	for _, w := range quiet {
		longestQuiet = max(longestQuiet, longestGap(all, w))
	}
	if len(v.Sends) == 0 {
		j.set.Undecided("no send was tried")
	} else if !tried && !recovery {
		j.set.Undecided("no send was tried while no fault was on, and no recovery was noted")
	}
	j.set.Figure("longest_gap_ms", float64(longest)/1e6)
	j.set.Figure("longest_quiet_gap_ms", float64(longestQuiet)/1e6)
	return j.set.Result()
}

// span is a time from..to, ns.
type span struct{ from, to int64 }

// judge is one check.
type judge struct {
	v      *logview.View
	budget int64
	set    finding.Set
}

// recovery reports what the harness noted about the recovery at the end, and whether it noted
// anything.
func (j *judge) recovery() bool {
	noted := false
	for i := range j.v.Events.Notes {
		n := &j.v.Events.Notes[i]
		if n.Note != histories.NoteRecovery {
			continue
		}
		noted = true
		if n.Err == "" || !j.set.Count(checker.Stall, noPart) {
			continue
		}
		j.set.Add(checker.Anomaly{
			Class: checker.Stall, Part: noPart, Witnesses: []int64{n.Index},
			Explanation: fmt.Sprintf("after all faults were healed the cluster was not well again in time, at %s: %s", logview.Seconds(n.Time), n.Err),
		})
	}
	return noted
}

// windows returns the times within the load at which no fault was on.
func (j *judge) windows() []span {
	var quiet []span
	at := int64(0)
	for _, f := range j.v.Strikes { // in order of injection
		if f.From > at {
			quiet = append(quiet, span{at, min(f.From, j.v.LoadEnd)})
		}
		at = max(at, f.To)
	}
	quiet = append(quiet, span{at, j.v.LoadEnd})
	return slices.DeleteFunc(quiet, func(w span) bool { return w.from > w.to })
}

// acks returns the times of a partition's acknowledgements, in order.
func (j *judge) acks(p *logview.Part) []int64 {
	var at []int64
	for _, s := range p.Sends {
		if t := j.v.Sends[s].Type; t == histories.OK || t == histories.Weak {
			at = append(at, j.v.Sends[s].Return)
		}
	}
	slices.Sort(at)
	return at
}

// calls returns a partition's sends in the order of their invocations.
func (j *judge) calls(p *logview.Part) []int32 {
	calls := slices.Clone(p.Sends)
	slices.SortFunc(calls, func(a, b int32) int { return cmp.Compare(j.v.Sends[a].Invoke, j.v.Sends[b].Invoke) })
	return calls
}

// longestGap returns the longest time within w without any of the events at.
func longestGap(at []int64, w span) int64 {
	longest, last := int64(0), w.from
	for _, t := range at {
		if t < w.from || t > w.to {
			continue
		}
		longest, last = max(longest, t-last), t
	}
	return max(longest, w.to-last)
}

// part judges one partition within one window, and reports whether a send was tried there.
func (j *judge) part(p *logview.Part, w span, acks []int64, calls []int32) bool {
	last := w.from
	if last > 0 {
		last += j.budget // the system may need that long to come back after the heal
	}
	for _, t := range acks {
		if t <= last || t > w.to {
			continue
		}
		j.silence(p, span{last, t}, calls)
		last = t
	}
	j.silence(p, span{last, w.to}, calls)
	return len(j.within(calls, w)) > 0
}

// within returns the sends that were invoked within w.
func (j *judge) within(calls []int32, w span) []int32 {
	byCall := func(s int32, t int64) int { return cmp.Compare(j.v.Sends[s].Call, t) }
	from, _ := slices.BinarySearchFunc(calls, w.from, byCall)
	end, _ := slices.BinarySearchFunc(calls, w.to+1, byCall)
	return calls[from:max(from, end)]
}

// silence reports that p acknowledged nothing within w, if that is too long and enough was tried.
func (j *judge) silence(p *logview.Part, w span, calls []int32) {
	if w.to-w.from <= j.budget {
		return
	}
	// The sends whose acknowledgement ends the silence were tried within it, but not in vain.
	tried := slices.DeleteFunc(slices.Clone(j.within(calls, w)), func(s int32) bool {
		send := &j.v.Sends[s]
		return (send.Type == histories.OK || send.Type == histories.Weak) && send.Return == w.to
	})
	if len(tried) < minAttempts || !j.set.Count(checker.Stall, p.ID) {
		return
	}
	first, last := &j.v.Sends[tried[0]], &j.v.Sends[tried[len(tried)-1]]
	j.set.Add(checker.Anomaly{
		Class: checker.Stall, Part: p.ID, Witnesses: []int64{first.Invoke, first.Done, last.Invoke, last.Done},
		Explanation: fmt.Sprintf("partition %d acknowledged nothing from %s to %s, though %d sends were tried and no fault was on",
			p.ID, logview.Seconds(w.from), logview.Seconds(w.to), len(tried)),
	})
}
