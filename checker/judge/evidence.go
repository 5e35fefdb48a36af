package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// minAcked is the least share of the ops that must have been acknowledged, ok or weak, for a run to
// say something.
const minAcked = 0.01

// evidence is what a history offers to be judged by.
type evidence struct {
	view    *logview.View
	ops     histories.OpCounts // of the load
	invoked int64              // of the load
	must    []string           // functions of which some op must have succeeded
	by      map[string]*histories.OpCounts
	acked   map[int32]int64 // partition -> sends that were acknowledged, where the ends matter
	sends   bool            // there were any sends, and the ends matter
}

// collect reads the evidence from a history.
func collect(view *logview.View, h histories.Reader, want Evidence) evidence {
	ev := evidence{view: view, must: want.Acknowledged, by: make(map[string]*histories.OpCounts), acked: make(map[int32]int64)}
	for _, f := range want.Acknowledged {
		ev.by[f] = &histories.OpCounts{}
	}
	load := func(f string) bool { return slices.Contains(want.Load, f) }
	if want.Load == nil {
		load = func(f string) bool { return f != histories.Final && f != histories.Scan }
	}
	over := view.Events.LoadOver()
	for inv, done := range histories.Pairs(h) {
		t := histories.Info
		if done != nil {
			t = done.Type
		}
		if c := ev.by[inv.F]; c != nil {
			c.Count(t)
		}
		if inv.F == histories.Send && !want.NoEnds {
			ev.sends = true
			if t == histories.OK || t == histories.Weak {
				ev.acked[inv.Part]++
			}
		}
		if load(inv.F) && inv.Index < over {
			ev.invoked++
			ev.ops.Count(t)
		}
	}
	return ev
}

// unwell is why the recovery was not reached; empty if it was, or if nobody noted.
func (ev *evidence) unwell() string {
	if n := ev.view.Events.Recovery(); n != nil {
		return n.Err
	}
	return ""
}

// missing returns the partitions with acknowledged messages whose end is not known: neither a final
// read nor the scan of the leader got there. After an interruption there are none by design.
func (ev *evidence) missing(interrupted bool) []string {
	var ids []int32
	for _, p := range ev.view.Parts {
		if ev.acked[p.ID] > 0 && !p.Truth.Known {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) == 0 || interrupted {
		return nil
	}
	return []string{fmt.Sprintf("no final read of partition %s", list(ids))}
}

// emptiness returns why a run without anomalies proves nothing.
func (ev *evidence) emptiness(in *Input, interrupted bool) []string {
	reasons := ev.idle()
	var scanned []int32
	for _, p := range ev.view.Parts {
		if ev.acked[p.ID] > 0 && p.Truth.Known && !p.Truth.Client {
			scanned = append(scanned, p.ID)
		}
	}
	if len(scanned) > 0 {
		reasons = append(reasons, fmt.Sprintf("no final read by a client of partition %s, only the scan of its leader", list(scanned)))
	}
	if !interrupted && !in.NoScans {
		reasons = append(reasons, ev.unscanned(in.Promise.Groups)...)
	}
	return append(reasons, idleFaults(ev.view.Events.Strikes, in.Faults)...)
}

// idle says that nothing was tried, or nearly nothing acknowledged.
func (ev *evidence) idle() []string {
	if ev.invoked == 0 {
		return []string{"idle: no operation was invoked"}
	}
	if ev.must == nil {
		return tooFew("operation", &ev.ops)
	}
	var reasons []string
	for _, f := range ev.must {
		reasons = append(reasons, tooFew(f, ev.by[f])...)
	}
	return reasons
}

// tooFew says that too few ops of a kind were acknowledged to prove anything.
func tooFew(kind string, c *histories.OpCounts) []string {
	switch {
	case c.OK == 0:
		return []string{fmt.Sprintf("no %s was acknowledged", kind)}
	case float64(c.OK+c.Weak) < minAcked*float64(c.Total()):
		return []string{fmt.Sprintf("only %d of %d %ss were acknowledged", c.OK+c.Weak, c.Total(), kind)}
	}
	return nil
}

// unscanned says which replicas of partitions with acknowledged messages were not scanned to their
// end: whether those hold what they should is not known. Where the configuration has more groups
// than were noted, it is not even known who has a replica.
func (ev *evidence) unscanned(groups int) []string {
	if !ev.sends {
		return nil // of a workload that sends nothing, nobody asks for scans
	}
	noted := ev.view.Events.Groups()
	var reasons []string
	for g := range groups {
		if len(noted[g]) == 0 {
			reasons = append(reasons, fmt.Sprintf("no note says which nodes are group %d, so nobody knows whether each was scanned", g))
		}
	}
	if len(reasons) > 0 {
		return reasons
	}
	missing := make(map[string][]int32)
	for _, p := range ev.view.Parts {
		if ev.acked[p.ID] == 0 {
			continue
		}
		for _, n := range noted[histories.GroupOf(p.ID, len(noted))] {
			if c, ok := p.ScanOf(n); !ok || !c.Complete {
				missing[n] = append(missing[n], p.ID)
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(missing)) {
		reasons = append(reasons, fmt.Sprintf("no complete scan of partition %s on %s", list(missing[n]), n))
	}
	return reasons
}

// idleFaults returns the faults none of whose strikes had an effect.
func idleFaults(strikes []histories.Strike, planned []string) []string {
	names := slices.Clone(planned)
	effect, why := make(map[string]bool), make(map[string]string)
	for i := range strikes {
		spec := strikes[i].Fault
		if planned == nil && !slices.Contains(names, spec) {
			names = append(names, spec)
		}
		effect[spec] = effect[spec] || strikes[i].Effect != ""
		if strikes[i].Err != "" {
			why[spec] = strikes[i].Err
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
