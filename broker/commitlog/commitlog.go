// Package commitlog is the one log of a broker: an append-only sequence of checksummed frames in segment files, over vfs.FS.
//
// Positions are bytes from the start of the log and the same on every replica, because a frame has the same length everywhere;
// a frame's chain value is a hash of the whole log up to and including it, so two logs with equal chain values at a position
// have equal prefixes. What a frame means is up to whoever appends it: the log interprets nothing but its own header.
//
// What it does not do: it keeps no index by partition or offset, deletes nothing from its head, elects and replicates
// nothing. Every segment's file stays open.
//
// One goroutine appends, one flushes, any number read. docs/storage.md has the format, the recovery rule and its proof.
package commitlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sort"
	"sync"

	"github.com/assay-project/assay/internal/vfs"
)

var (
	// ErrCorrupt is matched by errors about bytes that were durable once and are now damaged or missing. It is always
	// wrapped by a *CorruptError, which names file and offset.
	ErrCorrupt = errors.New("commit log is corrupt")
	// ErrFailed is returned by every append, flush and truncation after a write or sync failed. The cause is wrapped too.
	// Reads of what was appended before go on. The frames of the failed append may be found after a restart, or not.
	ErrFailed = errors.New("commit log has failed and takes no more writes")
	// ErrClosed is returned by every operation after Close.
	ErrClosed = errors.New("commit log is closed")
	// ErrPosition is returned when a position is not a frame boundary of this log, or not the one that was needed.
	ErrPosition = errors.New("no such position in the commit log")
	// ErrChain is returned by AppendRaw when the frames do not continue this log's history.
	ErrChain = errors.New("frames continue another history than this commit log's")
	// ErrInvalid is returned when the input breaks a rule: kind 0, a payload over the limit, a decreasing epoch, a malformed run.
	ErrInvalid = errors.New("invalid commit log frame")
)

// Kind says what a frame's payload is. Zero is invalid; the log itself gives no other value a meaning.
type Kind uint8

// Frame is one record of the log.
type Frame struct {
	Position int64  // where it starts, in bytes from the start of the log
	End      int64  // where the next one starts
	Kind     Kind   // never 0
	Epoch    uint32 // never less than the previous frame's
	Chain    uint64 // hash of the log up to End
	Flushed  int64  // this node's flushed position when it wrote the frame: 0 <= Flushed <= Position
	Payload  []byte
}

// Boundary is a place between two frames, with what identifies the log before it.
type Boundary struct {
	Position int64
	Epoch    uint32 // of the frame that ends here; 0 at position 0
	Chain    uint64 // of the frame that ends here; 0 at position 0
}

// Options configures a log. The zero value has usable defaults. All of them may change between two runs on the same files.
type Options struct {
	// SegmentBytes is how many bytes of frames a segment takes; at least one frame always fits. Default 64 MiB.
	SegmentBytes int64
	// MaxPayload is the largest payload that is accepted, in bytes. Default 8 MiB and 64 KiB; at most 1 GiB.
	MaxPayload int
	// IndexInterval is the distance in bytes between two entries of the sparse index, 24 bytes of memory each. Default 4096.
	IndexInterval int
	// Logger receives truncations and failures. Default: none.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.MaxPayload <= 0 {
		o.MaxPayload = 8<<20 + 64<<10
	}
	o.MaxPayload = min(o.MaxPayload, maxBody-bodyHeader)
	if o.IndexInterval <= 0 {
		o.IndexInterval = 4096
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// recentBoundaries is how many of the newest frame boundaries are found without reading the disk, at least.
const recentBoundaries = 512

// Log is an open commit log. Append, AppendRaw and Truncate are for one goroutine at a time; everything else may be called
// from any goroutine at any time.
type Log struct {
	fs       vfs.FS
	opts     Options
	recovery Recovery

	// writer has one token: it is held by Append, AppendRaw, Truncate and Close. It guards buf, frames and life.
	writer chan struct{}
	// syncer has one token: it is held while files are synced, created or removed. Taken after writer, never before.
	syncer chan struct{}
	buf    []byte
	frames []Frame
	life   uint32 // stamped on frames: grows with every Open and Truncate

	readers sync.Pool // of *window

	mu       sync.Mutex // guards what follows; never held across I/O
	segments []*segment // by base, at least one; only the last is appended to
	tail     Boundary   // the end of the log
	flushed  int64      // 0 <= flushed <= tail.Position
	recent   []Boundary // the newest frame boundaries, ascending; the last is tail
	cuts     uint64     // number of truncations: tells a reader that its bytes were taken away
	failed   error      // wraps ErrFailed; never changes again
	closed   bool
}

// segment is one file. Its frames lie at file offset segmentHeader + (position - base).
type segment struct {
	name string
	file vfs.File
	base int64
	seed uint32 // the checksum of the header, from which every frame's checksum continues
	// index holds a boundary about every IndexInterval bytes, ascending; index[0] is at base. Guarded by Log.mu.
	index []Boundary
}

func (s *segment) offset(position int64) int64 { return segmentHeader + position - s.base }

// CorruptError is damage to bytes that were durable. Nothing was changed on disk.
type CorruptError struct {
	File     string // the segment file
	Offset   int64  // in the file, in bytes
	Position int64  // in the log
	Reason   string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: file %s, offset %d (log position %d): %s; nothing was changed: restore the file, or wipe this node and let it copy the log from another",
		ErrCorrupt, e.File, e.Offset, e.Position, e.Reason)
}

