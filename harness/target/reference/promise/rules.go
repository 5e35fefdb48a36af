package promise

import (
	"slices"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/histories"
)

// conditions are a configuration and what happened to it.
type conditions struct {
	*Config
	*contract.Facts
}

// Rule says that some classes of anomalies are not promised to be prevented under some conditions.
// The conditions are code, so that they can look at events; When says them in words.
type Rule struct {
	Rows    string // rows of the verification matrix
	When    string
	Reason  string
	Permits []checker.Class

	// spans are where and when the conditions held; none: they did not.
	spans func(c *conditions) []contract.Span
}

// Rules returns the rules of the mode master-slave.
//
// The model behind them: a strongly acknowledged message is on NeededCopies nodes, the leader among
// them. It is lost only if the log that is served in the end comes from a node that never had it,
// or no longer has it: the leader itself went on with a damaged log, a promote was not safe, or a
// safe promote relied on what a damaged disk had confirmed. Kill, restart, pause, partition, slow
// and loss destroy nothing and promote nobody, so no rule names them.
func Rules() []Rule {
	events := slices.Concat(powerRules(), copyRules(), otherRules())
	return append(events, retryRule(events))
}

// retryRule is about a retry that follows a loss. It holds wherever one of the rules permits that
// what was shown is gone.
func retryRule(events []Rule) Rule {
	return Rule{
		Rows: "VMS-04, VMS-14", When: "the producer retries, and the leader lost, or another one never had, what was shown (the cases of `lost-write` and `rolled-back-read` above)",
		Reason:  "the retry finds its first attempt no longer in the log, and stores the message again, elsewhere than where a reader had seen it",
		Permits: []checker.Class{checker.Duplicate}, spans: func(c *conditions) (all []contract.Span) {
			if c.Retries == 0 {
				return nil
			}
			for _, r := range events {
				if slices.Contains(r.Permits, checker.LostWrite) || slices.Contains(r.Permits, checker.RolledBackRead) {
					all = append(all, r.spans(c)...)
				}
			}
			return all
		},
	}
}

// powerRules are about a leader that returns from a power loss with less than it had.
func powerRules() []Rule {
	return []Rule{
		{
			Rows: "VMS-02, VMS-08, VMS-09", When: "power loss of a leader, and a strong acknowledgement does not wait for the leader's flush",
			Reason:  "the leader returned from a power loss without its unflushed tail and went on as leader; a copy elsewhere helps only if it is promoted",
			Permits: []checker.Class{checker.LostWrite}, spans: func(c *conditions) []contract.Span {
				return c.DamageSpans(func(d *contract.Damage) bool { return d.Harm == histories.HarmUnsynced && d.Led && c.tears(true) })
			},
		},
		{
			Rows: "VMS-02, VMS-08, VMS-24", When: "power loss of a leader that ships frames before it has flushed them (flush=async or leader)",
			Reason:  "a follower may have more than the leader that returned; within one epoch it is refused until a promote, never overwritten",
			Permits: []checker.Class{checker.ReplicaDivergence}, spans: func(c *conditions) []contract.Span {
				return c.DamageSpans(func(d *contract.Damage) bool { return c.Flush != Sync && d.Harm == histories.HarmUnsynced && d.Led })
			},
		},
		{
			Rows: "VMS-24", When: "as before, with copies that only a refused follower could make up",
			Reason:  "replication to a refused follower stops until a promote: weak acknowledgements only, and a restarted leader that cannot confirm its log to enough copies serves no reads",
			Permits: []checker.Class{checker.Unseen}, spans: func(c *conditions) []contract.Span {
				return c.DamageSpans(func(d *contract.Damage) bool {
					return c.Flush != Sync && c.NeededCopies() > 1 && d.Harm == histories.HarmUnsynced && d.Led
				})
			},
		},
		{
			Rows: "VMS-24", When: "the same power loss, and a promote",
			Reason:  "nodes that wrote different histories in one epoch have no greatest: a promote is refused, and nobody leads, until somebody forces one",
			Permits: []checker.Class{checker.Stall}, spans: func(c *conditions) []contract.Span {
				return c.DamageSpans(func(d *contract.Damage) bool {
					return c.Flush != Sync && d.Harm == histories.HarmUnsynced && d.Led && c.Operated
				})
			},
		},
	}
}

