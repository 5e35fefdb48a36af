package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-project/assay/histories"
)

// Run carries out t: it starts the cluster, loads and hurts it, heals everything, waits until it is
// well again, reads every partition and every replica to its end, and stops it. On every way out
// (the end, an error, a panic, ctx) the nemesis has healed what it hurt and the cluster is stopped.
//
// An error means that the harness or the environment failed and nothing can be said about the
// system; the history holds what was recorded until then. That the system under test misbehaved is
// never an error, and neither is an interruption: see Execution.
//
// Inside a synctest bubble ctx must have been made inside it.
func Run(ctx context.Context, t Test) (ex Execution, err error) {
	start := time.Now()
	if err := t.check(); err != nil {
		return ex, err
	}
	r := &run{t: &t, began: start, ex: &ex}
	r.functions, _ = functionsOf(t.Workload) // check has looked at the error
	defer func() {
		err = errors.Join(err, r.stop(ctx))
		ex.Took = time.Since(start)
	}()
	defer Guard("the harness", &err)
	return ex, r.phases(ctx)
}

// run is one call of Run.
type run struct {
	t     *Test
	ex    *Execution
	began time.Time
	notes notebook
	load  *load
	next  int // the first process number that was not used yet

	functions map[string]Function // of the workload, by name
}

func (r *run) phases(ctx context.Context) error {
	r.progress(Starting, 0, 0)
	for _, phase := range []func(context.Context) error{r.start, r.loadPhase, r.recovery, r.finals} {
		if err := phase(ctx); err != nil {
			return err
		}
		if r.interrupted(ctx) {
			r.ex.Interrupted = true
			return r.note(histories.NewNote(histories.NoteInterrupted))
		}
	}
	return nil
}

// start brings the cluster up and prepares it for the load.
func (r *run) start(ctx context.Context) error {
	sctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := r.t.Cluster.Start(sctx); err != nil {
		if r.interrupted(ctx) {
			return nil
		}
		return fmt.Errorf("starting the cluster: %w", err)
	}
	sctx, cancel2 := context.WithTimeout(ctx, setupTimeout)
	defer cancel2()
	if err := r.t.Workload.Setup(sctx, r.t.Cluster); err != nil && !r.interrupted(ctx) {
		return fmt.Errorf("setting up the workload %s: %w", r.t.Workload.Name(), err)
	}
	return r.noteGroups(sctx)
}

// stop ends the cluster with a context of its own, because ctx may be over.
func (r *run) stop(ctx context.Context) (err error) {
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	defer Guard("stopping the cluster", &err)
	if err := r.t.Cluster.Stop(sctx); err != nil {
		err = fmt.Errorf("stopping the cluster: %w", err)
		return errors.Join(err, r.leaked())
	}
	return r.leaked()
}

// interrupted reports whether the run was asked to end early.
func (r *run) interrupted(ctx context.Context) bool {
	return ctx.Err() != nil || r.t.Stop != nil && r.t.Stop()
}

func (r *run) progress(p Phase, elapsed, total time.Duration) {
	if r.t.OnProgress == nil {
		return
	}
	pr := Progress{Phase: p, Elapsed: elapsed, Total: total}
	if r.load != nil {
		pr.Ops = r.load.counts()
	}
	if r.t.Nemesis != nil && p == Load {
		pr.Faults = r.t.Nemesis.Now()
	}
	r.t.OnProgress(pr)
}

// pause waits for d, and reports whether the run may go on.
func (r *run) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return !r.interrupted(ctx)
}
