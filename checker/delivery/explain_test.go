package delivery_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

// What each anomaly says, with its data: whoever reads it has the messages, the places, who told it and when.
func TestExplanations(t *testing.T) {
	for _, c := range []struct {
		what  string
		build func(b *histtest.Builder)
		want  []checker.Anomaly
	}{
		{"phantoms, in the order in which they were read", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 1, 20).Info()
			b.Poll(2, 0, 0).On("n1").OK(3, msgs(0, 10, 20, 99)...)
			b.Whole(0, 10)
			b.Replica("n2", 0, 10, -7)
		}, []checker.Anomaly{
			{Values: []int64{20}, Offsets: []int64{1}, Witnesses: []int64{2, 3, 4, 5},
				Explanation: "message 20 was sent to partition 1, and was read by process 2 from n1 at 0.006s at offset 1 of partition 0"},
			{Values: []int64{99}, Offsets: []int64{2}, Witnesses: []int64{4, 5},
				Explanation: "message 99 was never sent, and was read by process 2 from n1 at 0.006s at offset 2 of partition 0"},
			{Values: []int64{-7}, Offsets: []int64{1}, Witnesses: []int64{8, 9},
				Explanation: "a message that no client can have written (unreadable or damaged) is in the log of n2 at offset 1 of partition 0"},
		}},
		{"a duplicate", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
			b.Whole(0, 10, 10)
		}, []checker.Anomaly{{
			Values: []int64{10}, Offsets: []int64{0, 1}, Witnesses: []int64{0, 1, 3, 5},
			Explanation: "message 10 was sent once, and was read by process 2 from the system at 0.004s at offset 0 of partition 0" +
				" and was returned by the final read of process 9000 at 0.006s at offset 1 of partition 0",
		}}},
		{"two messages at one offset, the lost one first", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Info()
			b.Send(2, 0, 11).OK(0)
			b.Poll(3, 0, 0).OK(1, msgs(0, 10)...)
			b.Whole(0, 11)
		}, []checker.Anomaly{{
			Values: []int64{10, 11}, Offsets: []int64{0}, Witnesses: []int64{3, 5},
			Explanation: "offset 0 of partition 0 holds message 11 according to op 3, and message 10 according to op 5",
		}}},
		{"unseen", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11).On("n1").OK(0)
			b.Leader(0, "n1")
			b.Whole(0, 10)
			b.Replica("n1", 0, 10, 11)
		}, []checker.Anomaly{{
			Values: []int64{11}, Offsets: []int64{1}, Witnesses: []int64{0, 1, 4},
			Explanation: "message 11 was acknowledged at offset 1 of partition 0 at 0.002s by n1 to process 1 and is in the log of the leader n1, and the final read, though complete, did not return it",
		}}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := histtest.New()
			c.build(b)
			got := delivery.New().Check(t.Context(), b.History()).Anomalies
			for i := range got {
				got[i].Class, got[i].Part = "", 0
			}
			require.Equal(t, c.want, got)
		})
	}
}

// The faults that may have done it are those since the message was last known to be there, and the first few are named.
func TestLostWriteNamesTheFaultsSince(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).On("n1").OK(0)
	b.At(time.Second).Inject("kill", "n2")
	b.Heal("kill", "n2")
	b.At(2*time.Second).Poll(2, 0, 0).On("n1").OK(1, msgs(0, 10)...)
	for i := range 8 {
		b.At(time.Duration(3+i)*time.Second).Inject("power:leader", fmt.Sprint("n", i+1))
		b.Heal("power:leader", fmt.Sprint("n", i+1))
	}
	b.At(20*time.Second).Final(9, 0, 0).OK(0)
	b.Inject("slow", "n9") // after the final read had begun, and so too late
	res := delivery.New().Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 1)
	require.Equal(t, "message 10 was acknowledged at offset 0 of partition 0 at 0.002s by n1 to process 1, was last read by process 2 from n1 at 2.001s, and is absent from the "+
		"final read; faults between: power n1 at 3.0s, power n2 at 4.0s, power n3 at 5.0s, power n4 at 6.0s, power n5 at 7.0s, power n6 at 8.0s and 2 more", res.Anomalies[0].Explanation)
	require.Equal(t, []int64{0, 1, 4, 5, 6, 8, 10, 12, 14, 16, 23}, res.Anomalies[0].Witnesses)
}

// A value that another partition's replica holds is no copy of a lost message, and the offset of a batch's message may be unknown.
func TestLostWriteWithoutAnOffset(t *testing.T) {
	b := histtest.New()
	b.Batch(1, 0, 10, 11).Acked(msgs(0, 10)[0], histories.Message{Offset: histories.Unset, Value: 11})
	b.Whole(0, 10)
	b.Replica("n2", 1, 11)
	res := delivery.New().Check(t.Context(), b.History())
	lost := res.Anomalies[0]
	require.Equal(t, checker.LostWrite, lost.Class)
	require.Empty(t, lost.Offsets)
	require.Equal(t, "message 11 was acknowledged in partition 0 at 0.002s by the system to process 1, and is absent from the final read; no fault between", lost.Explanation)
}
