package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/partitions"
)

// parts returns partition t-0 of a topic that it makes, on each node.
func parts(t *testing.T, nodes []*Node) []kafka.Partition {
	t.Helper()
	_, _, err := (&backend{n: nodes[0]}).CreateTopic(context.Background(), kafka.TopicSpec{Name: "t"})
	require.NoError(t, err)
	waitWell(t, nodes)
	var out []kafka.Partition
	for _, n := range nodes {
		p, err := (&backend{n: n}).Partition("t", uuid.Nil, 0)
		require.NoError(t, err)
		out = append(out, p)
	}
	return out
}

func appendOne(t *testing.T, p kafka.Partition) int64 {
	t.Helper()
	a, err := p.Append(context.Background(), oneRecord(10), -1)
	require.NoError(t, err)
	require.NoError(t, a.Wait(context.Background()))
	return a.BaseOffset
}

func inSimulation(t *testing.T, nodes int, options map[string]string, f func(nodes []*Node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		nw, ns, _ := simulated(t, nodes, options)
		defer nw.Close()
		defer func() {
			for _, n := range ns {
				require.NoError(t, n.Stop(context.Background()))
			}
		}()
		waitWell(t, ns)
		f(ns)
	})
}

func TestReads(t *testing.T) {
	inSimulation(t, 2, map[string]string{"replication": "sync"}, func(nodes []*Node) {
		p := parts(t, nodes)
		for i := range int64(5) {
			require.Equal(t, i, appendOne(t, p[0]))
		}
		waitWell(t, nodes)
		got, err := p[0].Read(kafka.Consumer, 2, 1<<20, true, -1)
		require.NoError(t, err)
		require.EqualValues(t, 5, got.Committed)
		require.EqualValues(t, 5, got.LogEnd)
		one, err := p[0].Read(kafka.Consumer, 4, 1, true, 2)
		require.NoError(t, err)
		require.Len(t, got.Batches, 3*len(one.Batches))
		none, err := p[0].Read(kafka.Consumer, 4, 1, false, 2)
		require.NoError(t, err)
		require.Empty(t, none.Batches, "the batch is larger than asked for")
		require.EqualValues(t, 5, none.Committed)
		got, err = p[0].Read(kafka.Consumer, 5, 1<<20, true, -1)
		require.NoError(t, err)
		require.Empty(t, got.Batches)

		for _, c := range []struct {
			node   int
			as     kafka.Reader
			offset int64
			epoch  int32
			want   error
			what   string
		}{
			{0, kafka.Consumer, 6, -1, kerr.OffsetOutOfRange, "beyond the end"},
			{0, kafka.Consumer, -1, -1, kerr.OffsetOutOfRange, "below the start"},
			{0, kafka.Consumer, 0, 1, kerr.FencedLeaderEpoch, "an older epoch"},
			{0, kafka.Consumer, 0, 3, kerr.UnknownLeaderEpoch, "a newer epoch"},
			{1, kafka.Consumer, 0, -1, kerr.NotLeaderForPartition, "a follower"},
			{1, kafka.Scanner, 0, -1, nil, "a scan of a follower"},
		} {
			_, err := p[c.node].Read(c.as, c.offset, 1<<20, true, c.epoch)
			require.ErrorIs(t, err, c.want, c.what)
		}
		scan, err := p[1].Read(kafka.Scanner, 0, 1<<20, true, -1)
		require.NoError(t, err)
		lead, err := p[0].Read(kafka.Consumer, 0, 1<<20, true, -1)
		require.NoError(t, err)
		require.Equal(t, lead.Batches, scan.Batches)

		for ts, want := range map[int64]int64{-1: 5, -2: 0, 1: 0, 2: -1} {
			l, err := p[0].Offsets(kafka.Consumer, ts, -1)
			require.NoError(t, err)
			require.Equal(t, want, l.Offset, "timestamp %d", ts)
		}
		epoch, end, err := p[0].EpochEnd(2, -1)
		require.NoError(t, err)
		require.EqualValues(t, 2, epoch)
		require.EqualValues(t, 5, end)
		_, _, err = p[1].EpochEnd(2, -1)
		require.ErrorIs(t, err, kerr.NotLeaderForPartition)
		_, _, err = p[0].EpochEnd(2, 1)
		require.ErrorIs(t, err, kerr.FencedLeaderEpoch)
		_, _, err = p[0].EpochEnd(2, 3)
		require.ErrorIs(t, err, kerr.UnknownLeaderEpoch)

		_, err = (&backend{n: nodes[0]}).Partition("t", uuid.Nil, 3)
		require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
		_, err = (&backend{n: nodes[0]}).Partition("u", uuid.Nil, 0)
		require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
		_, err = (&backend{n: nodes[0]}).Partition("", uuid.UUID{1}, 0)
		require.ErrorIs(t, err, kerr.UnknownTopicID)
		byID, err := (&backend{n: nodes[0]}).Partition("", (&backend{n: nodes[0]}).Cluster().Topics[0].ID, 0)
		require.NoError(t, err)
		got, err = byID.Read(kafka.Consumer, 0, 1<<20, true, -1)
		require.NoError(t, err)
		require.EqualValues(t, 5, got.Committed)
		require.NoError(t, (&backend{n: nodes[1]}).DeleteTopic(context.Background(), "t", [16]byte{}))
		_, err = p[0].Read(kafka.Consumer, 0, 1<<20, true, -1)
		require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
		_, err = p[0].Append(context.Background(), oneRecord(10), -1)
		require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	})
}

