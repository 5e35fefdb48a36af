package reference

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/histories"
)

const (
	pollWait  = 100 * time.Millisecond // how long a broker may wait for messages before it says that there are none
	pollBytes = 256 << 10
	readBytes = 4 << 20 // of a chunk of a final read or scan
	readMost  = 100_000 // messages of one final read or scan, or a few more: each is a line of the history, which has a bound

	replicaConsumer = -1
	replicaScanner  = -2 // reads a replica, whatever its role, to its log end: see broker/kafka.Scanner
)

// fetch is one Fetch of one partition from one broker.
type fetch struct {
	broker    int32
	replica   int32 // replicaConsumer or replicaScanner
	partition int32
	from      int64
	epoch     int32 // the leader's, as the client knows it; -1: not checked
	wait      time.Duration
	bytes     int32
}

// do returns the messages from f.from on and the high watermark. Its errors are ErrNotApplied: a read that failed changed nothing.
func (c *Client) do(ctx context.Context, f fetch) ([]histories.Message, int64, error) {
	msgs, hw, err := c.tryFetch(ctx, f)
	if err == nil {
		return msgs, hw, nil
	}
	if movedOn(err) {
		c.meta.stale = true
	}
	return nil, histories.Unset, notApplied("reading partition %d from n%d at offset %d: %w", f.partition, f.broker, f.from, err)
}

func (c *Client) tryFetch(ctx context.Context, f fetch) ([]histories.Message, int64, error) {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = f.partition, f.from, f.epoch, f.bytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = c.cfg.Topic, append(t.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = f.replica
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(f.wait.Milliseconds()), 1, f.bytes
	req.Topics = append(req.Topics, t)
	got, err := c.link.Broker(int(f.broker)).Request(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	resp := got.(*kmsg.FetchResponse)
	if resp.ErrorCode != 0 {
		return nil, 0, codeError(resp.ErrorCode, nil)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != f.partition {
		return nil, 0, fmt.Errorf("the answer is not about what was asked")
	}
	answer := &resp.Topics[0].Partitions[0]
	if answer.ErrorCode != 0 {
		return nil, 0, codeError(answer.ErrorCode, nil)
	}
	msgs, err := decodeBatches(nil, answer.RecordBatches, f.from)
	return msgs, answer.HighWatermark, err
}

// poll reads what follows op.From, once.
func (c *Client) poll(ctx context.Context, op histories.Op) (histories.Op, error) {
	f, err := c.whom(ctx, op)
	if err != nil {
		return op, err
	}
	f.wait, f.bytes = pollWait, pollBytes
	op.Node = string(NodeName(f.broker))
	op.Msgs, op.HW, err = c.do(ctx, f)
	return op, err
}

// whom decides which broker a read asks: the node that op names, or else the leader or, where the options say so and the read is one under
// load, a follower.
func (c *Client) whom(ctx context.Context, op histories.Op) (fetch, error) {
	f := fetch{replica: replicaConsumer, partition: op.Part, from: max(op.From, 0), epoch: -1}
	if op.F == histories.Scan {
		f.replica = replicaScanner
	}
	if op.Node != "" || op.F == histories.Scan {
		id, err := brokerID(op.Node)
		f.broker = id
		return f, err
	}
	r, err := c.route(ctx, op.Part)
	if err != nil {
		return f, err
	}
	if c.cfg.Options.ReadFollower && op.F == histories.Poll {
		followers := slices.DeleteFunc(slices.Clone(r.replicas), func(id int32) bool { return id == r.leader })
		if len(followers) > 0 {
			c.turn++
			f.broker = followers[c.turn%len(followers)]
			return f, nil
		}
	}
	if r.leader < 0 {
		c.meta.stale = true
		return f, notApplied("partition %d has no leader", op.Part)
	}
	f.broker, f.epoch = r.leader, r.epoch
	return f, nil
}

// readToEnd reads from op.From to the end: the high watermark or, for a scan, the replica's log end. What was read before ctx ended or a
// chunk failed is a good answer too, and so is readMost: a prefix, with the end that it did not reach.
func (c *Client) readToEnd(ctx context.Context, op histories.Op) (histories.Op, error) {
	f, err := c.whom(ctx, op)
	if err != nil {
		return op, err
	}
	f.bytes = readBytes
	op.Node, op.Msgs = string(NodeName(f.broker)), nil
	for first := true; ; first = false {
		msgs, end, err := c.do(ctx, f)
		if err != nil && first {
			return op, err
		}
		if err != nil {
			return op, nil
		}
		op.Msgs, op.HW = append(op.Msgs, msgs...), end
		if len(msgs) > 0 {
			f.from = msgs[len(msgs)-1].Offset + 1
		}
		if f.from >= end || len(msgs) == 0 || len(op.Msgs) >= readMost {
			return op, nil
		}
	}
}
