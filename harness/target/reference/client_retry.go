package reference

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/assay-project/assay/histories"
)

// producerOptions are kgo's own producer's, which sends when there are retries.
func (c *Client) producerOptions() []kgo.Opt {
	o := &c.cfg.Options
	if o.Retries == 0 {
		return []kgo.Opt{kgo.DisableIdempotentWrite()} // batches are numbered by hand
	}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(c.cfg.Topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordRetries(o.Retries),
		kgo.RecordDeliveryTimeout(c.cfg.Timeout),
		kgo.ProduceRequestTimeout(c.cfg.Timeout),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
	}
	if o.Idempotence {
		return append(opts, kgo.AllowIdempotentProduceCancellation()) // or an op could last for ever
	}
	return append(opts, kgo.DisableIdempotentWrite())
}

// sendRetrying sends with kgo's producer, which repeats what the broker refused. What it gives up
// on is unknown, because not every attempt's answer was seen, unless no attempt was sent at all.
// (Without a leader kgo asks the first seed: that is sent.)
func (c *Client) sendRetrying(ctx context.Context, op histories.Op) (histories.Op, error) {
	values := op.Sent()
	type result struct {
		i   int
		r   *kgo.Record
		err error
	}
	results := make(chan result, len(values))
	c.link.gate.openUp()
	for i, v := range values {
		r := &kgo.Record{Partition: op.Part, Value: appendPayload(nil, v, c.cfg.PayloadBytes), Timestamp: time.Now()}
		c.link.Produce(ctx, r, func(r *kgo.Record, err error) { results <- result{i, r, err} })
	}
	offsets := make([]int64, len(values))
	var failed error
	for range values {
		select {
		case got := <-results:
			if offsets[got.i] = got.r.Offset; got.err != nil {
				failed = got.err
			}
		case <-ctx.Done():
			failed = ctx.Err()
		}
		if failed != nil {
			break
		}
	}
	sent := c.link.gate.shut()
	switch {
	case failed != nil && sent:
		return op, failed
	case failed != nil:
		if err := c.connect(); err != nil { // whatever kgo still holds is dropped
			return op, errors.Join(failed, err)
		}
		return op, notApplied("nothing was sent: %w", failed)
	case c.cfg.Options.Acks == 0:
		return op, ErrNoAck
	}
	if len(op.Msgs) == 0 {
		op.Offset = offsets[0]
	}
	for i := range op.Msgs {
		op.Msgs[i].Offset = offsets[i]
	}
	return op, nil
}
