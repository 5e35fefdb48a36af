package order_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/order"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

var msgs = histtest.Msgs

func TestOrder(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *histtest.Builder)
		want  []checker.Class
	}{
		{"in order", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10, 11)...)
			b.Whole(0, 10, 11)
		}, nil},
		{"one process's sends out of order", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(1)
			b.Send(1, 0, 11).OK(0)
			b.Whole(0, 11, 10)
		}, []checker.Class{checker.NonmonotonicSend}},
		{"two processes' sends in any order", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(1)
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 11, 10)
		}, nil},
		{"one process's sends to two partitions", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Send(1, 1, 12).OK(0)
			b.Whole(0, 10, 11)
		}, nil},
		{"a batch out of order", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).Acked(histories.Message{Offset: 1, Value: 10}, histories.Message{Offset: 0, Value: 11})
			b.Whole(0, 11, 10)
		}, []checker.Class{checker.NonmonotonicSend}},
		{"a send at the offset of a weak one before", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Weak(0)
			b.Send(1, 0, 11).OK(0)
			b.Whole(0, 11)
		}, nil},
		{"a send below a lost one before", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Send(1, 0, 12).OK(1)
			b.Whole(0, 10, 12)
		}, nil},
		{"a send below one before, whose fate is unknown", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(2)
			b.Send(1, 0, 12).OK(1)
			b.Poll(2, 0, 0).OK(3, msgs(0, 10)...)
		}, []checker.Class{checker.NonmonotonicSend}},
		{"offsets going back within a poll", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 0).OK(2, histories.Message{Offset: 0, Value: 10}, histories.Message{Offset: 1, Value: 11}, histories.Message{Offset: 0, Value: 10})
		}, []checker.Class{checker.NonmonotonicPoll}},
		{"an offset twice within a poll", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 0).OK(2, histories.Message{Offset: 0, Value: 10}, histories.Message{Offset: 0, Value: 10})
		}, []checker.Class{checker.NonmonotonicPoll}},
		{"below the position asked for", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 1).OK(2, msgs(0, 10, 11)...)
		}, []checker.Class{checker.NonmonotonicPoll}},
		{"a seek back", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 1).OK(2, msgs(1, 11)...)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10, 11)...)
		}, nil},
		{"a poll over an acknowledged message", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11, 12).OK(0)
			b.Poll(2, 0, 0).OK(3, append(msgs(0, 10), msgs(2, 12)...)...)
		}, []checker.Class{checker.PollSkip}},
		{"a poll that begins above a message at its position", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 0).OK(2, msgs(1, 11)...)
		}, []checker.Class{checker.PollSkip}},
		{"a poll over a message that another read returns", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Info()
			b.Send(2, 0, 12).OK(2)
			b.Poll(3, 0, 0).OK(3, append(msgs(0, 10), msgs(2, 12)...)...)
			b.Poll(3, 0, 1).OK(3, msgs(1, 11)...)
		}, []checker.Class{checker.PollSkip}},
		{"a final read over an acknowledged message", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11, 12).OK(0)
			b.Final(2, 0, 0).OK(3, append(msgs(0, 10), msgs(2, 12)...)...)
		}, []checker.Class{checker.PollSkip}},
		{"a gap that nobody knows a message in", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).Weak(1)
			b.Send(1, 0, 12).OK(1_000_000_000)
			b.Poll(2, 0, 0).OK(1_000_000_001, append(msgs(0, 10), msgs(1_000_000_000, 12)...)...)
		}, nil},
		{"a poll cut short", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11, 12).OK(0)
			b.Poll(2, 0, 0).OK(3, msgs(0, 10)...)
			b.Poll(2, 0, 1).OK(3)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := histtest.New()
			tt.build(b)
			res := order.New().Check(t.Context(), b.History())
			var got []checker.Class
			for _, a := range res.Anomalies {
				got = append(got, a.Class)
				require.NotEmpty(t, a.Witnesses)
				require.NotEmpty(t, a.Values)
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

func TestSkipExplains(t *testing.T) {
	b := histtest.New()
	b.Batch(1, 0, 10, 11, 12, 13).OK(0)
	b.Poll(2, 0, 0).OK(4, append(msgs(0, 10), msgs(3, 13)...)...)
	res := order.New().Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 1)
	require.Equal(t, checker.Anomaly{
		Class: checker.PollSkip, Part: 0, Values: []int64{11, 12}, Offsets: []int64{1, 2}, Witnesses: []int64{1, 2, 3},
		Explanation: "process 2 read partition 0 from offset 0 at 0.004s and got offset 3 without message 11 at offset 1, which op 1 knows of, and without 1 more",
	}, res.Anomalies[0])
}

