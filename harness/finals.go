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

// finals makes the final reads of the workload, stage by stage. Each is one fresh process that
// reads in as many steps as it takes. What cannot be read within finalTimeout stays incomplete in
// the history, for the checkers to see.
func (r *run) finals(ctx context.Context) error {
	stages := r.t.Workload.Finals(r.t.Cluster)
	for _, reads := range stages {
		for i := range reads {
			op := &reads[i].Op
			if _, ok := r.functions[op.F]; !ok {
				return undeclared(r.t.Workload, op.F)
			}
			op.Type, op.Process = histories.Invoke, r.next
			r.next++
		}
	}
	for _, reads := range stages {
		r.progress(Reading, 0, 0)
		if err := r.readAll(ctx, reads); err != nil {
			return err
		}
	}
	return nil
}

// readAll makes the reads of one stage, as many at once as there are clients.
func (r *run) readAll(ctx context.Context, reads []FinalRead) error {
	errs := make([]error, len(reads))
	slots := make(chan struct{}, r.t.Clients)
	var wg sync.WaitGroup
	for i, read := range reads {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			defer Guard("the final read of process "+strconv.Itoa(read.Op.Process), &errs[i])
			errs[i] = r.readOne(ctx, read)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readOne makes one final read to its end.
func (r *run) readOne(ctx context.Context, read FinalRead) error {
	op := &read.Op
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
			if done, progressed, err = r.readStep(ctx, client, &read); done || err != nil {
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

// readStep asks once, and moves read.Op to what comes next. done: that was all, or the process
// cannot go on. progressed: the next step is another one. The error is the harness's.
func (r *run) readStep(ctx context.Context, client Client, read *FinalRead) (done, progressed bool, err error) {
	f, ok := r.functions[read.Op.F]
	if !ok {
		return true, false, undeclared(r.t.Workload, read.Op.F)
	}
	invoked, err := r.t.Recorder.Record(read.Op)
	if err != nil {
		return true, false, err
	}
	actx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	got, crash := invoke(actx, client, f, invoked)
	if got, err = r.t.Recorder.Record(got); err != nil || crash != nil {
		return true, false, errors.Join(err, crash)
	}
	if got.Type != histories.OK {
		return got.Type == histories.Info, false, nil
	}
	if read.Next == nil {
		return true, true, nil
	}
	next, done := read.Next(read.Op, got)
	next.Type, next.Process = histories.Invoke, read.Op.Process
	progressed = !sameQuestion(&next, &read.Op)
	read.Op = next
	return done, progressed, nil
}

// sameQuestion reports whether two ops ask for the same.
func sameQuestion(a, b *histories.Op) bool {
	return a.F == b.F && a.Node == b.Node && a.Part == b.Part && a.Value == b.Value && a.From == b.From
}