// A timestamp is looked for among the records of a batch; a compressed batch is not unpacked, and its first record is as good.
func TestTimestamps(t *testing.T) {
	inSimulation(t, 1, nil, func(nodes []*Node) {
		p := parts(t, nodes)
		batch := func(attributes int16) []byte {
			b := kmsg.RecordBatch{Magic: 2, Attributes: attributes, ProducerID: -1, FirstTimestamp: 100, MaxTimestamp: 130, NumRecords: 4, LastOffsetDelta: 3}
			for i := range 4 {
				r := kmsg.Record{TimestampDelta64: int64(10 * i), OffsetDelta: int32(i), Value: []byte("v")}
				r.Length = int32(len(r.AppendTo(nil)) - 1) // below 64 it takes one byte
				b.Records = r.AppendTo(b.Records)
			}
			b.Length = int32(49 + len(b.Records))
			return b.AppendTo(nil)
		}
		_, err := p[0].Append(context.Background(), batch(0), -1)
		require.NoError(t, err)
		waitWell(t, nodes)
		for at, want := range map[int64][2]int64{50: {0, 100}, 100: {0, 100}, 101: {1, 110}, 120: {2, 120}, 121: {3, 130}, 131: {-1, -1}} {
			l, err := p[0].Offsets(kafka.Consumer, at, -1)
			require.NoError(t, err)
			require.Equal(t, want, [2]int64{l.Offset, l.Timestamp}, "timestamp %d", at)
		}
		const compressed = 1
		at, offset := recordAt(batch(compressed), partitions.Entry{BaseOffset: 4, MaxTimestamp: 130}, 121)
		require.Equal(t, [2]int64{4, 130}, [2]int64{offset, at})
	})
}

// Who is told that a topic was not created in time is told which, and what it may come to.
func TestTopicInTooLittleTime(t *testing.T) {
	inSimulation(t, 2, map[string]string{"replication": "sync", "copies": "2"}, func(nodes []*Node) {
		require.NoError(t, nodes[1].Stop(context.Background()))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _, err := (&backend{n: nodes[0]}).CreateTopic(ctx, kafka.TopicSpec{Name: "slow"})
		require.ErrorIs(t, err, kerr.RequestTimedOut)
		require.ErrorContains(t, err, `topic "slow": too few nodes`)
	})
}

// With visible=appended the high watermark is the end of what consumers are shown, as ListOffsets has it: a read that had everything would look stale, and a Kafka
// client would be beyond the end, if it were what is committed.
func TestHighWatermarkOfWhatIsAppended(t *testing.T) {
	inSimulation(t, 2, map[string]string{"replication": "sync", "visible": "appended", "replication.timeout.ms": "100"}, func(nodes []*Node) {
		p := parts(t, nodes)
		require.NoError(t, nodes[1].Stop(context.Background()))
		a, err := p[0].Append(context.Background(), oneRecord(10), -1)
		require.NoError(t, err)
		require.ErrorIs(t, a.Wait(context.Background()), kerr.NotEnoughReplicasAfterAppend)
		got, err := p[0].Read(kafka.Consumer, 0, 1<<20, true, -1)
		require.NoError(t, err)
		require.NotEmpty(t, got.Batches)
		require.EqualValues(t, 1, got.Committed)
		l, err := p[0].Offsets(kafka.Consumer, -1, -1)
		require.NoError(t, err)
		require.EqualValues(t, 1, l.Offset)
	})
}

// A consumer that is ahead of a follower waits; it is not told that its offset is out of range, which would make it start anew (VMS-16).
func TestFollowerReads(t *testing.T) {
	inSimulation(t, 2, map[string]string{"replication": "sync", "follower-read": "true"}, func(nodes []*Node) {
		p := parts(t, nodes)
		appendOne(t, p[0])
		time.Sleep(2 * time.Second)
		got, err := p[1].Read(kafka.Consumer, 0, 1<<20, true, -1)
		require.NoError(t, err)
		require.NotEmpty(t, got.Batches)
		_, err = p[1].Read(kafka.Consumer, 2, 1<<20, true, -1)
		require.ErrorIs(t, err, kerr.OffsetNotAvailable)
	})
}

func TestMetadata(t *testing.T) {
	inSimulation(t, 3, map[string]string{"replication": "sync"}, func(nodes []*Node) {
		parts(t, nodes)
		for i, n := range nodes {
			v := (&backend{n: n}).Cluster()
			require.Equal(t, "test", v.ClusterID)
			require.EqualValues(t, i+1, v.NodeID)
			require.EqualValues(t, 1, v.ControllerID)
			require.Len(t, v.Brokers, 3)
			require.Equal(t, kafka.BrokerView{ID: 2, Host: "n2", Port: 9092}, v.Brokers[1])
			require.Len(t, v.Topics, 1)
			require.Len(t, v.Topics[0].Partitions, 3)
			for _, p := range v.Topics[0].Partitions {
				require.EqualValues(t, 1, p.Leader)
				require.EqualValues(t, 3, p.LeaderEpoch)
				require.Equal(t, []int32{1, 2, 3}, p.Replicas)
				require.ElementsMatch(t, []int32{1, 2, 3}, p.ISR)
			}
		}
		require.NoError(t, nodes[2].Stop(context.Background()))
		time.Sleep(30 * time.Second)
		p := (&backend{n: nodes[0]}).Cluster().Topics[0].Partitions[0]
		require.Equal(t, []int32{1, 2, 3}, p.Replicas)
		require.ElementsMatch(t, []int32{1, 2}, p.ISR, "node 3 is down")
	})
}

// A node that was never started stops without a complaint, and one that is stopped stops again.
func TestStopTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw, nodes, _ := simulated(t, 1, nil)
		defer nw.Close()
		require.NoError(t, nodes[0].Stop(context.Background()))
		require.NoError(t, nodes[0].Stop(context.Background()))
		require.Error(t, nodes[0].Start(context.Background()))
	})
}
