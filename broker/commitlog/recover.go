package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/assay-project/assay/internal/vfs"
)

// Recovery is what Open found.
type Recovery struct {
	Frames int64 // frames in the log
	// TruncatedBytes is the length of the torn tail that was cut off, 0 for none: the remains of writes that no flush covered.
	TruncatedBytes int64
	File           string // the file that was cut; empty for none
	Offset         int64  // where in the file
	Reason         string // what was wrong there
}

// recoverer is the state of Open.
type recoverer struct {
	log     *Log
	visit   func(Frame) error
	claim   int64  // the highest flushed position that a valid frame claims
	life    uint32 // the highest seen in a valid header or frame
	damage  error  // why the last segment's scan ended before the file did; nil if it did not
	rewrite bool   // the last segment has no header yet
}

// Open recovers the log in fsys, or makes a new one, and calls visit (which may be nil) for every frame in order; payloads
// are valid only during the call. An error of visit ends Open and is returned as it is.
//
// Damage below a position that was durable, as a later frame's header or a later segment shows, is a *CorruptError: Open fails and
// changes nothing. Damage above is the torn tail of a crash: it is cut off, logged, and told by Recovery. So only the last flush
// group is in doubt: there, damage to durable bytes can't be told from a torn write. When Open returns, everything is durable.
//
// Files whose names do not end in ".seg" are left alone.
func Open(fsys vfs.FS, o Options, visit func(Frame) error) (*Log, error) {
	l := &Log{
		fs:     fsys,
		opts:   o.withDefaults(),
		writer: make(chan struct{}, 1),
		syncer: make(chan struct{}, 1),
		recent: []Boundary{{}},
	}
	if visit == nil {
		visit = func(Frame) error { return nil }
	}
	r := &recoverer{log: l, visit: visit}
	err := r.scan()
	if err == nil {
		err = r.repair()
	}
	if err != nil {
		for _, s := range l.segments {
			_ = s.file.Close() // err is the one that matters
		}
		return nil, err
	}
	return l, nil
}

// segmentBases returns the base positions of the segments, ascending.
func (r *recoverer) segmentBases() ([]int64, error) {
	names, err := r.log.fs.List()
	if err != nil {
		return nil, fmt.Errorf("commit log: list segments: %w", err)
	}
	var bases []int64
	for _, name := range names { // lexical order is numeric order
		base, ok, err := parseSegmentName(name)
		if err != nil {
			return nil, err
		}
		if ok {
			bases = append(bases, base)
		}
	}
	return bases, nil
}

// scan reads everything and changes nothing.
func (r *recoverer) scan() error {
	bases, err := r.segmentBases()
	if err != nil {
		return err
	}
	for i, base := range bases {
		if i == 0 && base != 0 {
			return &CorruptError{File: segmentName(0), Reason: fmt.Sprintf("the file is missing; the first one is %s", segmentName(base))}
		}
		last := i == len(bases)-1
		size, err := r.openSegment(base, last)
		if err != nil {
			return err
		}
		if r.rewrite {
			return nil
		}
		if err := r.scanSegment(size); err != nil {
			return err
		}
		if last {
			return r.judgeTail(size)
		}
		if err := r.judgeClosed(bases[i+1]); err != nil {
			return err
		}
	}
	r.rewrite = true // an empty directory
	return nil
}

// openSegment opens the segment that starts at the present end of the log and checks its header.
func (r *recoverer) openSegment(base int64, last bool) (size int64, err error) {
	l := r.log
	seg := &segment{name: segmentName(base), base: base, index: []Boundary{l.tail}}
	if seg.file, err = l.fs.Open(seg.name, false); err != nil {
		return 0, fmt.Errorf("commit log: open segment: %w", err)
	}
	l.segments = append(l.segments, seg)
	if size, err = seg.file.Size(); err != nil {
		return 0, fmt.Errorf("commit log: size of %s: %w", seg.name, err)
	}
	var b [segmentHeader]byte
	if _, err := seg.file.ReadAt(b[:min(size, segmentHeader)], 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("commit log: read %s: %w", seg.name, err)
	}
	h, version, ok := decodeHeader(b[:])
	corrupt := func(reason string) error {
		return &CorruptError{File: seg.name, Position: base, Reason: reason}
	}
	switch {
	case !ok && last && size <= segmentHeader:
		// The header is durable before the first frame is written: this roll was not finished, and there are no frames.
		r.rewrite = true
		l.segments = l.segments[:len(l.segments)-1]
		return size, seg.file.Close()
	case !ok:
		return 0, corrupt("the segment header is damaged")
	case version != segmentVersion:
		return 0, fmt.Errorf("commit log: %s has format version %d, and this program knows %d: use the program that wrote it", seg.name, version, segmentVersion)
	case h.base != base:
		return 0, corrupt(fmt.Sprintf("the segment header says that it starts at %d", h.base))
	case h.chain != l.tail.Chain:
		return 0, corrupt(fmt.Sprintf("it does not continue the segment before it: chain %016x, expected %016x", h.chain, l.tail.Chain))
	}
	seg.seed = h.seed
	r.life = max(r.life, h.life)
	return size, nil
}

// scanSegment visits the frames of the last segment in l.segments up to the first damage, which it leaves in r.damage.
func (r *recoverer) scanSegment(size int64) error {
	l := r.log
	seg := l.segments[len(l.segments)-1]
	w := &window{}
	w.reset(seg.file, size, largeBlock)
	r.damage = nil
	for seg.offset(l.tail.Position) < size {
		f, life, err := w.frame(seg, l.tail.Position)
		switch {
		case err != nil && !damaged(err):
			return fmt.Errorf("commit log: read %s: %w", seg.name, err)
		case err != nil:
			r.damage = err
			return nil
		case chainOf(l.tail.Chain, f.Kind, f.Epoch, f.Payload) != f.Chain:
			r.damage = fmt.Errorf("%w: it does not continue the chain", errBadFrame)
			return nil
		}
		r.life, r.claim = max(r.life, life), max(r.claim, f.Flushed)
		l.note(f.end())
		l.recovery.Frames++
		if err := r.visit(f); err != nil {
			return err
		}
	}
	return nil
}

