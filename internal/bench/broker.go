package bench

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/broker/node"
)

const (
	benchTopic   = "bench"
	benchNodes   = 3
	benchConns   = 16 // connections that requests in flight share
	benchTimeout = 30 * time.Second
)

// Broker starts three nodes of the reference broker on loopback, with their data in dir and
// replication=sync copies=2, and sends records to the leader.
func Broker(ctx context.Context, l Load, dir, flush string) (m Measured, err error) {
	ctx, cancel := context.WithTimeout(ctx, benchTimeout+2*l.Time)
	defer cancel()
	cluster, err := startBenchNodes(ctx, dir, flush)
	defer func() { err = errors.Join(err, cluster.stop()) }()
	if err != nil {
		return Measured{}, err
	}
	var clients []*kgo.Client
	defer func() {
		for _, cl := range clients {
			cl.Close()
		}
	}()
	for range min(l.InFlight, benchConns) {
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.bootstrap), kgo.RequestRetries(0))
		if err != nil {
			return Measured{}, fmt.Errorf("a client: %w", err)
		}
		clients = append(clients, cl)
	}
	if err := awaitTopic(ctx, clients[0]); err != nil {
		return Measured{}, err
	}
	body := recordBatch(make([]byte, l.Size))
	for { // until the leader has its followers
		if err = produce(ctx, clients[0].Broker(1), body); err == nil {
			break
		}
		if ctx.Err() != nil {
			return Measured{}, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	senders := make([]func() error, l.InFlight)
	for i := range senders {
		cl := clients[i%len(clients)].Broker(1)
		senders[i] = func() error { return produce(ctx, cl, body) }
	}
	return drive(ctx, senders, l.Time)
}

// benchCluster is nodes in this process.
type benchCluster struct {
	nodes     []*node.Node
	bootstrap string
}

func (c *benchCluster) stop() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.Stop(context.Background()))
	}
	return errors.Join(errs...)
}

// startBenchNodes returns what it started, also with an error.
func startBenchNodes(ctx context.Context, dir, flush string) (*benchCluster, error) {
	c := &benchCluster{}
	addrs, err := FreeAddresses(2 * benchNodes)
	if err != nil {
		return c, err
	}
	c.bootstrap = addrs[0]
	var members []node.Member
	for i := range benchNodes {
		members = append(members, node.Member{ID: int32(i + 1), Kafka: addrs[2*i], Peer: addrs[2*i+1]})
	}
	for _, m := range members {
		env, err := node.OSEnv(filepath.Join(dir, strconv.Itoa(int(m.ID))), slog.New(slog.DiscardHandler))
		if err != nil {
			return c, err
		}
		n, err := node.New(node.Config{
			Cluster: "bench", ID: m.ID, Mode: node.ModeMasterSlave, Listen: m.Kafka, Peer: m.Peer, Nodes: members,
			Options: map[string]string{"replication": "sync", "copies": "2", "flush": flush, "partitions": "1"},
		}, env)
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
		if err := n.Start(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// FreeAddresses returns loopback addresses that were free a moment ago.
func FreeAddresses(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("a free port: %w", err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// awaitTopic creates the topic as soon as the cluster takes it.
func awaitTopic(ctx context.Context, cl *kgo.Client) error {
	for {
		req := kmsg.NewPtrCreateTopicsRequest()
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = benchTopic, 1, -1
		req.Topics, req.TimeoutMillis = append(req.Topics, topic), 5000
		resp, err := req.RequestWith(ctx, cl)
		if err == nil && len(resp.Topics) == 1 {
			if err = kerr.ErrorForCode(resp.Topics[0].ErrorCode); err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
				return nil
			}
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("the cluster took no topic: %w", errors.Join(ctx.Err(), err))
		case <-timer.C:
		}
	}
}

// produce sends one batch and waits for its acknowledgement by acks=all.
func produce(ctx context.Context, broker *kgo.Broker, batch []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(benchTimeout.Milliseconds())
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = batch
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = benchTopic, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := broker.Request(ctx, req)
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	for _, t := range resp.(*kmsg.ProduceResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("produce: %w", err)
			}
		}
	}
	return nil
}

// recordBatch is a batch of one record, as a producer without an id writes it.
func recordBatch(value []byte) []byte {
	record := kmsg.NewRecord()
	record.Value = value
	record.Length = int32(len(record.AppendTo(nil)) - 1) // a length of zero takes one byte
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1,
		Records: record.AppendTo(nil), FirstTimestamp: 1, MaxTimestamp: 1,
	}
	const beforeLength, beforeCRC = 12, 21 // bytes of the header that length and checksum do not cover
	batch.Length = int32(len(batch.AppendTo(nil)) - beforeLength)
	batch.CRC = int32(crc32.Checksum(batch.AppendTo(nil)[beforeCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return batch.AppendTo(nil)
}
