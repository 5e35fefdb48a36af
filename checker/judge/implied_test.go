package judge_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness/target/reference/promise"
	"github.com/assay-project/assay/histories"
)

// torn is a history of one partition: 10 to 14 are acknowledged at offsets 0 to 4, of which 12
// (offset 2) and up vanish with the leader's disk, along with 15, which only a read has seen at
// offset 5. Then 22 to 26 take the offsets 2 to 6.
func torn() *book {
	b := &book{}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	for i := range int64(5) {
		b.send(histories.OK, 10+i, i)
	}
	b.send(histories.Info, 15, histories.Unset)
	b.read(histories.Poll, "n1", 500, 10, 11, 12, 13, 14, 15)
	b.h[len(b.h)-1].HW = 7 // one more was there, that nobody saw
	b.nemesis(histories.Inject, "wipe:leader", "n1", "")
	b.nemesis(histories.Note, histories.NotePromote, "n2", promoteText(histories.Promote{Epoch: 2, Forced: true}))
	b.nemesis(histories.Heal, "wipe:leader", "n1", "wiped")
	b.nemesis(histories.Note, histories.NoteCaughtUp, "n1", "")
	for i := range int64(7) {
		b.send(histories.OK, 22+i, 2+i)
	}
	b.nemesis(histories.Note, histories.NoteLeader, "n2", "")
	b.read(histories.Final, "n2", 1000, 10, 11, 22, 23, 24, 25, 26, 27, 28)
	return b
}

// anomaly of a class about values and offsets of partition 0.
func anomaly(class checker.Class, values, offsets []int64) checker.Anomaly {
	return checker.Anomaly{Class: class, Values: values, Offsets: offsets, Explanation: "x"}
}

func permitted(h histories.History, cfg *promise.Config, a checker.Anomaly) bool {
	got := judged(judge.Input{History: h, Promise: cfg.Promise()}, says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{a}})
	return got.Anomalies[0].Permitted
}

func async() *promise.Config {
	c := promise.Default(promise.MasterSlave, 2)
	return &c
}

// Permitting lost-write permits what it implies, for the same messages and for no others.
func TestImpliedForTheSameMessages(t *testing.T) {
	h := torn().h
	implied := says{}.FollowsLoss()
	for _, class := range implied {
		for _, c := range []struct {
			why     string
			values  []int64
			offsets []int64
			want    bool
		}{
			{"an acknowledged message that vanished", []int64{13}, nil, true},
			{"an open one that vanished, seen by a read only", []int64{15}, []int64{5}, true},
			{"what vanished, and what took its offset", []int64{13, 23}, []int64{3}, true},
			{"offsets of vanished messages", nil, []int64{2, 4}, true},
			{"what took such offsets", []int64{23, 24}, []int64{3, 4}, true},
			{"an offset below the committed end that a read stated", []int64{26}, []int64{6}, true},
			{"messages that were never lost", []int64{10, 11}, nil, false},
			{"offsets below the loss", nil, []int64{1}, false},
			{"offsets beyond what had been there", []int64{27}, []int64{7}, false},
			{"the partition alone", nil, nil, true},
		} {
			a := anomaly(class, c.values, c.offsets)
			require.Equal(t, c.want, permitted(h, async(), a), "%s: %s", class, c.why)
			a.Part = 1
			require.False(t, permitted(h, async(), a), "%s: %s, in another partition", class, c.why)
		}
		wide := anomaly(class, nil, []int64{1, 3})
		require.False(t, permitted(h, async(), wide), "%s from below the loss", class)
		wide = anomaly(class, nil, []int64{3, 8})
		require.Equal(t, class == checker.ReplicaDivergence, permitted(h, async(), wide), "a divergence is where it begins: %s", class)
	}
	// A loss beside it excuses no message that was skipped though it is there, and no divergence
	// that began before it.
	for _, class := range []checker.Class{checker.PollSkip, checker.ReplicaDivergence} {
		require.False(t, permitted(h, async(), anomaly(class, []int64{11, 13}, []int64{1, 3})), "%s from below the loss", class)
		require.True(t, permitted(h, async(), anomaly(class, []int64{13, 14}, []int64{3, 4})), "%s within the loss", class)
		require.True(t, permitted(h, async(), anomaly(class, []int64{13, 14}, []int64{8, 9})), "%s of vanished messages elsewhere", class)
		require.Equal(t, class == checker.ReplicaDivergence, permitted(h, async(), anomaly(class, []int64{28, 13}, []int64{8, 3})), "%s beyond it", class)
	}
	for _, class := range []checker.Class{
		checker.Unseen, checker.Duplicate, checker.Phantom, checker.AbortedRead, checker.NonmonotonicSend, checker.WeakAckLie, checker.Stall,
	} {
		require.False(t, permitted(h, async(), anomaly(class, []int64{13}, []int64{3})), "%s follows from no loss", class)
	}
	require.True(t, permitted(h, async(), anomaly(checker.LostWrite, []int64{10}, nil)), "lost-write itself is permitted outright")
}

