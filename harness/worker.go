package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/assay-project/assay/histories"
)

// openRetry is how long a client slot waits between two tries to open a client.
const openRetry = 200 * time.Millisecond

// States of a task. A task is invoked only from taskPending, and its completion recorded only from
// taskInvoked, so whoever moves it to taskAbandoned knows that nothing more is recorded of it.
const (
	taskPending int32 = iota
	taskInvoked
	taskCompleted
	taskAbandoned
)

// task is one op on its way to a client.
type task struct {
	op    histories.Op
	state atomic.Int32
}

// completion is what became of a task.
type completion struct {
	slot    int
	invoked bool
	op      histories.Op // as recorded
	process int          // of the slot's next op
	err     error        // of the harness
}

// worker is one client slot: a goroutine that executes the ops of one process after the other. A
// process that ended in info is replaced by a fresh one, with a client of its own.
type worker struct {
	r       *run
	slot    int
	process atomic.Int64
	client  Client // owned by the goroutine
	work    chan *task
	done    chan<- completion // with room for one completion of every worker
	exited  chan struct{}     // closed when the goroutine has ended
}

func (w *worker) loop(ctx context.Context) {
	defer close(w.exited)
	for t := range w.work {
		c := w.do(ctx, t)
		c.slot, c.process = w.slot, int(w.process.Load())
		w.done <- c
	}
	w.close()
}

// do executes one task.
func (w *worker) do(ctx context.Context, t *task) (c completion) {
	defer Guard("the client of process "+strconv.Itoa(t.op.Process), &c.err)
	if !w.open(ctx, t) || !t.state.CompareAndSwap(taskPending, taskInvoked) {
		return completion{}
	}
	op, err := w.r.t.Recorder.Record(t.op)
	if err != nil {
		return completion{err: err}
	}
	octx, cancel := context.WithTimeout(ctx, w.r.t.OpTimeout)
	defer cancel()
	op, crash := invoke(octx, w.client, w.r.functions[op.F], op)
	if op.Type == histories.Info {
		w.close()
		w.process.Add(int64(w.r.t.Clients))
	}
	if !t.state.CompareAndSwap(taskInvoked, taskCompleted) {
		return completion{}
	}
	op, err = w.r.t.Recorder.Record(op)
	return completion{invoked: true, op: op, err: errors.Join(err, crash)}
}

// open makes sure that there is a client. It tries until the load ends or the task is abandoned.
func (w *worker) open(ctx context.Context, t *task) bool {
	for level := slog.LevelWarn; w.client == nil; level = slog.LevelDebug { // the first failure says why nothing is tried
		if ctx.Err() != nil || t.state.Load() == taskAbandoned {
			return false
		}
		client, err := openClient(ctx, w.r.t.Cluster, t.op.Process)
		if err == nil {
			w.client = client
			return true
		}
		w.r.t.Logger.Log(ctx, level, "no client", "process", t.op.Process, "err", err)
		if !w.r.pause(ctx, openRetry) {
			return false
		}
	}
	return true
}

func (w *worker) close() {
	if w.client == nil {
		return
	}
	if err := closeClient(w.client); err != nil {
		w.r.t.Logger.Debug("closing a client", "process", w.process.Load(), "err", err)
	}
	w.client = nil
}

// openClient is Cluster.Open, with a panic as an error.
func openClient(ctx context.Context, c Cluster, process int) (client Client, err error) {
	defer Guard("opening a client", &err)
	client, err = c.Open(ctx, process)
	if err == nil && client == nil {
		err = fmt.Errorf("the cluster opened no client for process %d, and gave no reason", process)
	}
	return client, err
}

func closeClient(c Client) (err error) {
	defer Guard("closing a client", &err)
	return c.Close()
}
