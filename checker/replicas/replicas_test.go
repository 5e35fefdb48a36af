package replicas_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

var msgs = histtest.Msgs

func TestReplicas(t *testing.T) {
	tests := []struct {
		name   string
		copies int
		build  func(b *histtest.Builder)
		want   []checker.Class
	}{
		{"equal replicas", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
			b.Leader(0, "n1")
			b.Recovered("")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0, 10)
		}, nil},
		{"read and gone", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Poll(2, 0, 0).OK(2, msgs(0, 10, 11)...)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10, 11)...)
			b.Whole(0, 10)
		}, []checker.Class{checker.RolledBackRead}},
		{"gone and never read", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10)...)
			b.Whole(0, 10)
		}, nil}, // which is lost-write
		{"a phantom that is read and gone", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10, 99)...)
			b.Whole(0, 10)
		}, nil}, // which is phantom
		{"read after the final read began", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			p := b.Poll(2, 0, 0)
			b.Whole(0, 10)
			p.OK(2, msgs(0, 10, 11)...)
		}, nil},
		{"two replicas differ at an offset", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Send(2, 0, 12).OK(1)
			b.Whole(0, 10, 12)
			b.Replica("n1", 0, 10, 12)
			b.Replica("n2", 0, 10, 11)
		}, []checker.Class{checker.ReplicaDivergence}},
		{"a hole in a replica", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Send(1, 0, 12).OK(2)
			b.Whole(0, 10, 11, 12)
			b.Replica("n1", 0, 10, 11, 12)
			b.Scan(9, "n2", 0, 0).OK(3, append(msgs(0, 10), msgs(2, 12)...)...)
		}, []checker.Class{checker.ReplicaDivergence}},
		{"a hole in the leader", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Send(2, 0, 12).OK(2)
			b.Leader(0, "n1")
			b.Replica("n2", 0, 10, 11, 12)
			b.Scan(9, "n1", 0, 0).OK(3, append(msgs(0, 10), msgs(2, 12)...)...)
		}, []checker.Class{checker.ReplicaDivergence}},
		{"the same gap in both", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(2, 0, 12).OK(2)
			for i, n := range []string{"n1", "n2"} {
				b.Scan(9+i, n, 0, 0).OK(3, append(msgs(0, 10), msgs(2, 12)...)...)
			}
			b.Leader(0, "n1")
		}, nil},
		{"a shorter replica, after recovery", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Leader(0, "n1")
			b.Recovered("")
			b.Whole(0, 10, 11)
			b.Replica("n1", 0, 10, 11)
			b.Replica("n2", 0, 10)
		}, []checker.Class{checker.ReplicaDivergence}},
		{"a shorter replica, without recovery", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Leader(0, "n1")
			b.Recovered("n2 has not caught up")
			b.Whole(0, 10, 11)
			b.Replica("n1", 0, 10, 11)
			b.Replica("n2", 0, 10)
		}, nil},
		{"a shorter replica, leader unknown", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Recovered("")
			b.Whole(0, 10, 11)
			b.Replica("n1", 0, 10, 11)
			b.Replica("n2", 0, 10)
		}, nil},
		{"a replica whose scan stopped early, after recovery", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Leader(0, "n1")
			b.Recovered("")
			b.Whole(0, 10, 11)
			b.Replica("n1", 0, 10, 11)
			b.Scan(9, "n2", 0, 0).OK(2, msgs(0, 10)...)
		}, nil},
		{"a tail beyond the leader's end, after recovery", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Leader(0, "n1")
			b.Recovered("")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0, 10, 11)
		}, []checker.Class{checker.ReplicaDivergence}},
		{"a tail beyond the leader's end, without recovery", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Leader(0, "n1")
			b.Recovered("n2 does not answer")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0, 10, 11)
		}, nil},
		{"a log longer than the others, leader unknown", 0, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Recovered("")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0, 10, 11)
		}, nil},
		{"acknowledged on too few copies", 2, func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Whole(0, 10, 11)
			b.Replica("n1", 0, 10, 11)
			b.Replica("n2", 0, 10)
			b.Replica("n3", 0)
		}, []checker.Class{checker.WeakAckLie}},
		{"a message twice in one log is one copy", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10)
			b.Replica("n1", 0, 10, 10)
			b.Replica("n2", 0)
		}, []checker.Class{checker.WeakAckLie}},
		{"too few copies, none promised", 1, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, nil},
		{"too few copies of a weak one", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Weak(1)
			b.Whole(0, 10, 11)
			b.Replica("n1", 0, 10, 11)
			b.Replica("n2", 0, 10)
		}, nil},
		{"too few copies after a wipe", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Inject("wipe:leader", "n2")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, nil},
		{"too few copies of what was sent after the wipe was healed", 2, func(b *histtest.Builder) {
			b.Inject("wipe:leader", "n2")
			b.Heal("wipe:leader", "n2")
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, []checker.Class{checker.WeakAckLie}},
		{"too few copies of what was sent before the wipe was healed", 2, func(b *histtest.Builder) {
			b.Inject("wipe:leader", "n2")
			s := b.Send(1, 0, 10)
			b.Heal("wipe:leader", "n2")
			s.OK(0)
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, nil},
		{"too few copies beside a wipe of another group", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Inject("wipe:leader", "n3,n4")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, []checker.Class{checker.WeakAckLie}},
		{"too few copies after a wipe of two nodes, one of them its own", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Inject("wipe:all", "n2,n4")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, nil},
		{"too few copies of what was sent after a bit was flipped", 2, func(b *histtest.Builder) {
			b.Inject("corrupt", "n2")
			b.Heal("corrupt", "n2")
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, nil},
		{"too few copies after a kill", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Inject("kill", "n2")
			b.Heal("kill", "n2")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, []checker.Class{checker.WeakAckLie}},
		{"too few copies, but a replica could not be scanned", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10)
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
			b.Scan(7, "n3", 0, 0).Fail()
		}, nil},
		{"lost by a promote", 2, func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Inject("promote", "n2")
			b.Whole(0)
			b.Replica("n1", 0)
			b.Replica("n2", 0)
		}, nil}, // which is lost-write
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := histtest.New()
			tt.build(b)
			res := replicas.New(replicas.Config{Copies: tt.copies}).Check(t.Context(), b.History())
			var got []checker.Class
			for _, a := range res.Anomalies {
				got = append(got, a.Class)
				require.NotEmpty(t, a.Witnesses)
				require.NotEmpty(t, a.Values)
				t.Log(a.Explanation)
			}
			require.Equal(t, tt.want, got, "%+v", res)
			want := checker.Invalid
			if tt.want == nil {
				want = checker.Valid
			}
			require.Equal(t, want, res.Verdict, res.Reason)
		})
	}
}

