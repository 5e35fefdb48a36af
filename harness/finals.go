package harness

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/assay-project/assay/histories"
)

// Waits between two tries of a final read: doubled each time.
const (
	finalRetryMin  = 250 * time.Millisecond
	finalRetryMax  = 2 * time.Second
	attemptTimeout = 10 * time.Second // one try
)

// finals reads every partition to its committed end, then scans every replica, as the workload says. Each is one fresh process that reads in
// as many chunks as it takes, from where the last one ended. What cannot be read within finalTimeout stays incomplete in the history, for the checkers to see.
func (r *run) finals(ctx context.Context) error {
	var reads, scans []histories.Op
	for _, op := range r.t.Workload.Finals(r.t.Cluster) {
		op.Type, op.Process = histories.Invoke, r.next
		r.next++
		if op.F == histories.Scan {
			scans = append(scans, op)
		} else {
			reads = append(reads, op)
		}
	}
	for _, ops := range [][]histories.Op{reads, scans} {
		r.progress(Reading, 0, 0)
		if err := r.readAll(ctx, ops); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads ops, as many at once as there are clients.
func (r *run) readAll(ctx context.Context, ops []histories.Op) error {
	errs := make([]error, len(ops))
	slots := make(chan struct{}, r.t.Clients)
	var wg sync.WaitGroup
	for i, op := range ops {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			defer Guard("the final read of process "+strconv.Itoa(op.Process), &errs[i])
			errs[i] = r.readOne(ctx, op)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readOne reads one partition or replica to its end.
func (r *run) readOne(ctx context.Context, op histories.Op) error {
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	var client Client
	defer func() {
		if client != nil {
			if err := closeClient(client); err != nil {
				r.t.Logger.Debug("closing a client", "process", op.Process, "err", err)
			}
		}
	}()
	wait := finalRetryMin
	for ctx.Err() == nil {
		var err error
		if client == nil {
			client, err = openClient(ctx, r.t.Cluster, op.Process)
		}
		if err == nil {
			var done, progressed bool
			if done, progressed, err = r.readChunk(ctx, client, &op); done || err != nil {
				return err
			}
			if progressed {
				wait = finalRetryMin
				continue
			}
		}
		if !r.pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, finalRetryMax)
	}
	return nil
}

// readChunk reads once from op.From on, and moves that. done: the end was reached, or the process cannot go on. progressed: some
// messages came. The error is the harness's.
func (r *run) readChunk(ctx context.Context, client Client, op *histories.Op) (done, progressed bool, err error) {
	invoked, err := r.t.Recorder.Record(*op)
	if err != nil {
		return true, false, err
	}
	actx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	got, crash := invoke(actx, client, invoked)
	if got, err = r.t.Recorder.Record(got); err != nil || crash != nil {
		return true, false, errors.Join(err, crash)
	}
	if got.Type != histories.OK {
		return got.Type == histories.Info, false, nil
	}
	next := op.From
	if n := len(got.Msgs); n > 0 {
		next = max(next, got.Msgs[n-1].Offset+1)
	}
	progressed = next > op.From
	op.From = next
	return next >= got.HW, progressed, nil
}
