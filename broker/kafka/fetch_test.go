package kafka_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/kafka/kafkafake"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func fetched(r *raw, req *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	r.t.Helper()
	return call[*kmsg.FetchResponse](r, req).Topics[0].Partitions[0]
}

// A consumer reads below the committed offset; a scanner reads to the log end, at any node.
func TestFetchLimits(t *testing.T) {
	w := loopback(t, 2, defaultConfig())
	w.createTopic("t", 1)
	leader, follower := w.raw(0), w.raw(1)
	onePart(leader, produceRequest(9, 1, "t", 0, batch("a")))
	w.cluster.Hold()
	onePart(leader, produceRequest(9, 1, "t", 0, batch("b")))

	p := fetched(leader, fetchRequest(12, "t", 0, 0))
	got, _ := values(t, p.RecordBatches)
	require.Equal(t, []string{"a"}, got)
	require.EqualValues(t, 1, p.HighWatermark)
	require.EqualValues(t, 1, p.LastStableOffset)

	scan := fetchRequest(12, "t", 0, 0)
	scan.ReplicaID = -2
	p = fetched(follower, scan)
	got, _ = values(t, p.RecordBatches)
	require.Equal(t, []string{"a", "b"}, got)
	require.EqualValues(t, 2, p.HighWatermark, "the log end")

	require.Equal(t, kerr.NotLeaderForPartition.Code, fetched(follower, fetchRequest(12, "t", 0, 0)).ErrorCode)
	w.cluster.ServeFollowers()
	require.Zero(t, fetched(follower, fetchRequest(12, "t", 0, 0)).ErrorCode)
}

func TestFetchRefusals(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	w.cluster.Lead("t", 0, 1) // epoch 2
	r := w.raw(0)
	onePart(r, produceRequest(9, -1, "t", 0, batch("a")))
	for _, c := range []struct {
		name   string
		change func(*kmsg.FetchRequest)
		want   *kerr.Error
	}{
		{"broker's replica id", func(f *kmsg.FetchRequest) { f.ReplicaID = 0 }, kerr.InvalidRequest},
		{"unknown negative replica id", func(f *kmsg.FetchRequest) { f.ReplicaID = -3 }, kerr.InvalidRequest},
		{"old epoch", func(f *kmsg.FetchRequest) { f.Topics[0].Partitions[0].CurrentLeaderEpoch = 1 }, kerr.FencedLeaderEpoch},
		{"new epoch", func(f *kmsg.FetchRequest) { f.Topics[0].Partitions[0].CurrentLeaderEpoch = 3 }, kerr.UnknownLeaderEpoch},
		{"beyond", func(f *kmsg.FetchRequest) { f.Topics[0].Partitions[0].FetchOffset = 2 }, kerr.OffsetOutOfRange},
		{"unknown topic", func(f *kmsg.FetchRequest) { f.Topics[0].Topic = "nope" }, kerr.UnknownTopicOrPartition},
		{"no topic id", func(f *kmsg.FetchRequest) { f.Version = 13 }, kerr.UnknownTopicID},
		{"unknown topic id", func(f *kmsg.FetchRequest) { f.Version, f.Topics[0].TopicID = 13, [16]byte{1} }, kerr.UnknownTopicID},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := fetchRequest(12, "t", 0, 0)
			req.MaxWaitMillis, req.MinBytes = 60_000, 1<<20 // an error is told without waiting
			c.change(req)
			p := fetched(r, req)
			require.Equal(t, c.want.Code, p.ErrorCode)
			require.Empty(t, p.RecordBatches)
		})
	}
	w.cluster.SetFaults(kafkafake.Faults{BeforeRead: func(int32, string, int32, kafka.Reader) error { return kerr.OffsetNotAvailable }})
	require.Equal(t, kerr.OffsetNotAvailable.Code, fetched(r, fetchRequest(12, "t", 0, 0)).ErrorCode)
}

// KIP-227: there are no sessions, so none is found; to open one gives session 0, which is none.
func TestFetchSessions(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	for _, c := range []struct {
		id, epoch int32
		want      int16
	}{{0, -1, 0}, {0, 0, 0}, {5, 0, 0}, {5, -1, 0}, {5, 1, kerr.FetchSessionIDNotFound.Code}, {0, 3, kerr.FetchSessionIDNotFound.Code}} {
		req := fetchRequest(12, "t", 0, 0)
		req.SessionID, req.SessionEpoch = c.id, c.epoch
		resp := call[*kmsg.FetchResponse](r, req)
		require.Equal(t, c.want, resp.ErrorCode, "%+v", c)
		require.Zero(t, resp.SessionID)
		require.Equal(t, c.want == 0, len(resp.Topics) == 1)
	}
}

