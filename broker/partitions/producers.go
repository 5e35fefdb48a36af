package partitions

import (
	"container/list"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Bounds of the state that idempotent producers cost.
const (
	producerBatches = 5    // remembered per producer and partition, Kafka's ProducerStateEntry.NUM_BATCHES_TO_RETAIN
	maxProducers    = 5000 // remembered per partition
)

// producers is one partition's memory of idempotent producers. It is a function of the log alone: the same prefix gives the same
// state on every replica and after every restart, the eviction included (the producer whose last batch is the oldest goes).
// The zero value is empty. The partition's lock guards it.
type producers struct {
	byID  map[int64]*list.Element // of *producer
	byAge list.List               // front: least recently appended
}

type producer struct {
	id      int64
	epoch   int16
	batches []producedBatch // oldest first, at most producerBatches
}

type producedBatch struct {
	baseSeq, lastSeq int32
	baseOffset       int64
	end              int64 // log position after the frame
}

// check decides about a batch that a client sent, by Kafka's rules (ProducerStateManager, ProducerAppendInfo):
// a repeated batch of the last five is a duplicate; an older producer epoch is INVALID_PRODUCER_EPOCH; a new epoch starts at
// sequence 0; else the sequence goes on without a gap, or it is OUT_OF_ORDER_SEQUENCE_NUMBER. A producer that the partition does
// not know may start anywhere, since its state may have been evicted or truncated away (Kafka does the same, KAFKA-14359).
func (ps *producers) check(h BatchHeader) (dup producedBatch, found bool, err error) {
	el := ps.byID[h.ProducerID]
	if el == nil {
		return producedBatch{}, false, nil
	}
	p := el.Value.(*producer)
	switch {
	case h.ProducerEpoch < p.epoch:
		return producedBatch{}, false, kerr.InvalidProducerEpoch
	case h.ProducerEpoch > p.epoch:
		if h.BaseSequence != 0 {
			return producedBatch{}, false, kerr.OutOfOrderSequenceNumber
		}
		return producedBatch{}, false, nil
	}
	for _, b := range p.batches {
		if b.baseSeq == h.BaseSequence && b.lastSeq == h.LastSequence() {
			return b, true, nil
		}
	}
	if h.BaseSequence != addSequence(p.batches[len(p.batches)-1].lastSeq, 1) {
		return producedBatch{}, false, kerr.OutOfOrderSequenceNumber
	}
	return producedBatch{}, false, nil
}

// record notes an appended batch. It does not judge it: what is in the log is in the log.
func (ps *producers) record(h BatchHeader, baseOffset, end int64) {
	b := producedBatch{baseSeq: h.BaseSequence, lastSeq: h.LastSequence(), baseOffset: baseOffset, end: end}
	el := ps.byID[h.ProducerID]
	if el == nil {
		if ps.byID == nil {
			ps.byID = make(map[int64]*list.Element)
		}
		ps.byID[h.ProducerID] = ps.byAge.PushBack(&producer{id: h.ProducerID, epoch: h.ProducerEpoch, batches: []producedBatch{b}})
		if len(ps.byID) > maxProducers {
			oldest := ps.byAge.Front()
			ps.byAge.Remove(oldest)
			delete(ps.byID, oldest.Value.(*producer).id)
		}
		return
	}
	p := el.Value.(*producer)
	ps.byAge.MoveToBack(el)
	if p.epoch != h.ProducerEpoch {
		p.epoch, p.batches = h.ProducerEpoch, p.batches[:0]
	}
	if len(p.batches) == producerBatches {
		copy(p.batches, p.batches[1:])
		p.batches = p.batches[:producerBatches-1]
	}
	p.batches = append(p.batches, b)
}
