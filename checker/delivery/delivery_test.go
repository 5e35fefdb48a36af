package delivery_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/histories/histtest"
)

var msgs = histtest.Msgs

// Each rule with what breaks it and, next to it, the closest history that does not.
func TestDelivery(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *histtest.Builder)
		want  []checker.Class
	}{
		{"all there", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Batch(1, 0, 11, 12).OK(1)
			b.Poll(2, 0, 1).OK(3, msgs(1, 11)...)
			b.Whole(0, 10, 11, 12)
		}, nil},
		{"acknowledged and gone", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Whole(0, 10)
		}, []checker.Class{checker.LostWrite}},
		{"weak, open and refused and gone", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Weak(1)
			b.Send(1, 0, 12).Fail()
			b.Send(1, 0, 13).Info()
			b.Whole(0, 10)
		}, nil},
		{"one of a batch gone", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Whole(0, 10)
		}, []checker.Class{checker.LostWrite}},
		{"in another partition's final read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Send(1, 1, 12).OK(0)
			b.Whole(0, 10)
			b.Whole(1, 12, 11)
		}, []checker.Class{checker.InconsistentOffsets, checker.LostWrite, checker.Phantom}},
		{"the final read in chunks", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11, 12).OK(0)
			b.Final(2, 0, 0).OK(3, msgs(0, 10)...)
			b.Final(2, 0, 1).Fail()
			b.Final(2, 0, 1).OK(3, msgs(1, 11, 12)...)
		}, nil},
		{"two complete final reads, together whole", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Whole(0, 10)
			b.Whole(0, 10, 11)
		}, nil},
		{"no final read, the leader's log has it", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Leader(0, "n1")
			b.Replica("n1", 0, 10)
			b.Replica("n2", 0)
		}, nil},
		{"no final read, the leader's log lacks it", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Leader(0, "n2")
			b.Leader(0, "n1")
			b.Replica("n1", 0)
			b.Replica("n2", 0, 10)
		}, []checker.Class{checker.LostWrite}},
		{"in the leader's log, not in the final read", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Leader(0, "n1")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10, 11)
		}, []checker.Class{checker.Unseen}},
		{"acknowledged after the final read began", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			s := b.Send(1, 0, 11)
			b.Whole(0, 10)
			s.OK(1)
		}, nil},
		{"twice in the final read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10, 10)
		}, []checker.Class{checker.Duplicate}},
		{"read by two polls from the same offset", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
			b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
			b.Whole(0, 10)
		}, nil},
		{"in two partitions", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 1, 11).OK(0)
			b.Whole(0, 10)
			b.Whole(1, 11, 10)
		}, []checker.Class{checker.Duplicate}},
		{"twice in the leader's log, above the committed end", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Leader(0, "n1")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10, 10)
		}, []checker.Class{checker.Duplicate}},
		{"twice in the log of a follower", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Leader(0, "n1")
			b.Whole(0, 10)
			b.Replica("n2", 0, 10, 10)
		}, nil}, // which is replica-divergence
		{"never sent", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10, 99)...)
			b.Whole(0, 10)
		}, []checker.Class{checker.Phantom}},
		{"damaged, in the log of a follower", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Whole(0, 10)
			b.Replica("n2", 0, 10, -5)
		}, []checker.Class{checker.Phantom}},
		{"refused and read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Fail()
			b.Whole(0, 10, 11)
		}, []checker.Class{checker.AbortedRead}},
		{"refused and in the log of a follower", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Fail()
			b.Whole(0, 10)
			b.Replica("n2", 0, 10, 11)
		}, []checker.Class{checker.AbortedRead}},
		{"open and read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Send(2, 0, 12)
			b.Whole(0, 10, 11, 12)
		}, nil},
		{"acknowledged elsewhere than read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(2)
			b.Whole(0, 10, 11)
		}, []checker.Class{checker.InconsistentOffsets}},
		{"weak elsewhere than read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Weak(2)
			b.Whole(0, 10, 11)
		}, []checker.Class{checker.InconsistentOffsets}},
		{"two acknowledged at one offset", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 10, 11)
		}, []checker.Class{checker.InconsistentOffsets, checker.InconsistentOffsets}},
		{"two read from one offset", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Info()
			b.Send(2, 0, 11).OK(0)
			b.Poll(3, 0, 0).OK(1, msgs(0, 10)...)
			b.Poll(3, 0, 0).OK(1, msgs(0, 10)...)
			b.Whole(0, 11)
		}, []checker.Class{checker.InconsistentOffsets}},
		{"the offset of a weak one taken", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Weak(0)
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 11)
		}, nil},
		{"a failed poll says nothing", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).Fail()
			b.Poll(2, 0, 0).Info()
			b.Whole(0, 10)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := histtest.New()
			tt.build(b)
			res := delivery.New().Check(t.Context(), b.History())
			var got []checker.Class
			for _, a := range res.Anomalies {
				got = append(got, a.Class)
				require.NotEmpty(t, a.Witnesses)
				require.IsIncreasing(t, append([]int64{-1}, a.Witnesses...))
				require.NotEmpty(t, a.Explanation)
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

func TestLostWriteExplains(t *testing.T) {
	b := histtest.New()
	b.At(1*time.Second).Send(3, 1, 4700).On("n1").OK(119)
	b.Inject("slow:follower", "n2")
	b.Heal("slow:follower", "n2")
	b.At(12345*time.Millisecond-time.Millisecond).Send(3, 1, 4711).On("n1").OK(120)
	b.Poll(4, 1, 120).On("n1").OK(121, msgs(120, 4711)...)
	b.At(13*time.Second).Inject("wipe:leader", "n1")
	b.Heal("wipe:leader", "n1")
	b.At(20*time.Second).Final(9, 1, 0).OK(120, append(msgs(0), msgs(119, 4700)...)...)
	b.Replica("n3", 1, 1)
	res := delivery.New().Check(t.Context(), b.History())
	var lost []checker.Anomaly
	for _, a := range res.Anomalies {
		if a.Class == checker.LostWrite {
			lost = append(lost, a)
		}
	}
	require.Len(t, lost, 1)
	require.Equal(t, "message 4711 was acknowledged at offset 120 of partition 1 at 12.345s by n1 to process 3, was last read by process 4 from n1 at 12.347s, "+
		"and is absent from the final read; faults between: wipe n1 at 13.0s", lost[0].Explanation)
	require.Equal(t, []int64{4, 5, 6, 7, 8, 11}, lost[0].Witnesses)
	require.Equal(t, []int64{4711}, lost[0].Values)
	require.Equal(t, []int64{120}, lost[0].Offsets)
}

func TestLostWriteNamesWhoStillHoldsIt(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Whole(0)
	b.Replica("n2", 0, 10)
	b.Replica("n3", 0, 10)
	res := delivery.New().Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 1)
	require.Equal(t, "message 10 was acknowledged at offset 0 of partition 0 at 0.002s by the system to process 1, and is absent from the final read, "+
		"though it is still in the log of n2 and n3; no fault between", res.Anomalies[0].Explanation)
}

