package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func produceAPI() api {
	partition := []field{bytesN(4), {kind: blob}}
	return api{
		key: keyProduce, min: 0, max: 9,
		schema: schema{
			fields:   []field{str().from(3), bytesN(2), bytesN(4), list(str(), list(partition...))},
			flexible: 9, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrProduceRequest() },
	}
}

// The values of acks in a Produce request.
const (
	acksAll    int16 = -1
	acksNone   int16 = 0
	acksLeader int16 = 1
)

// maxProduceTimeout bounds what a client may ask for.
const maxProduceTimeout = 5 * time.Minute

// maxPipelined is how many topics and partitions a Produce may have for others to be started before it is answered: what is known of a
// partition that waits takes some 250 bytes, an error's text included.
const maxPipelined = 512

// stored is what became of one partition of a Produce request so far.
type stored struct {
	appended Appended
	err      error
}

// startProduce appends the batches of a request in order; the responses wait for their acknowledgement later. With acks=0 there is
// never a response; like Kafka, an error then closes the connection, which is how such a client learns that it should ask for
// metadata again.
func (c *conn) startProduce(h header, req *kmsg.ProduceRequest) (*pending, bool) {
	timeout := min(time.Duration(max(req.TimeoutMillis, 0))*time.Millisecond, maxProduceTimeout)
	deadline := time.Now().Add(timeout)
	results := make([][]stored, len(req.Topics))
	failed := false
	elements := len(req.Topics)
	for i := range req.Topics {
		t := &req.Topics[i]
		elements += len(t.Partitions)
		results[i] = make([]stored, len(t.Partitions))
		for j := range t.Partitions {
			r := c.s.append(req, t.Topic, &t.Partitions[j])
			failed = failed || r.err != nil
			results[i][j] = r
			t.Partitions[j].Records = nil // it is the backend's now
		}
	}
	if req.Acks == acksNone {
		if !failed {
			return nil, true
		}
		return &pending{header: h}, false
	}
	p := &pending{
		header: h,
		complete: func(ctx context.Context) kmsg.Response {
			ctx, cancel := context.WithDeadline(ctx, deadline)
			defer cancel()
			return c.s.produced(ctx, req, results)
		},
	}
	if elements > maxPipelined {
		p.done = make(chan struct{})
	}
	return p, true
}

// append validates and stores one batch.
func (s *Server) append(req *kmsg.ProduceRequest, topic string, p *kmsg.ProduceRequestTopicPartition) stored {
	switch req.Acks {
	case acksAll, acksNone, acksLeader:
	default:
		return stored{err: refuse(kerr.InvalidRequiredAcks, "acks is %d; use -1, 0 or 1", req.Acks)}
	}
	if req.TransactionID != nil {
		return stored{err: refuse(kerr.InvalidTxnState, "transactional id %q: transactions are not supported", *req.TransactionID)}
	}
	if err := ValidateBatch(p.Records, s.cfg.MaxMessageBytes); err != nil {
		return stored{err: err}
	}
	if codec(p.Records) == codecZstd && req.Version < 7 {
		return stored{err: refuse(kerr.UnsupportedCompressionType, "zstd needs Produce version 7, not %d", req.Version)}
	}
	replica, err := s.backend.Partition(topic, uuid.Nil, p.Partition)
	if err != nil {
		return stored{err: err}
	}
	a, err := replica.Append(s.ctx, p.Records, req.Acks)
	return stored{appended: a, err: err}
}

// produced waits for what was stored and makes the response. The waits of one request end by one deadline, the client's.
func (s *Server) produced(ctx context.Context, req *kmsg.ProduceRequest, results [][]stored) kmsg.Response {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = req.Version
	for i := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			r := &results[i][j]
			if r.err == nil && r.appended.Wait != nil {
				r.err = r.appended.Wait(ctx)
				if r.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(r.err, context.DeadlineExceeded) {
					r.err = refuse(kerr.RequestTimedOut, "not acknowledged within the client's timeout of %d ms", req.TimeoutMillis)
				}
			}
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition = req.Topics[i].Partitions[j].Partition
			p.ErrorCode, p.ErrorMessage = s.codeOf(r.err)
			p.BaseOffset = -1
			if r.err == nil || errors.Is(r.err, kerr.NotEnoughReplicasAfterAppend) {
				p.BaseOffset, p.LogStartOffset = r.appended.BaseOffset, r.appended.LogStart
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