// follower is a checker whose anomalies follow from a loss.
type follower struct {
	says
	classes []checker.Class
}

func (f follower) FollowsLoss() []checker.Class { return f.classes }

// A class that nobody here knows follows from a loss if its checker says so, for the same messages
// and for no others, and not where no loss is permitted.
func TestCheckerSaysWhatFollowsFromLoss(t *testing.T) {
	const own checker.Class = "end-regress"
	permits := func(p contract.Promise, a checker.Anomaly, follows ...checker.Class) bool {
		c := follower{says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{a}}, follows}
		return judged(judge.Input{History: torn().h, Promise: p}, fine, c).Anomalies[0].Permitted
	}
	lost := anomaly(own, []int64{13}, []int64{3})
	require.True(t, permits(async().Promise(), lost, "other", own))
	require.True(t, permits(async().Promise(), anomaly(own, nil, []int64{6}), own), "a place that a read stated")
	require.False(t, permits(async().Promise(), lost), "nobody says so")
	require.False(t, permits(async().Promise(), lost, "other"), "nobody says so of this class")
	require.False(t, permits(async().Promise(), anomaly(own, []int64{11}, []int64{1}), own), "a message that is there")
	require.False(t, permits(contract.Promise{}, lost, own), "no loss is permitted")
}

// An event excuses nothing that was complete before it, that it cannot have lost, or that happened
// to another group.
func TestOnlyWhatItMayHaveCaused(t *testing.T) {
	h := torn().h
	healed := slices.IndexFunc(h, func(op histories.Op) bool { return op.F == histories.Heal })
	for i := healed + 2; i < len(h); i++ { // much later: whoever led before has heard of the promote
		h[i].Time += 10e9
	}
	last := int64(len(h) - 1)
	rolled := anomaly(checker.RolledBackRead, []int64{13}, []int64{3})
	rolled.Witnesses = []int64{1, last}
	require.True(t, permitted(h, async(), rolled))
	rolled.Witnesses = []int64{1, 2}
	require.False(t, permitted(h, async(), rolled), "complete before the wipe")

	lost := anomaly(checker.LostWrite, []int64{13}, []int64{3})
	lost.Witnesses = []int64{7, 8, last}
	require.True(t, permitted(h, async(), lost))
	lost.Values = []int64{22}
	first := slices.IndexFunc(h, func(op histories.Op) bool { return op.Value == 22 })
	lost.Witnesses = []int64{int64(first), int64(first) + 1, int64(healed), last}
	require.False(t, permitted(h, async(), lost), "sent long after the promote")
	batch := slices.Clone(h)
	for i := first; i <= first+1; i++ {
		batch[i].Value, batch[i].Offset = histories.Unset, histories.Unset
		batch[i].Msgs = []histories.Message{{Offset: histories.Unset, Value: 21}, {Offset: 2, Value: 22}}
	}
	require.False(t, permitted(batch, async(), lost), "sent long after the promote, in a batch")
	wiped := slices.IndexFunc(h, func(op histories.Op) bool { return op.F == histories.Inject })
	rolled.Witnesses = []int64{1, 2, int64(wiped)}
	require.False(t, permitted(h, async(), rolled), "complete before the wipe, which is only named beside it")

	two := async()
	two.Groups = 2
	lost = anomaly(checker.LostWrite, []int64{13}, []int64{3})
	lost.Part = 2
	require.True(t, permitted(h, two, lost), "partition 2 lives in group 0")
	lost.Part = 1
	require.False(t, permitted(h, two, lost), "partition 1 lives in group 1")
}

// The same anomalies are excluded where the loss is: under sync replication with a safe promote.
func TestNothingImpliedWithoutPermission(t *testing.T) {
	b := torn()
	for i := range b.h {
		if b.h[i].Fault == histories.NotePromote {
			b.h[i].Effect = promoteText(histories.Promote{Epoch: 2, Safe: true})
		}
	}
	cfg := async()
	cfg.Replication = promise.Sync
	for _, class := range []checker.Class{checker.LostWrite, checker.RolledBackRead, checker.InconsistentOffsets, checker.Nonlinearizable} {
		require.False(t, permitted(b.h, cfg, anomaly(class, []int64{13}, []int64{3})), string(class))
	}
}