// corrupt is the error for damage at the present end of the log.
func (r *recoverer) corrupt(reason string) error {
	l := r.log
	seg := l.segments[len(l.segments)-1]
	return &CorruptError{File: seg.name, Offset: seg.offset(l.tail.Position), Position: l.tail.Position, Reason: reason}
}

// judgeClosed judges a segment that has one behind it, which proves that all of it was durable.
func (r *recoverer) judgeClosed(next int64) error {
	if r.damage != nil {
		return r.corrupt(fmt.Sprintf("%v, and the segment at %d proves that it was durable", r.damage, next))
	}
	if end := r.log.tail.Position; end != next {
		return r.corrupt(fmt.Sprintf("the segment ends at %d and the next one starts at %d", end, next))
	}
	r.claim = next
	return nil
}

// judgeTail tells a torn tail from corruption: it looks behind the damage for a valid frame whose header says that the damaged
// place was durable.
//
// Why such a claim can be trusted, and none is missed: a frame at p claims a flushed position c <= p that was true when it was written.
// So c > damage only if the frame lies behind the damage. Truncation leaves no frame behind its end, thus no claim above it.
// Should the file system show stale bytes nevertheless, they carry a smaller life than the frames written
// after the truncation, since the life grows with every truncation and restart.
func (r *recoverer) judgeTail(size int64) error {
	if r.damage == nil {
		return nil
	}
	l := r.log
	seg := l.segments[len(l.segments)-1]
	start := seg.offset(l.tail.Position)
	w := &window{}
	w.reset(seg.file, size, largeBlock)
	for off := start + 1; off+frameOverhead <= size; {
		position := seg.base + off - segmentHeader
		if f, life, err := w.frame(seg, position); err == nil {
			if life >= r.life && f.Flushed > l.tail.Position {
				return r.corrupt(fmt.Sprintf("%v, and the frame at position %d proves that everything before %d was durable", r.damage, f.Position, f.Flushed))
			}
			off = seg.offset(f.End)
			continue
		} else if !damaged(err) {
			return fmt.Errorf("commit log: read %s: %w", seg.name, err)
		}
		next, err := w.findFrame(off + 1)
		if err != nil {
			return fmt.Errorf("commit log: read %s: %w", seg.name, err)
		}
		off = next
	}
	l.recovery.TruncatedBytes = size - start
	l.recovery.File, l.recovery.Offset, l.recovery.Reason = seg.name, start, r.damage.Error()
	return nil
}

// findFrame returns the first offset from off on where a frame's magic is in its place, or the end of the window.
func (w *window) findFrame(off int64) (int64, error) {
	for off+frameHeader <= w.size {
		b, err := w.bytes(off, int(min(searchBlock, w.size-off)))
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b[magicAt:], []byte(frameMagic)); i >= 0 {
			return off + int64(i), nil
		}
		off += int64(len(b) - magicAt - len(frameMagic) + 1)
	}
	return w.size, nil
}

// repair makes what was found durable and the log ready for appends. Until the one sync at its end, a crash leaves what
// was there before.
func (r *recoverer) repair() error {
	l := r.log
	l.life = r.life + 1
	l.recent = append(make([]Boundary, 0, 2*recentBoundaries), l.recent...)
	if err := l.fs.SyncDir(); err != nil {
		return fmt.Errorf("commit log: sync directory: %w", err)
	}
	if len(l.segments) > 0 {
		if err := r.repairTail(); err != nil {
			return err
		}
	}
	if r.rewrite {
		seg, err := l.createSegment(l.tail)
		if err != nil {
			return fmt.Errorf("commit log: create %s: %w", segmentName(l.tail.Position), err)
		}
		l.segments = append(l.segments, seg)
	}
	l.flushed = l.tail.Position
	return nil
}

// repairTail cuts off a torn tail, writes what is in doubt once more, and syncs. It is written again because a sync that failed in an
// earlier life may have left pages that are clean in the cache and absent from the disk: syncing them now would succeed
// and do nothing.
func (r *recoverer) repairTail() error {
	l := r.log
	seg := l.segments[len(l.segments)-1]
	end := seg.offset(l.tail.Position)
	if rec := l.recovery; rec.TruncatedBytes > 0 {
		l.opts.Logger.Warn("commit log: torn tail cut off", "file", rec.File, "offset", rec.Offset,
			"position", l.tail.Position, "bytes", rec.TruncatedBytes, "reason", rec.Reason)
		if err := seg.file.Truncate(end); err != nil {
			return fmt.Errorf("commit log: cut the torn tail of %s: %w", seg.name, err)
		}
	}
	w := &window{}
	w.reset(seg.file, end, largeBlock)
	for off := max(seg.offset(r.claim), segmentHeader); off < end; {
		b, err := w.bytes(off, int(min(largeBlock, end-off)))
		if err != nil {
			return fmt.Errorf("commit log: read %s: %w", seg.name, err)
		}
		if _, err := seg.file.WriteAt(b, off); err != nil {
			return fmt.Errorf("commit log: rewrite %s: %w", seg.name, err)
		}
		off += int64(len(b))
	}
	if err := seg.file.Sync(); err != nil {
		return fmt.Errorf("commit log: sync %s: %w", seg.name, err)
	}
	return nil
}
