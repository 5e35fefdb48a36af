package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
)

const (
	smallBlock  = 8 << 10   // to read one frame or walk from an index entry
	largeBlock  = 256 << 10 // to scan
	searchBlock = 4 << 10   // to look for a frame behind damage
	maxPooled   = 1 << 20   // larger buffers are not kept
)

// span is the part of the log in one segment that a reader may look at, as of one instant.
type span struct {
	seg  *segment
	from Boundary // the nearest known boundary at or before the position that was asked for
	end  int64    // position behind the segment's last frame
	cuts uint64
}

// spanAt returns the span that holds position, 0 <= position < end of log.
func (l *Log) spanAt(position int64) (span, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return span{}, ErrClosed
	}
	if position < 0 || position >= l.tail.Position {
		return span{}, fmt.Errorf("%w: %d, and the log ends at %d", ErrPosition, position, l.tail.Position)
	}
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].base > position }) - 1
	s := span{seg: l.segments[i], end: l.tail.Position, cuts: l.cuts}
	if i+1 < len(l.segments) {
		s.end = l.segments[i+1].base
	}
	s.from = s.seg.index[before(s.seg.index, position)-1]
	if r := before(l.recent, position); r > 0 && l.recent[r-1].Position > s.from.Position {
		s.from = l.recent[r-1]
	}
	return s, nil
}

// window returns a buffered reader of the span; give it back with release.
func (l *Log) window(s span, block int) *window {
	w, ok := l.readers.Get().(*window)
	if !ok {
		w = &window{}
	}
	w.reset(s.seg.file, s.seg.offset(s.end), block)
	return w
}

func (l *Log) release(w *window) {
	w.file = nil
	if cap(w.buf) <= maxPooled {
		l.readers.Put(w)
	}
}

// frame decodes the frame at a position; the payload is valid until the next call.
func (w *window) frame(seg *segment, position int64) (f Frame, life uint32, err error) {
	head, err := w.bytes(seg.offset(position), frameHeader)
	if err != nil {
		return Frame{}, 0, err
	}
	n, err := frameLength(head, position)
	if err != nil {
		return Frame{}, 0, err
	}
	whole, err := w.bytes(seg.offset(position), n)
	if err != nil {
		return Frame{}, 0, err
	}
	return decodeFrame(whole, position, seg.seed)
}

// damaged reports whether the error is about what the bytes are, as opposed to whether they could be read.
func damaged(err error) bool {
	return errors.Is(err, errBadFrame) || errors.Is(err, io.ErrUnexpectedEOF)
}

// readError finds the reason why the frame at position could not be read.
func (l *Log) readError(s span, position int64, err error) error {
	l.mu.Lock()
	closed, cut := l.closed, l.cuts != s.cuts
	l.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case cut:
		return fmt.Errorf("%w: the log was truncated while position %d was read", ErrPosition, position)
	case !damaged(err):
		return fmt.Errorf("commit log: read %s at position %d: %w", s.seg.name, position, err)
	default:
		return &CorruptError{File: s.seg.name, Offset: s.seg.offset(position), Position: position, Reason: err.Error()}
	}
}

// ReadFrame returns the frame that starts at position; the payload is the caller's. Everything is checked on every read: damage is a
// *CorruptError, and never data. A position that is not the start of a frame is ErrPosition.
func (l *Log) ReadFrame(position int64) (Frame, error) {
	s, err := l.spanAt(position)
	if err != nil {
		return Frame{}, err
	}
	w := l.window(s, smallBlock)
	defer l.release(w)
	f, _, err := w.frame(s.seg, position)
	if err != nil {
		return Frame{}, l.misread(s, position, err)
	}
	f.Payload = bytes.Clone(f.Payload)
	return f, nil
}

// misread tells a position inside a frame from damage to the frame that starts there.
func (l *Log) misread(s span, position int64, err error) error {
	if damaged(err) {
		if _, walkErr := l.walk(s, position, nil); walkErr != nil {
			return walkErr
		}
	}
	return l.readError(s, position, err)
}

// walk reads frames from s.from until one starts at position, and returns that boundary. It calls visit, if not nil, for the
// boundary behind every frame.
func (l *Log) walk(s span, position int64, visit func(Boundary)) (Boundary, error) {
	w := l.window(s, smallBlock)
	defer l.release(w)
	at := s.from
	for at.Position < position {
		f, _, err := w.frame(s.seg, at.Position)
		if err != nil {
			return Boundary{}, l.readError(s, at.Position, err)
		}
		if chainOf(at.Chain, f.Kind, f.Epoch, f.Payload) != f.Chain {
			return Boundary{}, l.readError(s, at.Position, fmt.Errorf("%w: it does not continue the chain", errBadFrame))
		}
		at = f.end()
		if visit != nil {
			visit(at)
		}
	}
	if at.Position != position {
		return Boundary{}, fmt.Errorf("%w: %d is inside a frame that ends at %d", ErrPosition, position, at.Position)
	}
	return at, nil
}