// KIP-595: a reader whose last record belongs to an epoch that ended earlier here is told where.
func TestFetchTellsDivergence(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	onePart(r, produceRequest(9, -1, "t", 0, batch("a", "b")))
	w.cluster.Lead("t", 0, 1)
	onePart(r, produceRequest(9, -1, "t", 0, batch("c", "d")))
	req := fetchRequest(12, "t", 0, 3)
	req.Topics[0].Partitions[0].LastFetchedEpoch = 1
	p := fetched(r, req)
	require.Zero(t, p.ErrorCode)
	require.Empty(t, p.RecordBatches)
	require.EqualValues(t, 1, p.DivergingEpoch.Epoch)
	require.EqualValues(t, 2, p.DivergingEpoch.EndOffset)
	req.Topics[0].Partitions[0].FetchOffset = 2
	p = fetched(r, req)
	require.EqualValues(t, -1, p.DivergingEpoch.Epoch)
	require.NotEmpty(t, p.RecordBatches)
	req.Topics[0].Partitions[0].LastFetchedEpoch = 0
	require.Equal(t, kerr.OffsetOutOfRange.Code, fetched(r, req).ErrorCode)
}

// Size limits hold except for the first batch of a response, without which a consumer would never
// get on.
func TestFetchSizes(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 2)
	r := w.raw(0)
	one := batch(strings.Repeat("x", 1000))
	for part := range int32(2) {
		w.cluster.Lead("t", part, 1)
		for range 10 {
			onePart(r, produceRequest(9, -1, "t", part, append([]byte(nil), one...)))
		}
	}
	sizes := func(maxBytes, partMax int32) (n [2]int) {
		req := fetchRequest(12, "t", 0, 0)
		req.MaxBytes = maxBytes
		second := req.Topics[0].Partitions[0]
		second.Partition = 1
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = partMax
		}
		resp := call[*kmsg.FetchResponse](r, req)
		for i, p := range resp.Topics[0].Partitions {
			require.Zero(t, p.ErrorCode)
			require.EqualValues(t, 10, p.HighWatermark)
			require.Zero(t, len(p.RecordBatches)%len(one))
			n[i] = len(p.RecordBatches) / len(one)
		}
		return n
	}
	size := int32(len(one))
	require.Equal(t, [2]int{10, 10}, sizes(1<<20, 1<<20))
	require.Equal(t, [2]int{3, 3}, sizes(1<<20, 3*size+5))
	require.Equal(t, [2]int{10, 2}, sizes(12*size, 1<<20))
	require.Equal(t, [2]int{1, 0}, sizes(5, 1<<20))
	require.Equal(t, [2]int{1, 0}, sizes(1<<20, 5))
	require.Equal(t, [2]int{1, 0}, sizes(-1, -1))
}

// A Fetch or ListOffsets for very many partitions ends with its connection, and does not hold Close
// up.
func TestLongReadEndsWithTheConnection(t *testing.T) {
	fetch, list := fetchRequest(12, "t", 0, 0), kmsg.NewPtrListOffsetsRequest()
	for range 10_000 {
		fetch.Topics[0].Partitions = append(fetch.Topics[0].Partitions, fetch.Topics[0].Partitions[0])
	}
	list.Version, list.ReplicaID = 6, -1
	list.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: make([]kmsg.ListOffsetsRequestTopicPartition, 10_000)}}
	for _, req := range []kmsg.Request{fetch, list} {
		t.Run(kmsg.NameForKey(req.Key()), func(t *testing.T) {
			w := loopback(t, 1, defaultConfig())
			w.createTopic("t", 1)
			reads := 0
			closed, begun := make(chan struct{}), make(chan struct{})
			w.cluster.SetFaults(kafkafake.Faults{BeforeRead: func(int32, string, int32, kafka.Reader) error {
				if reads++; reads == 3 {
					close(begun)
					<-closed
				}
				return nil
			}})
			r := w.raw(0)
			r.send(req)
			<-begun
			done := make(chan error)
			go func() { done <- w.servers[0].Close() }()
			r.closed()
			close(closed)
			require.NoError(t, <-done)
			require.Equal(t, 3, reads)
		})
	}
}

func TestFetchLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		consumer, producer := w.raw(0), w.raw(0)
		req := fetchRequest(12, "t", 0, 0)
		req.MaxWaitMillis = 5000

		start := time.Now()
		p := fetched(consumer, req)
		require.Empty(t, p.RecordBatches)
		require.InDelta(t, 5000, time.Since(start).Milliseconds(), 10, "MaxWait without data")

		start = time.Now()
		consumer.send(req)
		time.Sleep(2 * time.Second)
		onePart(producer, produceRequest(9, -1, "t", 0, batch("a")))
		_, resp := consumer.receive(req)
		require.InDelta(t, 2000, time.Since(start).Milliseconds(), 10, "woken by the commit")
		got, _ := values(t, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches)
		require.Equal(t, []string{"a"}, got)

		req.MinBytes = int32(3 * len(batch("a")))
		start = time.Now()
		consumer.send(req)
		for i := range 2 {
			time.Sleep(time.Second)
			onePart(producer, produceRequest(9, -1, "t", 0, batch(fmt.Sprint(i))))
		}
		_, resp = consumer.receive(req)
		require.InDelta(t, 2000, time.Since(start).Milliseconds(), 10, "woken by MinBytes")
		got, _ = values(t, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches)
		require.Equal(t, []string{"a", "0", "1"}, got)

		// Nothing is waited for that cannot come: more than MaxBytes, the partitions of a Fetch
		// without any, what comes after another history.
		nothing, full, diverged := fetchRequest(12, "t", 0, 0), fetchRequest(12, "t", 0, 0), fetchRequest(12, "t", 0, 5)
		nothing.Topics = nil
		full.MaxBytes = int32(len(batch("a")))
		diverged.Topics[0].Partitions[0].LastFetchedEpoch = 1
		for what, req := range map[string]*kmsg.FetchRequest{"no partitions": nothing, "full": full, "diverged": diverged} {
			req.MaxWaitMillis, req.MinBytes = 5000, 1<<20
			start = time.Now()
			call[*kmsg.FetchResponse](consumer, req)
			require.Less(t, time.Since(start), time.Second, what)
		}

		// Waiting ends when leadership does.
		req.Topics[0].Partitions[0].FetchOffset = 3
		consumer.send(req)
		time.Sleep(time.Second)
		w.cluster.Lead("t", 0, -1)
		_, resp = consumer.receive(req)
		require.Equal(t, kerr.NotLeaderForPartition.Code, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode)
	})
}

