package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/assay-project/assay/histories"
)

// loadStream separates the random numbers of the schedule from others that derive from the same
// seed.
const loadStream = 0x6c6f6164

// load is the load phase. Everything in it belongs to the goroutine that calls Run; the workers and
// the nemesis post to it.
type load struct {
	r       *run
	start   time.Time
	gen     Generator
	rng     *rand.Rand
	workers []*worker
	idle    []int // slots, the one that has been idle longest first
	open    map[int]*task
	done    chan completion
	cancel  context.CancelFunc // ends the ops
	timer   *time.Timer        // of wait, which sets it anew each time

	ops      histories.OpCounts
	nemesis  chan error // one value when it has returned, then closed; nil without a nemesis
	nemStop  context.CancelFunc
	err      error // the first error of the harness
	finished bool  // the generator has no more ops
}

func (l *load) counts() histories.OpCounts { return l.ops }

// loadPhase generates load and lets the nemesis strike for Test.Time, then waits for what is open
// and for everything to be healed.
func (r *run) loadPhase(ctx context.Context) error {
	l := r.newLoad(ctx)
	r.load = l
	defer l.close()
	l.startNemesis(ctx)
	l.drive(ctx)
	l.drain(ctx)
	l.awaitNemesis(ctx)
	return l.err
}

func (r *run) newLoad(ctx context.Context) *load {
	l := &load{
		r: r, start: time.Now(), gen: r.t.Workload.Generator(r.t.Seed),
		rng:  rand.New(rand.NewPCG(r.t.Seed, loadStream)),
		open: make(map[int]*task), done: make(chan completion, r.t.Clients), timer: time.NewTimer(0),
	}
	wctx, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	for i := range r.t.Clients {
		w := &worker{r: r, slot: i, work: make(chan *task, 1), done: l.done, exited: make(chan struct{})}
		w.process.Store(int64(i))
		l.workers = append(l.workers, w)
		l.idle = append(l.idle, i)
		go w.loop(wctx)
	}
	return l
}

// close ends ops, workers and nemesis, also after a panic.
func (l *load) close() {
	l.r.ex.Ops = l.ops
	l.r.ex.Ops.Info += int64(len(l.open))
	l.cancel()
	l.timer.Stop()
	for _, w := range l.workers {
		close(w.work)
		l.r.next = max(l.r.next, int(w.process.Load())+l.r.t.Clients)
	}
	l.stopNemesis()
}

// startNemesis lets the nemesis strike in a goroutine of its own.
func (l *load) startNemesis(ctx context.Context) {
	if l.r.t.Nemesis == nil {
		return
	}
	nctx, cancel := context.WithCancel(ctx)
	l.nemStop = cancel
	l.nemesis = make(chan error, 1)
	stage := Stage{
		Cluster: l.r.t.Cluster, Record: l.r.record, Start: l.start, Clients: l.r.t.Clients, Processes: l.processes,
		Restore: func(ctx context.Context) error { return l.r.t.Workload.Setup(ctx, l.r.t.Cluster) },
		Logger:  l.r.t.Logger,
	}
	go func() {
		defer close(l.nemesis)
		l.nemesis <- runNemesis(nctx, l.r.t.Nemesis, stage)
	}()
}

func runNemesis(ctx context.Context, n Nemesis, s Stage) (err error) {
	defer Guard("the nemesis", &err)
	return n.Run(ctx, s)
}

func (l *load) processes() []int {
	all := make([]int, len(l.workers))
	for i, w := range l.workers {
		all[i] = int(w.process.Load())
	}
	return all
}

// drive issues the ops. Op i is due at a random moment of the i-th interval of 1/rate, whether or
// not the system keeps up (an open loop): when every process is busy then, it is counted as starved
// and not invoked.
func (l *load) drive(ctx context.Context) {
	interval := float64(time.Second) / l.r.t.Rate
	for i := 0; ; i++ {
		due := time.Duration((float64(i) + l.rng.Float64()) * interval)
		if due >= l.r.t.Time {
			l.wait(ctx, l.r.t.Time)
			return
		}
		if !l.wait(ctx, due) || l.finished {
			return
		}
		l.issue()
	}
}

// wait handles whatever comes in until a time since the start of the load. It reports whether the
// load may go on. Completions wait for the time that they can matter: workers have room to leave
// them, and waking up for each would be a twentieth of a simulation's work.
func (l *load) wait(ctx context.Context, until time.Duration) bool {
	for {
		now := time.Since(l.start)
		next := min(until, now.Truncate(progressTick)+progressTick)
		if l.r.t.Stop != nil {
			next = min(next, now+stopPoll)
		}
		l.timer.Reset(next - now)
		select {
		case <-l.timer.C:
			l.takeCompletions()
			if next%progressTick == 0 {
				l.r.progress(Load, next, l.r.t.Time)
			}
		case err, ok := <-l.nemesis:
			l.nemesisEnded(err, ok)
		case <-ctx.Done():
		}
		if l.err != nil || l.r.interrupted(ctx) {
			return false
		}
		if time.Since(l.start) >= until {
			return true
		}
	}
}