// What a fault can destroy is what its injection says, whatever the fault is called.
func TestHarmExcusesTooFewCopies(t *testing.T) {
	for _, c := range []struct {
		fault         string
		harm          histories.Harm
		before, after bool // whether what was sent before the strike, and after its heal, may be on too few copies
	}{
		{"acid", histories.HarmNone, false, false},
		{"acid", histories.HarmDisk, true, false},
		{"acid", histories.HarmUnsynced, true, false},
		{"acid", histories.HarmWrites, true, false},
		{"acid", histories.HarmBits, true, true},
		{"acid", histories.HarmLeadership, false, false},
		{"wipe", histories.HarmNone, false, false},
		{"wipe:leader", histories.HarmNone, false, false},
		{"kill", histories.HarmDisk, true, false},
		{"promote", histories.HarmBits, true, true},
	} {
		b := histtest.New()
		b.Send(1, 0, 10).OK(0)
		b.Did(histories.NewInject(c.fault, histories.Event{Strike: 1, Harm: c.harm}, "n2"))
		b.Did(histories.NewHeal(c.fault, 1, "n2"))
		b.Send(1, 0, 11).OK(1)
		b.Whole(0, 10, 11)
		b.Replica("n1", 0, 10, 11)
		b.Replica("n2", 0)
		res := replicas.New(replicas.Config{Copies: 2}).Check(t.Context(), b.History())
		excused := map[int64]bool{10: true, 11: true}
		for _, a := range res.Anomalies {
			require.Equal(t, checker.WeakAckLie, a.Class)
			delete(excused, a.Values[0])
		}
		require.Equal(t, []bool{c.before, c.after}, []bool{excused[10], excused[11]}, "%s that can destroy %s", c.fault, c.harm)
	}
}