// copyRules are about messages that no node has that is left.
func copyRules() []Rule {
	loss := []checker.Class{checker.LostWrite}
	return []Rule{
		{
			Rows: "VMS-04, VMS-07, VMS-13", When: "a promote that was not safe",
			Reason:  "an operator forced a promote that may leave acknowledged messages behind",
			Permits: loss, spans: func(c *conditions) []contract.Span {
				return c.PromoteSpans(func(p *contract.Promotion) bool { return !p.Safe })
			},
		},
		{
			Rows: "VMS-04, VMS-09, VMS-11", When: "the leader and enough followers lost confirmed data before either had caught up: all copies of a message",
			Reason:  "every copy that an acknowledgement counted was damaged before another node had caught up",
			Permits: loss, spans: func(c *conditions) []contract.Span { return c.DamageSpans(c.allCopiesDamaged) },
		},
		{
			Rows: "VMS-13", When: "a promote that moved the leadership, and acks=1",
			Reason:  "acks=1 waits for the leader's append only, so a promote is safe for acks=all at best",
			Permits: loss, spans: func(c *conditions) []contract.Span {
				return c.PromoteSpans(func(p *contract.Promotion) bool { return c.Acks != "all" && p.Moved })
			},
		},
	}
}

// otherRules are about broken disks, and what a client asked for.
func otherRules() []Rule {
	return []Rule{
		{
			Rows: "VMS-02", When: "a bit flip in the log of a leader",
			Reason:  "a flipped bit in the last flush group cannot be told from a torn write, so a restart truncates it; elsewhere the node refuses to serve",
			Permits: []checker.Class{checker.LostWrite, checker.ReplicaDivergence},
			spans: func(c *conditions) []contract.Span {
				return c.DamageSpans(func(d *contract.Damage) bool { return d.Harm == histories.HarmBits && d.Led })
			},
		},
		{
			Rows: "VMS-23", When: "a failed fsync, a full disk or a flipped bit",
			Reason:  "a node whose disk has failed stops its writes for good, without retry or pretence",
			Permits: []checker.Class{checker.Stall}, spans: func(c *conditions) []contract.Span {
				return c.DamageSpans(func(d *contract.Damage) bool { return d.Harm == histories.HarmWrites || d.Harm == histories.HarmBits })
			},
		},
		{
			Rows: "VMS-04, VMS-14", When: "visible=appended, and the leader lost its tail or another node was promoted",
			Reason:  "visible=appended shows consumers messages that are on the leader alone",
			Permits: []checker.Class{checker.RolledBackRead}, spans: func(c *conditions) []contract.Span {
				if c.Visible != Appended {
					return nil
				}
				lost := c.DamageSpans(func(d *contract.Damage) bool { return d.Led && c.unshows(d) })
				return append(lost, c.PromoteSpans(func(p *contract.Promotion) bool { return p.Moved || !p.Safe })...)
			},
		},
		{
			Rows: "VMS-01, VMS-15", When: "the producer retries without idempotence",
			Reason:  "a retry after an answer that was lost is stored again, possibly behind later messages",
			Permits: []checker.Class{checker.Duplicate, checker.NonmonotonicSend}, spans: func(c *conditions) []contract.Span {
				if c.Retries == 0 || c.Idempotence {
					return nil
				}
				return contract.Always()
			},
		},
	}
}

// destroys reports whether d may have taken what the node had confirmed by the time of a strong
// acknowledgement.
func (c *conditions) destroys(d *contract.Damage) bool {
	switch d.Harm {
	case histories.HarmDisk, histories.HarmBits:
		return true
	case histories.HarmUnsynced:
		return c.tears(d.Led)
	}
	return false
}

// unshows reports whether d may have taken what a leader with visible=appended showed: its flushed
// log with flush=sync and flush=leader, its whole log otherwise.
func (c *conditions) unshows(d *contract.Damage) bool {
	return d.Harm == histories.HarmDisk || d.Harm == histories.HarmBits || d.Harm == histories.HarmUnsynced && c.Flush == Async
}

// allCopiesDamaged reports whether led is the damage of a leader and at least NeededCopies-1 other
// nodes of its group were damaged at overlapping times, each from the strike until it had caught
// up.
func (c *conditions) allCopiesDamaged(led *contract.Damage) bool {
	return led.Led && c.destroys(led) && c.damagedBeside(led)+1 >= c.NeededCopies()
}

// damagedBeside counts the other nodes of a leader's group that had not caught up from a damage
// when the leader was struck, or were damaged before it had caught up.
func (c *conditions) damagedBeside(led *contract.Damage) int {
	nodes := make(map[string]bool)
	for i := range c.Damages {
		d := &c.Damages[i]
		if d.Node != led.Node && sameGroup(d, led) && c.destroys(d) && d.From <= led.Until && d.Until >= led.From {
			nodes[d.Node] = true
		}
	}
	return len(nodes)
}

// sameGroup reports whether two damages may be of one group.
func sameGroup(a, b *contract.Damage) bool {
	return a.Group == b.Group || a.Group == contract.AnyGroup || b.Group == contract.AnyGroup
}