// What each anomaly says, with its data.
func TestExplanations(t *testing.T) {
	for _, c := range []struct {
		build func(b *histtest.Builder)
		want  checker.Anomaly
	}{
		{func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(1)
			b.Send(1, 0, 11).OK(0)
			b.Whole(0, 11, 10)
		}, checker.Anomaly{
			Class: checker.NonmonotonicSend, Values: []int64{10, 11}, Offsets: []int64{1, 0}, Witnesses: []int64{0, 1, 2, 3},
			Explanation: "process 1 sent message 10, acknowledged at offset 1 of partition 0, then message 11, acknowledged at offset 0",
		}},
		{func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).Acked(histories.Message{Offset: 1, Value: 10}, histories.Message{Offset: 1, Value: 11})
			b.Poll(2, 0, 0).OK(2)
		}, checker.Anomaly{
			Class: checker.NonmonotonicSend, Values: []int64{10, 11}, Offsets: []int64{1, 1}, Witnesses: []int64{0, 1},
			Explanation: "process 1 sent message 10, acknowledged at offset 1 of partition 0, and after it in the same batch message 11, acknowledged at offset 1",
		}},
		{func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 0).OK(2, histories.Message{Offset: 0, Value: 10}, histories.Message{Offset: 1, Value: 11}, histories.Message{Offset: 0, Value: 10})
		}, checker.Anomaly{
			Class: checker.NonmonotonicPoll, Values: []int64{11, 10}, Offsets: []int64{1, 0}, Witnesses: []int64{2, 3},
			Explanation: "process 2 read partition 0 from offset 0, and got message 11 at offset 1 before message 10 at offset 0",
		}},
		{func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).OK(0)
			b.Poll(2, 0, 1).OK(2, msgs(0, 10, 11)...)
		}, checker.Anomaly{
			Class: checker.NonmonotonicPoll, Values: []int64{10}, Offsets: []int64{0}, Witnesses: []int64{2, 3},
			Explanation: "process 2 asked partition 0 for offset 1 and up, and got message 10 at offset 0",
		}},
	} {
		b := histtest.New()
		c.build(b)
		require.Equal(t, []checker.Anomaly{c.want}, order.New().Check(t.Context(), b.History()).Anomalies)
	}
}

func TestRegressionsAreFigures(t *testing.T) {
	b := histtest.New()
	b.Batch(1, 0, 10, 11).OK(0)
	b.Poll(2, 0, 2).OK(2)
	b.Poll(2, 0, 2).OK(2)
	b.Poll(2, 0, 2).OK(histories.Unset)
	b.Poll(2, 0, 1).OK(1)
	b.Poll(3, 0, 1).OK(1)
	res := order.New().Check(t.Context(), b.History())
	require.Equal(t, checker.Valid, res.Verdict)
	require.InDelta(t, 1, res.Figures["hw_regressions"], 0)
}

func TestNothingToJudge(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).Info()
	res := order.New().Check(t.Context(), b.History())
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Equal(t, "no message was acknowledged; no read was answered", res.Reason)
}

func BenchmarkOrder(b *testing.B) {
	h := histtest.Load(1_000_000, 3, 10)
	b.Run("1M", func(b *testing.B) {
		for b.Loop() {
			if res := order.New().Check(b.Context(), h); res.Verdict != checker.Valid {
				b.Fatal(res.Reason)
			}
		}
		b.ReportMetric(float64(len(h))*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}
