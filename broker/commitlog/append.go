package commitlog

import (
	"fmt"
	"time"
)

// writeBatch is how many bytes AppendRaw writes at once, at least, if there are so many.
const writeBatch = 1 << 20

// Append adds one frame, for the leader. Epochs never decrease. The returned Frame's Payload is the caller's slice, of which the log
// keeps nothing. The frame is readable at once, but durable only after a Flush. Errors match ErrInvalid (nothing happened),
// ErrFailed or ErrClosed.
func (l *Log) Append(epoch uint32, kind Kind, payload []byte) (Frame, error) {
	l.writer <- struct{}{}
	defer func() { <-l.writer }()
	if err := l.writable(); err != nil {
		return Frame{}, err
	}
	tail := l.Tail()
	if err := l.checkInput(tail, kind, epoch, payload); err != nil {
		return Frame{}, err
	}
	l.frames = append(l.frames[:0], tail.next(kind, epoch, payload))
	defer clear(l.frames) // keep no reference to payloads
	if _, err := l.write(l.frames); err != nil {
		return Frame{}, err
	}
	return l.frames[0], nil
}

func (l *Log) checkInput(tail Boundary, kind Kind, epoch uint32, payload []byte) error {
	switch {
	case kind == 0:
		return fmt.Errorf("%w: kind 0", ErrInvalid)
	case len(payload) > l.opts.MaxPayload:
		return fmt.Errorf("%w: a payload of %d bytes where at most %d are allowed", ErrInvalid, len(payload), l.opts.MaxPayload)
	case epoch < tail.Epoch:
		return fmt.Errorf("%w: epoch %d after epoch %d", ErrInvalid, epoch, tail.Epoch)
	default:
		return nil
	}
}

// AppendRaw adds a run of frames in wire form, for a follower. The whole run is checked before anything is written: it must
// start at the end of this log (else ErrPosition), continue its chain frame by frame (else ErrChain), and keep the rules of
// Append (else ErrInvalid). An empty run is allowed.
//
// It calls visit, if not nil, for every frame after it was written, in order; the payload is a part of raw, and visit
// must not append. It returns the number of frames visited without error. When visit fails, its error is returned as it is, and the
// whole run is in the log nevertheless.
func (l *Log) AppendRaw(raw []byte, visit func(Frame) error) (int, error) {
	l.writer <- struct{}{}
	defer func() { <-l.writer }()
	if err := l.writable(); err != nil {
		return 0, err
	}
	var err error
	l.frames, err = decodeRun(l.frames[:0], raw)
	defer clear(l.frames)
	if err != nil {
		return 0, err
	}
	if err := l.checkRun(l.frames); err != nil {
		return 0, err
	}
	written, err := l.write(l.frames)
	for i, f := range l.frames[:written] {
		if visit == nil {
			continue
		}
		if err := visit(f); err != nil {
			return i, err
		}
	}
	return written, err
}

func (l *Log) checkRun(frames []Frame) error {
	tail := l.Tail()
	for _, f := range frames {
		if f.Position != tail.Position {
			return fmt.Errorf("%w: frames at %d for a log that ends at %d", ErrPosition, f.Position, tail.Position)
		}
		if err := l.checkInput(tail, f.Kind, f.Epoch, f.Payload); err != nil {
			return err
		}
		if want := chainOf(tail.Chain, f.Kind, f.Epoch, f.Payload); want != f.Chain {
			return fmt.Errorf("%w: at position %d the chain is %016x, and the frame says %016x", ErrChain, f.Position, want, f.Chain)
		}
		tail = f.end()
	}
	return nil
}

