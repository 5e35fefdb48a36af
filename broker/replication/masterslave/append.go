package masterslave

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/commitlog"
	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/broker/replication"
)

// codedError is an error with a Kafka code whose text is for the client as it is.
type codedError struct {
	code *kerr.Error
	text string
}

func (e *codedError) Error() string { return e.text }
func (e *codedError) Unwrap() error { return e.code }

func coded(code *kerr.Error, format string, args ...any) error {
	return &codedError{code: code, text: fmt.Sprintf(format, args...)}
}

// timedOut says that nothing can be said about what was asked for.
func timedOut(reason string) error { return coded(kerr.RequestTimedOut, "%s", reason) }

// Append implements replication.Log.
func (r *Replica) Append(ctx context.Context, part *partitions.Partition, batch []byte, all bool) (replication.Appended, error) {
	head, err := partitions.ParseBatch(batch)
	if err != nil {
		return replication.Appended{}, coded(kerr.CorruptMessage, "%v", err)
	}
	switch err := r.own(ctx); {
	case errors.Is(err, errStopped):
		return replication.Appended{}, coded(kerr.NotLeaderForPartition, "%v", err)
	case err != nil:
		return replication.Appended{}, err
	}
	defer r.disown()
	now := time.Now()
	base, w, err := r.appendOne(&appending{part: part, batch: batch, head: head, all: all}, now)
	if err != nil {
		return replication.Appended{}, err
	}
	r.flushSoon()
	r.advance(now)
	out := replication.Appended{BaseOffset: base}
	if w != nil {
		out.Wait = w.wait
	}
	return out, nil
}

// appending is a batch that is to be appended.
type appending struct {
	part  *partitions.Partition
	batch []byte
	head  partitions.BatchHeader
	all   bool
}

// refuseWrite returns why this node takes no writes, nil when it does.
func (r *Replica) refuseWrite() error {
	s := &r.state
	switch {
	case s.lead == nil:
		return coded(kerr.NotLeaderForPartition, "node %d does not lead group %d in epoch %d", r.cfg.Node, r.self.Group, s.meta.Epoch)
	case s.failure != "":
		return coded(kerr.KafkaStorageError, "node %d takes no writes, its disk has failed: %s", r.cfg.Node, s.failure)
	}
	return nil
}

// appendOne returns where a batch is, and who is to be waited for: nil for nobody.
func (r *Replica) appendOne(c *appending, now time.Time) (base int64, w *waiter, err error) {
	s := &r.state
	if err := r.refuseWrite(); err != nil {
		return 0, nil, err
	}
	if s.machine.Partition(c.part.Topic, c.part.Index) != c.part {
		return 0, nil, coded(kerr.UnknownTopicOrPartition, "partition %s-%d is gone", c.part.Name, c.part.Index)
	}
	dup, found, err := c.part.CheckProducer(c.head)
	if err != nil {
		return 0, nil, fmt.Errorf("%s-%d, producer %d: %w", c.part.Name, c.part.Index, c.head.ProducerID, err)
	}
	if found {
		// It is acknowledged by the rule of the original, which may not be kept yet.
		if c.all {
			w = s.waiting.addAgain(dup.End, now, now.Add(r.opts.Timeout))
		}
		return dup.BaseOffset, w, nil
	}
	base = c.part.LogEnd()
	partitions.StampBatch(c.batch, base, s.meta.Epoch)
	s.scratch = partitions.AppendBatchPayload(s.scratch[:0], c.part.Topic, c.part.Index, base, c.batch)
	f, err := r.appendFrame(partitions.KindBatch, s.scratch)
	if err != nil {
		return 0, nil, err
	}
	if c.all {
		w = s.waiting.add(f.End, now, now.Add(r.opts.Timeout))
	}
	return base, w, nil
}

// appendFrame writes a frame of this leader's epoch. The error is a Kafka error.
func (r *Replica) appendFrame(kind uint8, payload []byte) (commitlog.Frame, error) {
	f, err := r.log.Append(uint32(r.state.meta.Epoch), commitlog.Kind(kind), payload)
	switch {
	case errors.Is(err, commitlog.ErrInvalid):
		return f, coded(kerr.MessageTooLarge, "%v", err)
	case err != nil:
		r.fail("append", err)
		return f, timedOut("the disk failed during the append")
	}
	if err := r.apply(f); err != nil {
		// The frame was made from the machine's own state, so this cannot happen; what is known to be wrong must not be acknowledged.
		r.fail("apply", err)
		return f, timedOut("the log does not follow its own state")
	}
	return f, nil
}

// waiter is a producer that waits until committed covers a position. It is part of the state, apart from done.
type waiter struct {
	position int64
	since    time.Time
	deadline time.Time
	done     chan error // has room for the one answer
}

func (w *waiter) wait(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waiters are all that wait. Fresh appends come in the order of positions and of deadlines, so that only the first of them has to be
// looked at; the few that wait again for an old position are kept apart.
type waiters struct {
	fresh []*waiter // fresh[first:] wait
	first int
	again []*waiter
}

func (ws *waiters) add(position int64, now, deadline time.Time) *waiter {
	w := &waiter{position: position, since: now, deadline: deadline, done: make(chan error, 1)}
	if ws.first > 1024 && ws.first > len(ws.fresh)/2 {
		n := copy(ws.fresh, ws.fresh[ws.first:])
		clear(ws.fresh[n:])
		ws.fresh, ws.first = ws.fresh[:n], 0
	}
	ws.fresh = append(ws.fresh, w)
	return w
}

func (ws *waiters) addAgain(position int64, now, deadline time.Time) *waiter {
	w := &waiter{position: position, since: now, deadline: deadline, done: make(chan error, 1)}
	ws.again = append(ws.again, w)
	return w
}

// finish answers those that stop says to, in the order of positions: an error or nil, and false for the ones that go on waiting.
func (ws *waiters) finish(stop func(*waiter) (error, bool)) {
	for ws.first < len(ws.fresh) {
		err, ok := stop(ws.fresh[ws.first])
		if !ok {
			break
		}
		ws.fresh[ws.first].done <- err
		ws.fresh[ws.first] = nil
		ws.first++
	}
	if ws.first == len(ws.fresh) {
		ws.fresh, ws.first = ws.fresh[:0], 0
	}
	kept := ws.again[:0]
	for _, w := range ws.again {
		if err, ok := stop(w); ok {
			w.done <- err
		} else {
			kept = append(kept, w)
		}
	}
	clear(ws.again[len(kept):])
	ws.again = kept
}

func (ws *waiters) failAll(err error) {
	ws.finish(func(*waiter) (error, bool) { return err, true })
}

// earliest returns the first deadline.
func (ws *waiters) earliest() (time.Time, bool) {
	var at time.Time
	if ws.first < len(ws.fresh) {
		at = ws.fresh[ws.first].deadline
	}
	for _, w := range ws.again {
		if at.IsZero() || w.deadline.Before(at) {
			at = w.deadline
		}
	}
	return at, !at.IsZero()
}

// sweep gives those that have waited long enough a weak answer, which says what is missing.
func (r *Replica) sweep(now time.Time) {
	r.state.waiting.finish(func(w *waiter) (error, bool) {
		if now.Before(w.deadline) {
			return nil, false
		}
		return r.state.lead.weak(r, w.position), true
	})
}
