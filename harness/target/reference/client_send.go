package reference

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// sequences number the batches of an idempotent producer. The zero sequences have no producer id
// yet.
type sequences struct {
	have  bool
	id    int64
	epoch int16
	next  map[int32]int32 // by partition
}

// send writes the values of op.
func (c *Client) send(ctx context.Context, op histories.Op) (histories.Op, error) {
	if len(op.Msgs) == 0 && op.Value < 0 {
		return op, notApplied("a send of no value")
	}
	if c.cfg.Options.Retries > 0 {
		return c.sendRetrying(ctx, op)
	}
	values := op.Sent()
	r, err := c.route(ctx, op.Part)
	if err != nil {
		return op, err
	}
	if r.leader < 0 {
		c.meta.stale = true
		return op, notApplied("partition %d has no leader", op.Part)
	}
	by := producer{id: -1, epoch: -1, sequence: -1}
	if c.cfg.Options.Idempotence {
		if by, err = c.producer(ctx, r.leader, op.Part); err != nil {
			return op, err
		}
	}
	op.Node = string(NodeName(r.leader))
	base, err := c.produce(ctx, r.leader, op.Part, encodeBatch(values, c.cfg.PayloadBytes, by, time.Now()))
	if movedOn(err) {
		c.meta.stale = true
	}
	if err != nil && !errors.Is(err, harness.ErrWeak) {
		for _, e := range sequenceErrors() {
			if errors.Is(err, e) {
				c.seqs = sequences{} // a new producer has no past to disagree about
			}
		}
		return op, err
	}
	if c.cfg.Options.Idempotence {
		c.seqs.next[op.Part] = by.sequence + int32(len(values)) // a client does not live long enough to wrap
	}
	if base >= 0 { // a weak answer may not say
		op.StoredAt(base)
	}
	return op, err
}

// producer returns the numbers for the next batch of a partition; it asks for a producer id when
// the client has none.
func (c *Client) producer(ctx context.Context, broker, partition int32) (producer, error) {
	if !c.seqs.have {
		req := kmsg.NewPtrInitProducerIDRequest()
		got, err := c.link.Broker(int(broker)).Request(ctx, req)
		if err != nil {
			c.meta.stale = true
			return producer{}, notApplied("asking n%d for a producer id: %w", broker, err)
		}
		resp := got.(*kmsg.InitProducerIDResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return producer{}, notApplied("asking n%d for a producer id: %w", broker, err)
		}
		c.seqs = sequences{have: true, id: resp.ProducerID, epoch: resp.ProducerEpoch, next: map[int32]int32{}}
	}
	return producer{id: c.seqs.id, epoch: c.seqs.epoch, sequence: c.seqs.next[partition]}, nil
}

// produce sends one Produce request at most once, and returns the base offset.
func (c *Client) produce(ctx context.Context, broker, partition int32, batch []byte) (int64, error) {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = c.cfg.Topic, append(t.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks = c.cfg.Options.Acks
	req.TimeoutMillis = int32(c.cfg.Timeout.Milliseconds())
	req.Topics = append(req.Topics, t)

	c.link.gate.openUp()
	got, err := c.link.Broker(int(broker)).Request(ctx, req)
	sent := c.link.gate.shut()
	switch {
	case err != nil && sent:
		return -1, err
	case err != nil:
		return -1, c.unsent(ctx, err)
	case c.cfg.Options.Acks == 0:
		return -1, ErrNoAck
	}
	resp := got.(*kmsg.ProduceResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != partition {
		return -1, errors.New("the answer is not about what was sent")
	}
	answer := &resp.Topics[0].Partitions[0]
	return answer.BaseOffset, produceError(answer.ErrorCode, answer.ErrorMessage)
}

// unsent is the error of a send of which no byte was written. When the op's time was over, kgo may
// still hold the request: its link is given up, so that the request meets a gate that never opens
// again.
func (c *Client) unsent(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if cerr := c.connect(); cerr != nil {
			return errors.Join(err, cerr)
		}
	}
	return notApplied("nothing was sent: %w", err)
}