// Two losses make two ranges: what lies between them was never lost.
func TestTwoLosses(t *testing.T) {
	b := torn()
	b.h = b.h[:len(b.h)-3]      // up to the second generation, before the final read
	b.send(histories.OK, 30, 9) // vanishes later, when 22 to 28 have been there for long
	b.nemesis(histories.Note, histories.NoteLeader, "n2", "")
	b.read(histories.Final, "n2", 1000, 10, 11, 22, 23, 24, 25, 26, 27, 28)
	require.True(t, permitted(b.h, async(), anomaly(checker.PollSkip, nil, []int64{9})))
	require.True(t, permitted(b.h, async(), anomaly(checker.PollSkip, nil, []int64{4})))
	require.False(t, permitted(b.h, async(), anomaly(checker.PollSkip, nil, []int64{8})))
}

// Where only visible=appended permits it, weakly acknowledged messages may be rolled back, strongly
// acknowledged ones may not.
func TestVisibleAppended(t *testing.T) {
	b := &book{}
	b.nemesis(histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	b.send(histories.OK, 10, 0)
	b.send(histories.OK, 11, 1)
	b.send(histories.Weak, 12, 2)
	b.read(histories.Poll, "n1", 500, 10, 11, 12)
	b.nemesis(histories.Inject, "wipe:leader", "n1", "")
	b.nemesis(histories.Note, histories.NotePromote, "n2", promoteText(histories.Promote{Epoch: 2, Safe: true}))
	b.nemesis(histories.Heal, "wipe:leader", "n1", "wiped")
	b.send(histories.OK, 20, 1)
	b.nemesis(histories.Note, histories.NoteLeader, "n2", "")
	b.read(histories.Final, "n2", 1000, 10, 20)
	cfg := async()
	cfg.Replication, cfg.Visible = promise.Sync, promise.Appended
	for _, class := range []checker.Class{checker.RolledBackRead, checker.InconsistentOffsets, checker.Nonlinearizable} {
		require.True(t, permitted(b.h, cfg, anomaly(class, []int64{12}, []int64{2})), "the weak one: %s", class)
		require.False(t, permitted(b.h, cfg, anomaly(class, []int64{11}, []int64{1})), "the strong one: %s", class)
		require.False(t, permitted(b.h, cfg, anomaly(class, []int64{12, 11}, []int64{2})), "both: %s", class)
	}
	require.False(t, permitted(b.h, cfg, anomaly(checker.LostWrite, []int64{11}, nil)))
	cfg.Visible = promise.Replicated
	require.False(t, permitted(b.h, cfg, anomaly(checker.RolledBackRead, []int64{12}, []int64{2})))
}

// A partition whose end nobody read: nothing can be said about its messages, and the verdict is
// unknown whatever is permitted.
func TestImpliedWithoutFinalRead(t *testing.T) {
	b := torn()
	b.h = b.h[:len(b.h)-3]
	a := anomaly(checker.InconsistentOffsets, []int64{13}, []int64{3})
	got := judged(judge.Input{History: b.h, Promise: async().Promise()}, says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{a}})
	require.Equal(t, judge.ExitUnknown, got.Exit)
	require.Contains(t, fmt.Sprint(got.Unknown), "no final read of partition 0")

	// One that takes the offset of a lost one is in order, and nobody knows which ones are lost.
	a.Class = checker.NonmonotonicSend
	got = judged(judge.Input{History: b.h, Promise: async().Promise()}, says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{a}})
	require.Equal(t, judge.ExitUnknown, got.Exit)
	kept := async()
	kept.Replication = promise.Sync
	b.h[slices.IndexFunc(b.h, func(op histories.Op) bool { return op.Fault == histories.NotePromote })].Effect = promoteText(histories.Promote{Epoch: 2, Safe: true})
	got = judged(judge.Input{History: b.h, Promise: kept.Promise()}, says{Verdict: checker.Invalid, Anomalies: []checker.Anomaly{a}})
	require.Equal(t, judge.ExitInvalid, got.Exit, "where no loss is permitted")
}

// Of one class, some anomalies may be permitted and others not: they are summed up apart, and the
// verdict is the worse.
func TestMixed(t *testing.T) {
	found := says{Verdict: checker.Invalid, Figures: map[string]float64{"rolled-back-read": 10}, Anomalies: []checker.Anomaly{
		anomaly(checker.RolledBackRead, []int64{13}, nil), anomaly(checker.RolledBackRead, []int64{14}, nil), anomaly(checker.RolledBackRead, []int64{10}, nil),
	}}
	got := judged(judge.Input{History: torn().h, Promise: async().Promise()}, found)
	require.Equal(t, judge.ExitInvalid, got.Exit)
	require.Len(t, got.Anomalies, 2)
	require.False(t, got.Anomalies[0].Permitted)
	require.EqualValues(t, 8, got.Anomalies[0].Count, "what is not listed counts as the worse kind")
	require.EqualValues(t, 2, got.Anomalies[1].Count)
}