// Unwrap makes the error match ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// Tail returns the end of the log, which is always a frame boundary.
func (l *Log) Tail() Boundary {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail
}

// End returns the position behind the last frame.
func (l *Log) End() int64 { return l.Tail().Position }

// LastEpoch returns the epoch of the last frame, 0 for an empty log.
func (l *Log) LastEpoch() uint32 { return l.Tail().Epoch }

// Chain returns the chain value of the whole log, 0 for an empty one.
func (l *Log) Chain() uint64 { return l.Tail().Chain }

// Flushed returns the position up to which the log is durable. It never passes a failed sync.
func (l *Log) Flushed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushed
}

// Recovery returns what Open found.
func (l *Log) Recovery() Recovery { return l.recovery }

// Err returns the error that stopped the log's writes for good (it matches ErrFailed), or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// writable returns why the log takes no writes, or nil.
func (l *Log) writable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return l.failed
}

// fail stops all writes for good, because after a failed write or sync nobody knows what is on the disk.
func (l *Log) fail(what string, cause error) error {
	l.mu.Lock()
	first := l.failed == nil
	if first {
		l.failed = fmt.Errorf("%w: %s: %w", ErrFailed, what, cause)
	}
	err := l.failed
	l.mu.Unlock()
	if first {
		l.opts.Logger.Error("commit log failed; it takes no more writes until the node is restarted", "operation", what, "cause", cause)
	}
	return err
}

// Close flushes, unless the log has failed, and closes the files. A second Close does nothing. It returns the error that
// stopped the log, if any.
func (l *Log) Close() error {
	l.writer <- struct{}{}
	defer func() { <-l.writer }()
	l.mu.Lock()
	closed, failed := l.closed, l.failed
	l.mu.Unlock()
	if closed {
		return nil
	}
	if failed == nil {
		_, failed = l.Flush()
	}
	l.syncer <- struct{}{}
	defer func() { <-l.syncer }()
	l.mu.Lock()
	l.closed = true
	segments := slices.Clone(l.segments)
	l.mu.Unlock()
	errs := []error{failed}
	for _, s := range segments {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// note records a new end of the log; the caller holds mu or owns the log alone.
func (l *Log) note(b Boundary) {
	l.tail = b
	if len(l.recent) >= 2*recentBoundaries {
		l.recent = l.recent[:copy(l.recent, l.recent[len(l.recent)-recentBoundaries:])]
	}
	l.recent = append(l.recent, b)
	s := l.segments[len(l.segments)-1]
	if b.Position-s.index[len(s.index)-1].Position >= int64(l.opts.IndexInterval) {
		s.index = append(s.index, b)
	}
}

// before returns how many boundaries lie at or before position.
func before(bs []Boundary, position int64) int {
	return sort.Search(len(bs), func(i int) bool { return bs[i].Position > position })
}

// window reads a part of a file through a buffer. It is for one goroutine.
type window struct {
	file  vfs.File
	size  int64 // bytes at and behind it do not exist for this reader
	block int   // how much to read at once
	buf   []byte
	start int64 // file offset of buf[0]
}

func (w *window) reset(file vfs.File, size int64, block int) {
	*w = window{file: file, size: size, block: block, buf: w.buf[:0]}
}

// bytes returns n bytes at off, valid until the next call, or io.ErrUnexpectedEOF when they reach behind the window.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > w.size || int64(n) > w.size-off {
		return nil, io.ErrUnexpectedEOF
	}
	if off < w.start || off+int64(n) > w.start+int64(len(w.buf)) {
		want := int(min(int64(max(n, w.block)), w.size-off))
		if cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		w.buf, w.start = w.buf[:want], off
		if got, err := w.file.ReadAt(w.buf, off); got < want {
			w.buf = w.buf[:0]
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return w.buf[off-w.start:][:n], nil
}