// zstd came with Fetch 10 (KIP-110): an older client is told, not fed.
func TestFetchHidesZstdFromOldClients(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	b := batch("v")
	b[22] = 4
	onePart(r, produceRequest(9, -1, "t", 0, seal(b)))
	require.Equal(t, kerr.UnsupportedCompressionType.Code, fetched(r, fetchRequest(9, "t", 0, 0)).ErrorCode)
	require.Zero(t, fetched(r, fetchRequest(10, "t", 0, 0)).ErrorCode)
}

func TestListOffsets(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	onePart(r, produceRequest(9, -1, "t", 0, batch("a", "b"))) // at 1000 ms
	ask := func(replica int32, timestamp int64, epoch int32, topic string) kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID = 5, replica
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.CurrentLeaderEpoch = timestamp, epoch
		tp := kmsg.NewListOffsetsRequestTopic()
		tp.Topic, tp.Partitions = topic, append(tp.Partitions, p)
		req.Topics = append(req.Topics, tp)
		return call[*kmsg.ListOffsetsResponse](r, req).Topics[0].Partitions[0]
	}
	require.EqualValues(t, 2, ask(-1, -1, -1, "t").Offset)
	require.EqualValues(t, 0, ask(-1, -2, 1, "t").Offset)
	require.EqualValues(t, 0, ask(-1, 900, -1, "t").Offset)
	require.EqualValues(t, -1, ask(-1, 1001, -1, "t").Offset)
	require.EqualValues(t, 1, ask(-1, -1, -1, "t").LeaderEpoch)
	require.Equal(t, kerr.FencedLeaderEpoch.Code, ask(-1, -1, 0, "t").ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask(-1, -1, -1, "nope").ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, ask(3, -1, -1, "t").ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, ask(-1, -3, -1, "t").ErrorCode, "max timestamp came with version 7")
}

// KIP-320: where an epoch ended; a refusal says nothing of an epoch or an offset.
func TestOffsetForLeaderEpoch(t *testing.T) {
	w := loopback(t, 2, defaultConfig())
	w.createTopic("t", 2) // node 1 leads partition 0, node 2 partition 1
	r := w.raw(0)
	onePart(r, produceRequest(9, -1, "t", 0, batch("a", "b")))
	w.cluster.Lead("t", 0, 1) // epoch 2
	onePart(r, produceRequest(9, -1, "t", 0, batch("c")))
	for _, c := range []struct {
		what                      string
		topic                     string
		partition, current, asked int32
		want                      error
		epoch                     int32
		end                       int64
	}{
		{"an earlier epoch", "t", 0, -1, 1, nil, 1, 2},
		{"the present epoch", "t", 0, 2, 2, nil, 2, 3},
		{"an epoch to come", "t", 0, 2, 9, nil, 2, 3},
		{"an epoch before the log", "t", 0, 2, 0, nil, -1, -1},
		{"a client of an old epoch", "t", 0, 1, 1, kerr.FencedLeaderEpoch, -1, -1},
		{"a client of a new epoch", "t", 0, 3, 1, kerr.UnknownLeaderEpoch, -1, -1},
		{"another's partition", "t", 1, -1, 1, kerr.NotLeaderForPartition, -1, -1},
		{"no such partition", "t", 7, -1, 1, kerr.UnknownTopicOrPartition, -1, -1},
		{"no such topic", "u", 0, -1, 1, kerr.UnknownTopicOrPartition, -1, -1},
	} {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version = 4
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: c.topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{
			{Partition: c.partition, CurrentLeaderEpoch: c.current, LeaderEpoch: c.asked},
		}}}
		got := call[*kmsg.OffsetForLeaderEpochResponse](r, req).Topics[0].Partitions[0]
		require.Equal(t, c.epoch, got.LeaderEpoch, c.what)
		require.Equal(t, c.end, got.EndOffset, c.what)
		require.ErrorIs(t, kerr.ErrorForCode(got.ErrorCode), c.want, c.what)
	}
}