func TestAccounting(t *testing.T) {
	b := histtest.New()
	b.Batch(1, 0, 10, 11).OK(0)
	b.Send(1, 0, 12).Weak(2)
	b.Send(1, 0, 13).Weak(3)
	b.Send(1, 0, 14).Fail()
	b.Send(1, 0, 15).Info()
	b.Send(2, 0, 16)
	b.Whole(0, 10, 11, 12)
	res := delivery.New().Check(t.Context(), b.History())
	require.Equal(t, checker.Valid, res.Verdict)
	require.Equal(t, map[string]float64{"ok_sends": 2, "weak_sends": 2, "info_sends": 2, "fail_sends": 1, "weak_lost": 1, "info_lost": 2}, res.Figures)
}

func TestNothingToJudge(t *testing.T) {
	none := histtest.New()
	none.Send(1, 0, 10).Weak(0)
	none.Whole(0, 10)
	noFinal := histtest.New()
	noFinal.Send(1, 0, 10).OK(0)
	noFinal.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
	cut := histtest.New()
	cut.Batch(1, 3, 10, 11).OK(0)
	cut.Final(2, 3, 0).OK(2, msgs(0, 10)...)
	jumped := histtest.New()
	jumped.Batch(1, 3, 10, 11).OK(0)
	jumped.Final(2, 3, 0).OK(2)
	jumped.Final(2, 3, 1).OK(2, msgs(1, 11)...)
	twice := histtest.New()
	twice.Send(1, 0, 10).OK(0)
	twice.Send(1, 0, 10).OK(1)
	for reason, b := range map[string]*histtest.Builder{
		"no message was acknowledged":                       none,
		"partition 0 has neither a complete final read":     noFinal,
		"partition 3 has neither a complete final read":     cut,
		"partition 3 has neither a complete final read nor": jumped,
		"value 10 was sent twice":                           twice,
	} {
		res := delivery.New().Check(t.Context(), b.History())
		require.Equal(t, checker.Unknown, res.Verdict)
		require.Contains(t, res.Reason, reason)
	}
}

// Beyond the limit the anomalies of a partition are counted and not listed; those of another one are.
func TestManyLost(t *testing.T) {
	b := histtest.New()
	for v := range int64(20_003) {
		b.Send(1, 0, v).OK(v)
	}
	b.Send(1, 1, 30_000).OK(0)
	b.Whole(0)
	b.Whole(1)
	res := delivery.New().Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 20_001)
	require.InDelta(t, 20_004, res.Figures["lost-write"], 0)
	require.Equal(t, []int64{30_000}, res.Anomalies[20_000].Values)
	rep := checker.Run(t.Context(), b.History(), delivery.New())
	require.Equal(t, 20_004, rep.Count(checker.LostWrite))
}

func BenchmarkDelivery(b *testing.B) {
	h := histtest.Load(1_000_000, 3, 10)
	b.Run("1M", func(b *testing.B) {
		for b.Loop() {
			if res := delivery.New().Check(b.Context(), h); res.Verdict != checker.Valid {
				b.Fatal(res.Reason)
			}
		}
		b.ReportMetric(float64(len(h))*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}
