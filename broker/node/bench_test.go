package node

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkProduce measures acknowledged messages per second: three nodes of this process on loopback, 1 KiB, one record per request,
// copies=2, from one client.
func BenchmarkProduce(b *testing.B) {
	for _, flush := range []string{"async", "sync"} {
		for _, inFlight := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("flush=%s/in-flight=%d", flush, inFlight), func(b *testing.B) { benchProduce(b, flush, inFlight) })
		}
	}
}

func benchProduce(b *testing.B, flush string, inFlight int) {
	var members []Member
	for i := range 3 {
		members = append(members, Member{ID: int32(i + 1), Kafka: freeAddr(b), Peer: freeAddr(b)})
	}
	for _, m := range members {
		env, err := OSEnv(b.TempDir(), slog.New(slog.DiscardHandler))
		require.NoError(b, err)
		n, err := New(Config{ID: m.ID, Listen: m.Kafka, Peer: m.Peer, Nodes: members,
			Options: map[string]string{"replication": "sync", "copies": "2", "flush": flush, "partitions": "1"}}, env)
		require.NoError(b, err)
		require.NoError(b, n.Start(context.Background()))
		defer func() { require.NoError(b, n.Stop(context.Background())) }()
		if m.ID == 3 {
			require.Eventually(b, func() bool { s := n.Status(); return !s.Joining && s.Epoch > 0 }, 20*time.Second, time.Millisecond)
		}
	}
	ctx := context.Background()
	cl, err := kgo.NewClient(kgo.SeedBrokers(members[0].Kafka))
	require.NoError(b, err)
	defer cl.Close()
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, -1
	create.Topics = append(create.Topics, topic)
	_, err = create.RequestWith(ctx, cl)
	require.NoError(b, err)
	require.Eventually(b, func() bool { return produceOne(ctx, cl) == nil }, 20*time.Second, time.Millisecond)

	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range inFlight {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for left.Add(-1) >= 0 {
				if err := produceOne(ctx, cl); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func produceOne(ctx context.Context, cl *kgo.Client) error {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = "t"
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = oneRecord(1024)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := cl.Broker(1).Request(ctx, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

// oneRecord makes a record batch of one record.
func oneRecord(size int) []byte {
	r := kmsg.NewRecord()
	r.Value = make([]byte, size)
	raw := r.AppendTo(nil)
	r.Length = int32(len(raw) - 1) // the length field of zero took one byte
	raw = r.AppendTo(nil)
	batch := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: raw,
		FirstTimestamp: 1, MaxTimestamp: 1}
	batch.Length = int32(len(batch.AppendTo(nil)) - 12)
	b := batch.AppendTo(nil)
	batch.CRC = int32(crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch.AppendTo(nil)
}
