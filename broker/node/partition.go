package node

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/broker/replication"
)

var _ kafka.Partition = (*partition)(nil)

// partition is one local replica of a partition. It is a pair of handles, made for each request.
type partition struct {
	n    *Node
	log  replication.Log
	part *partitions.Partition
}

// Append implements kafka.Partition.
func (p *partition) Append(ctx context.Context, batch []byte, acks int16) (kafka.Appended, error) {
	a, err := p.log.Append(ctx, p.part, batch, acks == -1)
	p.n.metrics.produced(len(batch), err)
	if err != nil {
		return kafka.Appended{}, err
	}
	return kafka.Appended{BaseOffset: a.BaseOffset, Wait: a.Wait}, nil
}

// window is what a reader may see: offsets in [0, limit).
type window struct {
	view  replication.View
	limit int64
}

// open decides whether this replica may answer the reader, and how far.
func (p *partition) open(as kafka.Reader, leaderEpoch int32) (window, error) {
	v := p.log.View()
	switch {
	case leaderEpoch >= 0 && leaderEpoch < v.Epoch:
		return window{}, kerr.FencedLeaderEpoch
	case leaderEpoch > v.Epoch:
		return window{}, kerr.UnknownLeaderEpoch
	case v.Machine.Partition(p.part.Topic, p.part.Index) != p.part:
		return window{}, kerr.UnknownTopicOrPartition // deleted, or the log was truncated since the handle was made
	case v.Rebuilding:
		return window{}, kerr.OffsetNotAvailable
	case as == kafka.Scanner:
		return window{view: v, limit: p.part.LogEnd()}, nil
	case v.Readable:
		return window{view: v, limit: p.part.HighWatermark(v.Visible)}, nil
	case v.Leading || p.n.opts.FollowerRead:
		return window{}, kerr.OffsetNotAvailable
	}
	return window{}, kerr.NotLeaderForPartition
}

// stillThere makes sure that what was read under the window was not replaced meanwhile by a truncation.
func (p *partition) stillThere(w window) error {
	if v := p.log.View(); v.Machine != w.view.Machine || v.Rebuilding {
		return kerr.OffsetNotAvailable
	}
	return nil
}

// Read implements kafka.Partition.
func (p *partition) Read(as kafka.Reader, offset int64, maxBytes int, atLeastOne bool, leaderEpoch int32) (kafka.Fetched, error) {
	w, err := p.open(as, leaderEpoch)
	if err != nil {
		return kafka.Fetched{}, err
	}
	end := p.part.LogEnd()
	out := kafka.Fetched{Committed: w.limit, LogEnd: end}
	if offset > w.limit && !w.view.Leading && as == kafka.Consumer {
		return out, kerr.OffsetNotAvailable // a follower is behind; only the leader knows whether the offset exists
	}
	if offset < 0 || offset > end {
		return out, kerr.OffsetOutOfRange
	}
	size := 0
	entries := p.part.Batches(offset, w.limit, maxBytes)
	for _, e := range entries {
		size += int(e.Size)
	}
	if size > maxBytes && !atLeastOne {
		entries, size = nil, 0
	}
	out.Batches = make([]byte, 0, size)
	for _, e := range entries {
		b, err := p.batch(e)
		if err != nil {
			if e := p.stillThere(w); e != nil {
				return kafka.Fetched{}, e
			}
			return kafka.Fetched{}, err
		}
		out.Batches = append(out.Batches, b...)
	}
	p.n.metrics.fetched(len(out.Batches))
	return out, p.stillThere(w)
}

// batch reads one batch from the log.
func (p *partition) batch(e partitions.Entry) ([]byte, error) {
	f, err := p.log.ReadFrame(e.Start)
	if err != nil {
		return nil, fmt.Errorf("read %s-%d at offset %d: %w: %w", p.part.Name, p.part.Index, e.BaseOffset, kerr.KafkaStorageError, err)
	}
	b, _, err := partitions.DecodeBatchPayload(f.Payload)
	if err == nil && (b.Topic != p.part.Topic || b.Partition != p.part.Index || b.BaseOffset != e.BaseOffset) {
		err = fmt.Errorf("position %d holds another batch", e.Start)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s-%d at offset %d: %w: %w", p.part.Name, p.part.Index, e.BaseOffset, kerr.KafkaStorageError, err)
	}
	return b.Batch, nil
}

// Offsets implements kafka.Partition.
func (p *partition) Offsets(as kafka.Reader, timestamp int64, leaderEpoch int32) (kafka.Listed, error) {
	w, err := p.open(as, leaderEpoch)
	if err != nil {
		return kafka.Listed{}, err
	}
	switch timestamp {
	case -1:
		return kafka.Listed{Timestamp: -1, Offset: w.limit, LeaderEpoch: w.view.Epoch}, nil
	case -2:
		return kafka.Listed{Timestamp: -1, Offset: 0, LeaderEpoch: p.part.EpochAt(0)}, nil
	}
	e, found := p.part.AtTime(timestamp, w.limit)
	if !found {
		return kafka.Listed{Timestamp: -1, Offset: -1, LeaderEpoch: -1}, nil
	}
	b, err := p.batch(e)
	if err != nil {
		return kafka.Listed{}, err
	}
	at, offset := recordAt(b, e, timestamp)
	return kafka.Listed{Timestamp: at, Offset: offset, LeaderEpoch: p.part.EpochAt(e.BaseOffset)}, p.stillThere(w)
}

// recordAt finds the first record of a batch whose timestamp (ms) is at least the given one. In a compressed batch it is the first
// record: the broker does not unpack, and a consumer that starts too early misses nothing.
func recordAt(batch []byte, e partitions.Entry, timestamp int64) (at, offset int64) {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(batch); err != nil || b.Attributes&7 != 0 {
		return e.MaxTimestamp, e.BaseOffset
	}
	records := b.Records
	for range b.NumRecords {
		length, n := varint(records)
		if n <= 0 || length < 0 || int64(length) > int64(len(records)-n) {
			break
		}
		var r kmsg.Record
		if err := r.ReadFrom(records[:n+int(length)]); err != nil {
			break
		}
		records = records[n+int(length):]
		if at := b.FirstTimestamp + r.TimestampDelta64; at >= timestamp {
			return at, e.BaseOffset + int64(r.OffsetDelta)
		}
	}
	return e.MaxTimestamp, e.BaseOffset
}

// varint reads a zigzag varint, as record lengths are.
func varint(b []byte) (v int32, n int) {
	var u uint32
	for n < len(b) && n < 5 {
		c := b[n]
		u |= uint32(c&0x7f) << (7 * n)
		n++
		if c < 0x80 {
			return int32(u>>1) ^ -int32(u&1), n
		}
	}
	return 0, 0
}

// EpochEnd implements kafka.Partition. Only a leader answers, whatever followers may serve: the epoch ends earlier in the log of one that lags behind or
// joins, and a consumer that believed it would go back, or skip.
func (p *partition) EpochEnd(epoch, leaderEpoch int32) (foundEpoch int32, endOffset int64, err error) {
	v := p.log.View()
	switch {
	case leaderEpoch >= 0 && leaderEpoch < v.Epoch:
		return -1, -1, kerr.FencedLeaderEpoch
	case leaderEpoch > v.Epoch:
		return -1, -1, kerr.UnknownLeaderEpoch
	case !v.Leading:
		return -1, -1, kerr.NotLeaderForPartition
	case v.Machine.Partition(p.part.Topic, p.part.Index) != p.part:
		return -1, -1, kerr.UnknownTopicOrPartition
	}
	found, end := p.part.EpochEnd(epoch)
	return found, end, nil
}
