package histories

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// keptChunk is how many ops are kept in one piece.
const keptChunk = 1024

// Recorder appends ops to a history as they happen. Each line has reached w when Record returns, so with a file as w the
// history survives a kill of this process with at most its last line torn; it is not synced, so it need not survive a power loss.
//
// It is for concurrent use, and may be used inside a synctest bubble when w does not block on anything in the bubble: a lock is held during the write.
type Recorder struct {
	mu    sync.Mutex // guards everything below, and orders the lines
	w     io.Writer
	clock func() time.Duration
	line  []byte // reused
	valid Validator
	kept  []History // chunks of keptChunk ops: growing one slice would cost more than recording
	keep  bool
	err   error // the first failed write; sticky
}

// NewRecorder returns a Recorder that writes to w. clock returns the time since the start of the run; should it go
// backwards, ops get the latest time that was seen.
func NewRecorder(w io.Writer, clock func() time.Duration) *Recorder {
	return &Recorder{w: w, clock: clock}
}

// Keep makes the Recorder keep what is recorded from now on in memory too, for History, and returns it. Call it before the first Record.
func (r *Recorder) Keep() *Recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = true
	return r
}

// Record gives op its index and time, writes it, and returns it as written. The Msgs of op belong to the Recorder afterwards.
//
// An op that would make the history invalid is refused with an error that wraps ErrInvalid, and nothing is written. When a write
// fails, this and every further call returns the error: the file may end in a part of a line, so nothing can be appended to it.
func (r *Recorder) Record(op Op) (Op, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return op, r.err
	}
	op.Index = r.valid.next
	op.Time = max(int64(r.clock()), r.valid.last)
	// What cannot be written must not be in memory either: judging the file later has to give the same verdict.
	op.F, op.Node = strings.ToValidUTF8(op.F, "\ufffd"), strings.ToValidUTF8(op.Node, "\ufffd")
	op.Err, op.Effect = strings.ToValidUTF8(op.Err, "\ufffd"), strings.ToValidUTF8(op.Effect, "\ufffd")
	op.Fault = strings.ToValidUTF8(op.Fault, "\ufffd")
	if err := r.valid.Add(&op); err != nil {
		return op, fmt.Errorf("recording an op: %w", err)
	}
	r.line = append(AppendOp(r.line[:0], &op), '\n')
	if _, err := r.w.Write(r.line); err != nil {
		r.err = fmt.Errorf("recording op %d: the history ends before it: %w", op.Index, err)
		return op, r.err
	}
	if r.keep {
		r.store(&op)
	}
	return op, nil
}

// store keeps op in memory.
func (r *Recorder) store(op *Op) {
	last := len(r.kept) - 1
	if last < 0 || len(r.kept[last]) == keptChunk {
		r.kept = append(r.kept, make(History, 0, keptChunk))
		last++
	}
	r.kept[last] = append(r.kept[last], *op)
}

// Err returns the error of the first write that failed, nil while there is none.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Len returns the number of ops recorded.
func (r *Recorder) Len() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.valid.next
}

// History returns a copy of what was recorded since Keep; nil without Keep.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.kept...)
}