// ReadRaw returns whole frames from position from on in wire form, as AppendRaw takes them: as many as end at or before limit
// and make a run of about maxBytes, but at least one if there is one. next is where the run ends. A run may be shorter than it could be
// (it never spans segments), but it is empty only when no frame ends at or before limit. The bytes are the caller's.
func (l *Log) ReadRaw(from, limit int64, maxBytes int) (raw []byte, next int64, err error) {
	tail := l.Tail()
	limit = min(limit, tail.Position)
	raw = binary.BigEndian.AppendUint64(nil, uint64(from))
	if from == tail.Position || (from >= limit && from >= 0 && from < tail.Position) {
		return raw, from, nil
	}
	s, err := l.spanAt(from)
	if err != nil {
		return nil, from, err
	}
	limit = min(limit, s.end)
	maxBytes = max(maxBytes, 0)
	size := int(min(int64(maxBytes), limit-from))
	raw = append(make([]byte, 0, runHeader+size), raw...)
	w := l.window(s, min(max(size, smallBlock), maxPooled))
	defer l.release(w)
	for next = from; next < limit; {
		f, _, err := w.frame(s.seg, next)
		if err != nil && next == from {
			return nil, from, l.misread(s, next, err)
		}
		if err != nil {
			break // the next call starts here and tells why
		}
		grown := len(raw) + runLength + bodyHeader + len(f.Payload)
		if f.End > limit || (next > from && grown > maxBytes) {
			break
		}
		raw = appendRunFrame(raw, f)
		next = f.End
	}
	return raw, next, nil
}

// ChainAt returns the chain value of the log up to position; see BoundaryAt.
func (l *Log) ChainAt(position int64) (uint64, error) {
	b, err := l.BoundaryAt(position)
	return b.Chain, err
}

// BoundaryAt returns what identifies the log up to position. It reads nothing near the end of the log, and at most about
// IndexInterval bytes elsewhere. A position that is not a frame boundary of this log is ErrPosition.
func (l *Log) BoundaryAt(position int64) (Boundary, error) {
	if position == 0 {
		return Boundary{}, nil
	}
	if tail := l.Tail(); position == tail.Position {
		return tail, nil
	}
	s, err := l.spanAt(position)
	if err != nil {
		return Boundary{}, err
	}
	if s.from.Position == position {
		return s.from, nil
	}
	return l.walk(s, position, nil)
}

// Boundaries returns up to limit boundaries in the half-open range (from, to], ascending and about evenly spaced; the last is the
// last boundary in the range. Two replicas find their common prefix in few rounds: one sends its boundaries, the other says which is the
// last that it has too, and the range shrinks to that one and the next, until nothing lies between.
func (l *Log) Boundaries(from, to int64, limit int) ([]Boundary, error) {
	to = min(to, l.End())
	from = max(from, 0)
	if from >= to || limit <= 0 {
		return nil, nil
	}
	last, err := l.boundaryBefore(to)
	if err != nil || last.Position <= from {
		return nil, err
	}
	found := l.indexed(from, last.Position)
	if len(found) < limit {
		if found, err = l.scanBoundaries(from, last.Position); err != nil {
			return nil, err
		}
	} else {
		found = append(found, last)
	}
	if len(found) <= limit {
		return found, nil
	}
	picked := make([]Boundary, limit)
	for i := range picked {
		picked[i] = found[(i+1)*len(found)/limit-1]
	}
	return picked, nil
}

// boundaryBefore returns the last boundary at or before position.
func (l *Log) boundaryBefore(position int64) (Boundary, error) {
	if tail := l.Tail(); position >= tail.Position {
		return tail, nil
	}
	s, err := l.spanAt(position)
	if err != nil {
		return Boundary{}, err
	}
	at := s.from
	_, err = l.walk(s, position, func(b Boundary) {
		if b.Position <= position {
			at = b
		}
	})
	if errors.Is(err, ErrPosition) {
		err = nil // inside a frame: the boundary before it is the answer
	}
	return at, err
}

// indexed returns the index entries with from < position < to.
func (l *Log) indexed(from, to int64) []Boundary {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Boundary
	for _, s := range l.segments {
		if s.base >= to {
			break
		}
		lo, hi := before(s.index, from), before(s.index, to-1)
		if lo < hi {
			found = append(found, s.index[lo:hi]...)
		}
	}
	return found
}

// scanBoundaries returns every boundary with from < position <= to, where to is a boundary.
func (l *Log) scanBoundaries(from, to int64) ([]Boundary, error) {
	var found []Boundary
	for at := from; at < to; {
		s, err := l.spanAt(at)
		if err != nil {
			return nil, err
		}
		end := min(to, s.end)
		_, err = l.walk(s, end, func(b Boundary) {
			if b.Position > from {
				found = append(found, b)
			}
		})
		if err != nil {
			return nil, err
		}
		at = end
	}
	return found, nil
}
