package partitions

import (
	"fmt"
	"sort"
	"sync"

	"github.com/google/uuid"
)

// indexChunk is the number of entries per allocation of an index: no copying as it grows.
const indexChunk = 1024

// Entry is one batch in a partition's index.
type Entry struct {
	BaseOffset   int64
	MaxTimestamp int64 // ms; the greatest of this batch and those before it
	Start        int64 // log position of the frame
	Size         int32 // of the frame: Start+Size is the position after it
	LastDelta    int32 // BaseOffset+LastDelta is the last offset
}

// End is the log position after the frame.
func (e Entry) End() int64 { return e.Start + int64(e.Size) }

// Next is the first offset after the batch.
func (e Entry) Next() int64 { return e.BaseOffset + int64(e.LastDelta) + 1 }

// epochStart is one line of a partition's epoch table (KIP-101's LeaderEpochSequence).
type epochStart struct {
	epoch int32
	start int64
}

// Partition is what the log says of one partition. One goroutine applies frames (through the Machine), any number may read.
type Partition struct {
	Topic uuid.UUID
	Name  string
	Index int32

	mu        sync.RWMutex // guards what follows; held for in-memory work only
	chunks    [][]Entry    // every chunk but the last has indexChunk entries
	count     int
	next      int64 // log end offset
	epochs    []epochStart
	producers producers
}

func (p *Partition) at(i int) Entry { return p.chunks[i/indexChunk][i%indexChunk] }

// LogEnd is the offset of the next record.
func (p *Partition) LogEnd() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.next
}

// HighWatermark is the first offset that is not below log position committed.
func (p *Partition) HighWatermark(committed int64) int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.highWatermark(committed)
}

func (p *Partition) highWatermark(committed int64) int64 {
	if p.count == 0 || p.at(p.count-1).End() <= committed {
		return p.next
	}
	i := sort.Search(p.count, func(i int) bool { return p.at(i).End() > committed })
	return p.at(i).BaseOffset
}

// Batches returns the index entries from the batch that contains offset on: those below limit, up to maxBytes of frames in
// sum but at least one.
func (p *Partition) Batches(offset, limit int64, maxBytes int) []Entry {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var out []Entry
	i := sort.Search(p.count, func(i int) bool { return p.at(i).Next() > offset })
	for sum := 0; i < p.count; i++ {
		e := p.at(i)
		sum += int(e.Size)
		if e.Next() > limit || len(out) > 0 && sum > maxBytes {
			break
		}
		out = append(out, e)
	}
	return out
}

// AtTime returns the first batch below limit whose greatest timestamp is at least timestamp (ms); it is the first at which MaxTimestamp is, and
// MaxTimestamp is its own.
func (p *Partition) AtTime(timestamp, limit int64) (Entry, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := sort.Search(p.count, func(i int) bool { return p.at(i).MaxTimestamp >= timestamp })
	if i == p.count || p.at(i).Next() > limit {
		return Entry{}, false
	}
	return p.at(i), true
}

// EpochEnd returns the greatest known epoch that is not above epoch and the offset at which it ended (OffsetForLeaderEpoch,
// KIP-101); -1 and -1 when there is none.
func (p *Partition) EpochEnd(epoch int32) (found int32, end int64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := sort.Search(len(p.epochs), func(i int) bool { return p.epochs[i].epoch > epoch })
	switch {
	case i == 0:
		return -1, -1
	case i == len(p.epochs):
		return p.epochs[i-1].epoch, p.next
	}
	return p.epochs[i-1].epoch, p.epochs[i].start
}

// EpochAt returns the epoch in which the batch at offset was written, -1 when unknown.
func (p *Partition) EpochAt(offset int64) int32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := sort.Search(len(p.epochs), func(i int) bool { return p.epochs[i].start > offset })
	if i == 0 {
		return -1
	}
	return p.epochs[i-1].epoch
}

// Duplicate is a batch that the partition has already.
type Duplicate struct {
	BaseOffset int64
	End        int64 // log position after its frame
}

// CheckProducer decides whether a batch of an idempotent producer may be appended: see producers.check. Only the goroutine that
// applies may act on the answer, since the next frame changes it.
func (p *Partition) CheckProducer(h BatchHeader) (Duplicate, bool, error) {
	if h.ProducerID < 0 {
		return Duplicate{}, false, nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	b, found, err := p.producers.check(h)
	return Duplicate{BaseOffset: b.baseOffset, End: b.end}, found, err
}

// apply adds a batch that is in the log.
func (p *Partition) apply(f Frame, base int64, h BatchHeader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if base != p.next {
		return fmt.Errorf("%w: %s-%d: batch at offset %d, expected %d", ErrPayload, p.Name, p.Index, base, p.next)
	}
	e := Entry{BaseOffset: base, MaxTimestamp: h.MaxTimestamp, Start: f.Start, Size: int32(f.End - f.Start), LastDelta: h.LastOffsetDelta}
	if p.count > 0 {
		e.MaxTimestamp = max(e.MaxTimestamp, p.at(p.count-1).MaxTimestamp)
	}
	if p.count%indexChunk == 0 {
		p.chunks = append(p.chunks, make([]Entry, 0, firstChunk(p.count)))
	}
	last := len(p.chunks) - 1
	p.chunks[last] = append(p.chunks[last], e)
	p.count++
	p.enterEpoch(f.Epoch)
	p.next = e.Next()
	if h.ProducerID >= 0 {
		p.producers.record(h, base, f.End)
	}
	return nil
}

// firstChunk keeps small partitions small.
func firstChunk(count int) int {
	if count == 0 {
		return 16
	}
	return indexChunk
}

// enterEpoch notes that what follows is written in epoch. An epoch without a batch leaves no line, as in Kafka's
// LeaderEpochFileCache.
func (p *Partition) enterEpoch(epoch int32) {
	n := len(p.epochs)
	if n > 0 && p.epochs[n-1].epoch >= epoch {
		return
	}
	if n > 0 && p.epochs[n-1].start == p.next {
		p.epochs[n-1].epoch = epoch
		return
	}
	p.epochs = append(p.epochs, epochStart{epoch: epoch, start: p.next})
}

func (p *Partition) startEpoch(epoch int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enterEpoch(epoch)
}
