package kafka

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func fetchAPI() api {
	topic := []field{str().upTo(12), bytesN(16).from(13)}
	partition := list(bytesN(4), bytesN(4).from(9), bytesN(8), bytesN(4).from(12), bytesN(8).from(5), bytesN(4))
	return api{
		key: keyFetch, min: 4, max: 13,
		schema: schema{
			fields: []field{
				bytesN(4 + 4 + 4 + 4 + 1), bytesN(4 + 4).from(7),
				list(append(topic[:2:2], partition)...),
				list(append(topic[:2:2], plainList(bytesN(4)))...).from(7),
				str().from(11),
			},
			flexible: 12, refused: 1, // the state of a fetching broker
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrFetchRequest() },
		handle:  handler(fetch),
	}
}

// Replica ids in Fetch and ListOffsets that are not brokers.
const (
	replicaConsumer = -1
	replicaScanner  = -2
)

// readerOf says on whose behalf a request with that replica id reads. Brokers replicate by a protocol of their own.
func readerOf(replica int32) (Reader, error) {
	switch replica {
	case replicaConsumer:
		return Consumer, nil
	case replicaScanner:
		return Scanner, nil
	}
	return Consumer, refuse(kerr.InvalidRequest, "replica id %d: brokers do not fetch here", replica)
}

// fetch answers at once when there are MinBytes, an error or a divergence to report, and otherwise when there are or when
// MaxWait is over. For a Scanner the high watermark in the answer is the replica's log end, which is how far it may read.
func fetch(ctx context.Context, s *Server, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	// A client that opens a session (epoch 0) is told session 0, that is none, as by a broker with a full session cache, and goes on
	// with full requests (KIP-227).
	if req.SessionEpoch > 0 || req.SessionEpoch < -1 {
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = req.Version
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		return resp
	}
	wait := min(time.Duration(max(req.MaxWaitMillis, 0))*time.Millisecond, s.cfg.IdleTimeout)
	var over *time.Timer // made by the first wait: most fetches need none
	for {
		progress := s.backend.Progress()
		f := fetching{s: s, req: req, left: min(max(int(req.MaxBytes), 0), s.cfg.MaxFetchBytes)}
		resp := f.read(ctx)
		if wait == 0 || f.urgent || f.partitions == 0 || f.bytes >= int(req.MinBytes) || f.left == 0 {
			return resp
		}
		if over == nil {
			over = time.NewTimer(wait)
			defer over.Stop()
		}
		select {
		case <-progress:
		case <-over.C:
			return resp
		case <-ctx.Done():
			return resp
		}
	}
}

// fetching is one pass over what a Fetch asks for.
type fetching struct {
	s          *Server
	req        *kmsg.FetchRequest
	left       int  // bytes that the response may still take
	bytes      int  // bytes found
	partitions int  // asked for
	urgent     bool // something is to be answered without waiting
}

// read stops when ctx ends: a request may ask for a hundred thousand partitions.
func (f *fetching) read(ctx context.Context) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = f.req.Version
	for i := range f.req.Topics {
		asked := &f.req.Topics[i]
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = asked.Topic, asked.TopicID
		for j := range asked.Partitions {
			if ctx.Err() != nil {
				return resp
			}
			f.partitions++
			t.Partitions = append(t.Partitions, f.partition(asked, &asked.Partitions[j]))
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// partition reads one partition.
func (f *fetching) partition(t *kmsg.FetchRequestTopic, p *kmsg.FetchRequestTopicPartition) kmsg.FetchResponseTopicPartition {
	out := kmsg.NewFetchResponseTopicPartition()
	out.Partition, out.HighWatermark = p.Partition, -1
	out.DivergingEpoch.Default()
	out.CurrentLeader.Default()
	out.SnapshotID.Default()
	out.RecordBatches = []byte{} // sarama cannot read null
	if err := f.fill(&out, t, p); err != nil {
		f.urgent = true
		out.ErrorCode = f.s.code(err)
	}
	return out
}

func (f *fetching) fill(out *kmsg.FetchResponseTopicPartition, t *kmsg.FetchRequestTopic, p *kmsg.FetchRequestTopicPartition) error {
	as, err := readerOf(f.req.ReplicaID)
	if err != nil {
		return err
	}
	if f.req.Version >= 13 && t.TopicID == uuid.Nil {
		return refuse(kerr.UnknownTopicID, "a topic without id")
	}
	replica, err := f.s.backend.Partition(t.Topic, t.TopicID, p.Partition) // a request has the one or the other
	if err != nil {
		return err
	}
	if p.LastFetchedEpoch >= 0 {
		diverged, err := f.divergence(out, replica, p)
		if err != nil || diverged {
			return err
		}
	}
	limit := min(f.left, max(int(p.PartitionMaxBytes), 0))
	// Only the first batch of a response may be larger than the limits, so that a consumer always gets on. What does not fit any more comes with
	// the next request.
	got, err := replica.Read(as, p.FetchOffset, limit, f.bytes == 0, p.CurrentLeaderEpoch)
	if err != nil {
		return err
	}
	if f.req.Version < 10 && hasZstd(got.Batches) {
		return refuse(kerr.UnsupportedCompressionType, "zstd needs Fetch version 10, not %d", f.req.Version)
	}
	out.HighWatermark, out.LogStartOffset = got.Committed, got.LogStart
	if as == Scanner {
		out.HighWatermark = got.LogEnd
	}
	out.LastStableOffset = out.HighWatermark // there are no transactions
	if len(got.Batches) > 0 {
		out.RecordBatches = got.Batches
		f.bytes += len(got.Batches)
		f.left = max(f.left-len(got.Batches), 0)
	}
	return nil
}

// divergence tells a reader that stated the epoch of its last record where its log and this one part (KIP-595), if they do.
func (f *fetching) divergence(out *kmsg.FetchResponseTopicPartition, replica Partition, p *kmsg.FetchRequestTopicPartition) (bool, error) {
	epoch, end, err := replica.EpochEnd(p.LastFetchedEpoch, p.CurrentLeaderEpoch)
	if err != nil {
		return false, err
	}
	if epoch < 0 || end < 0 {
		return false, refuse(kerr.OffsetOutOfRange, "epoch %d is older than the log", p.LastFetchedEpoch)
	}
	if epoch >= p.LastFetchedEpoch && end >= p.FetchOffset {
		return false, nil
	}
	f.urgent = true
	out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = epoch, end
	return true, nil
}

// hasZstd says whether any of the batches is compressed with zstd, which clients before KIP-110 cannot read.
func hasZstd(batches []byte) bool {
	for len(batches) >= batchHeaderLen {
		if codec(batches) == codecZstd {
			return true
		}
		size := batchPrefix + int64(int32(binary.BigEndian.Uint32(batches[8:])))
		if size < batchHeaderLen || size > int64(len(batches)) {
			return false
		}
		batches = batches[size:]
	}
	return false
}