// takeCompletions handles the completions that have come.
func (l *load) takeCompletions() {
	for {
		select {
		case c := <-l.done:
			l.complete(c)
		default:
			return
		}
	}
}

// nemesisEnded takes the nemesis' result. Its channel is nil from then on, so that it is not
// selected again.
func (l *load) nemesisEnded(err error, ok bool) {
	l.nemesis = nil
	if ok {
		l.fail(err)
	}
}

func (l *load) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// issue gives the next op to the process that has been idle longest.
func (l *load) issue() {
	if len(l.idle) == 0 {
		l.r.ex.Starved++
		return
	}
	slot := l.idle[0]
	process := int(l.workers[slot].process.Load())
	op, status := l.gen.Next(Context{Now: time.Since(l.start), Process: process})
	switch status {
	case Ready:
		l.idle = l.idle[1:]
		if _, ok := l.r.functions[op.F]; !ok {
			l.fail(undeclared(l.r.t.Workload, op.F))
			return
		}
		op.Type, op.Process = histories.Invoke, process
		t := &task{op: op}
		l.open[slot] = t
		l.workers[slot].work <- t // has room: the slot is idle
	case Done:
		l.finished = true
	}
}

func (l *load) complete(c completion) {
	delete(l.open, c.slot)
	l.idle = append(l.idle, c.slot)
	l.fail(c.err)
	if !c.invoked {
		return
	}
	l.ops.Count(c.op.Type)
	l.gen.Observe(Context{Now: time.Since(l.start), Process: c.op.Process}, c.op)
}

// drain waits for open ops, at most as long as one may take; then it ends their contexts. What does
// not return even then is open for good: nothing more is recorded of it.
func (l *load) drain(ctx context.Context) {
	if !l.r.interrupted(ctx) && l.err == nil {
		l.collect(ctx, l.r.t.OpTimeout)
	}
	l.cancel()
	l.collect(context.WithoutCancel(ctx), cancelGrace)
	for slot, t := range l.open {
		if t.state.CompareAndSwap(taskPending, taskAbandoned) {
			delete(l.open, slot) // was never invoked
			continue
		}
		t.state.CompareAndSwap(taskInvoked, taskAbandoned)
	}
	for l.completing() {
		l.complete(<-l.done)
	}
}

// collect takes completions for at most d, until nothing is open.
func (l *load) collect(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for len(l.open) > 0 {
		select {
		case c := <-l.done:
			l.complete(c)
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// completing reports whether the completion of an open op is being recorded at the moment.
func (l *load) completing() bool {
	for _, t := range l.open {
		if t.state.Load() == taskCompleted {
			return true
		}
	}
	return false
}

// awaitNemesis waits until the plan is over and everything is healed.
func (l *load) awaitNemesis(ctx context.Context) {
	if l.nemesis == nil {
		return
	}
	if l.err != nil {
		l.stopNemesis()
		return
	}
	timer := time.NewTimer(healTimeout)
	defer timer.Stop()
	poll := time.NewTicker(stopPoll)
	defer poll.Stop()
	for l.nemesis != nil {
		select {
		case err, ok := <-l.nemesis:
			l.nemesisEnded(err, ok)
			continue
		case <-poll.C:
			if !l.r.interrupted(ctx) {
				continue
			}
		case <-ctx.Done():
		case <-timer.C:
			l.fail(fmt.Errorf("the nemesis was not done %v after the load", healTimeout))
		}
		l.stopNemesis()
	}
}

// stopNemesis ends the nemesis if it runs, and waits until it has healed everything.
func (l *load) stopNemesis() {
	if l.nemStop != nil {
		l.nemStop()
	}
	if l.nemesis == nil {
		return
	}
	timer := time.NewTimer(healTimeout)
	defer timer.Stop()
	select {
	case err, ok := <-l.nemesis:
		l.nemesisEnded(err, ok)
	case <-timer.C:
		l.nemesis = nil // it goes on by itself
		l.fail(fmt.Errorf("the nemesis did not heal everything within %v: faults may still be on", healTimeout))
	}
}

// leaked waits until every worker has ended, which a client that ignores its context can prevent
// for ever.
func (r *run) leaked() error {
	if r.load == nil {
		return nil
	}
	timer := time.NewTimer(DefaultOpTimeout)
	defer timer.Stop()
	for i, w := range r.load.workers {
		select {
		case <-w.exited:
		case <-timer.C:
			return fmt.Errorf("the client of slot %d has not returned %v after its context ended", i, DefaultOpTimeout)
		}
	}
	return nil
}