// Whoever moves the leadership makes replicas give up what the new leader lacks: all of them, and
// not only some.
func TestHarmToLeadershipExcusesLoss(t *testing.T) {
	for harm, want := range map[histories.Harm]checker.Verdict{histories.HarmLeadership: checker.Valid, histories.HarmNone: checker.Invalid} {
		b := histtest.New()
		b.Send(1, 0, 10).OK(0)
		b.Did(histories.NewInject("coup", histories.Event{Strike: 1, Harm: harm, Instant: true}, "n2"))
		b.Whole(0)
		b.Replica("n1", 0)
		b.Replica("n2", 0)
		require.Equal(t, want, replicas.New(replicas.Config{Copies: 2}).Check(t.Context(), b.History()).Verdict, harm)
	}
}

func TestDivergenceExplains(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Send(1, 0, 11).Info()
	b.Send(2, 0, 12).OK(1)
	b.Leader(0, "n1")
	b.Recovered("")
	b.Whole(0, 10, 12)
	b.Replica("n2", 0, 10, 11)
	b.Replica("n1", 0, 10, 12)
	b.Replica("n3", 0)
	res := replicas.New(replicas.Config{}).Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 2)
	require.Equal(t, "replicas n1 and n2 of partition 0 hold different messages at 1 offset: at offset 1, n1 has message 12 and n2 has message 11",
		res.Anomalies[0].Explanation)
	require.Equal(t, []int64{11}, res.Anomalies[0].Values)
	require.Equal(t, []int64{11, 13}, res.Anomalies[0].Witnesses, "the scans of both")
	require.Equal(t, "the log of n3 for partition 0 ends at 0, though the cluster was well again: that of its leader n1 goes on with 2 messages, the first 10 at offset 0",
		res.Anomalies[1].Explanation)
	require.InDelta(t, 1, res.Figures["replicas_behind"], 0)
	require.InDelta(t, 3, res.Figures["replicas_scanned"], 0)
}

// Who is behind is counted, whether that is an anomaly or not; who was not scanned to the end may
// not be.
func TestBehindIsCounted(t *testing.T) {
	b := histtest.New()
	b.Batch(1, 0, 10, 11).OK(0)
	b.Leader(0, "n1")
	for _, n := range []string{"n1", "n2", "n3"} {
		b.Replica(n, 0, 10, 11)
	}
	b.Replica("n4", 0, 10)
	b.Replica("n5", 0, 10, 11)
	b.Scan(7, "n6", 0, 0).OK(1)
	res := replicas.New(replicas.Config{}).Check(t.Context(), b.History())
	require.Equal(t, checker.Valid, res.Verdict)
	require.InDelta(t, 1, res.Figures["replicas_behind"], 0)
	require.InDelta(t, 5, res.Figures["replicas_scanned"], 0)
}

func TestUnderCopiedIsCounted(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Inject("power:leader", "n1")
	b.Whole(0, 10)
	b.Replica("n1", 0)
	b.Replica("n2", 0, 10)
	res := replicas.New(replicas.Config{Copies: 2}).Check(t.Context(), b.History())
	require.Equal(t, checker.Valid, res.Verdict)
	require.InDelta(t, 1, res.Figures["under_copied"], 0)
}

func TestNothingToJudge(t *testing.T) {
	b := histtest.New()
	b.Send(1, 4, 10).OK(0)
	b.Replica("n1", 4, 10)
	res := replicas.New(replicas.Config{}).Check(t.Context(), b.History())
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Equal(t, "partition 4 has no final truth and fewer than two complete scans", res.Reason)
}