// write adds frames that continue the log, and returns how many are in it. It sets their Flushed. The caller holds writer.
func (l *Log) write(frames []Frame) (int, error) {
	written := 0
	for written < len(frames) {
		seg, err := l.room(frames[written])
		if err != nil {
			return written, err
		}
		batch := frames[written:]
		flushed := l.Flushed()
		l.buf = l.buf[:0]
		for i := range batch {
			full := batch[i].End-seg.base > l.opts.SegmentBytes
			if i > 0 && (full || len(l.buf) >= writeBatch) {
				batch = batch[:i]
				break
			}
			batch[i].Flushed = flushed
			l.buf = appendFrame(l.buf, batch[i], l.life, seg.seed)
		}
		if n, err := seg.file.WriteAt(l.buf, seg.offset(batch[0].Position)); err != nil {
			return written, l.fail("write "+seg.name, fmt.Errorf("%d of %d bytes written: %w", n, len(l.buf), err))
		}
		l.mu.Lock()
		for _, f := range batch {
			l.note(f.end())
		}
		l.mu.Unlock()
		written += len(batch)
	}
	if cap(l.buf) > 4*writeBatch {
		l.buf = nil // one huge payload shall not pin its memory
	}
	return written, nil
}

// room returns the segment that takes the frame, after rolling if it does not fit into the present one.
func (l *Log) room(f Frame) (*segment, error) {
	l.mu.Lock()
	seg := l.segments[len(l.segments)-1]
	l.mu.Unlock()
	if f.Position == seg.base || f.End-seg.base <= l.opts.SegmentBytes {
		return seg, nil
	}
	return l.roll()
}

// roll starts a new segment: the old one is durable first, so that the existence of a segment proves all before it durable.
func (l *Log) roll() (*segment, error) {
	l.syncer <- struct{}{}
	defer func() { <-l.syncer }()
	if err := l.syncTail(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	tail := l.tail
	l.mu.Unlock()
	seg, err := l.createSegment(tail)
	if err != nil {
		return nil, l.fail("create "+segmentName(tail.Position), err)
	}
	l.mu.Lock()
	l.segments = append(l.segments, seg)
	l.mu.Unlock()
	return seg, nil
}

// createSegment makes the segment that starts at a boundary, durable with its header and its name. The file may exist
// already, without an intact header.
func (l *Log) createSegment(at Boundary) (*segment, error) {
	name := segmentName(at.Position)
	file, err := l.fs.Open(name, true)
	if err != nil {
		return nil, err
	}
	h := header{life: l.life, base: at.Position, chain: at.Chain, created: time.Now().UnixNano()}
	b := h.encode()
	h, _, _ = decodeHeader(b)
	seg := &segment{name: name, file: file, base: at.Position, seed: h.seed, index: []Boundary{at}}
	// The name is durable before the header is: see recovery of a file without a header.
	steps := []func() error{
		l.fs.SyncDir,
		func() error { return file.Truncate(0) },
		func() error { _, err := file.WriteAt(b, 0); return err },
		file.Sync,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			_ = file.Close() // the step's error is the one that matters
			return nil, err
		}
	}
	return seg, nil
}

// Flush makes everything durable that was appended before the call, and returns the flushed position. Calls that wait for each other
// share one sync. After an error, which matches ErrFailed or ErrClosed, the log takes no more writes.
func (l *Log) Flush() (int64, error) {
	target := l.End()
	l.syncer <- struct{}{}
	defer func() { <-l.syncer }()
	if err := l.writable(); err != nil {
		return l.Flushed(), err
	}
	if flushed := l.Flushed(); flushed >= target {
		return flushed, nil
	}
	err := l.syncTail()
	return l.Flushed(), err
}

// syncTail syncs the last segment, the only one that may have unsynced frames. The caller holds syncer, so no roll or
// truncation comes between.
func (l *Log) syncTail() error {
	l.mu.Lock()
	end, flushed, seg := l.tail.Position, l.flushed, l.segments[len(l.segments)-1]
	l.mu.Unlock()
	if flushed >= end {
		return nil
	}
	if err := seg.file.Sync(); err != nil {
		return l.fail("sync "+seg.name, err)
	}
	l.mu.Lock()
	l.flushed = end
	l.mu.Unlock()
	return nil
}
