package experiment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
	"github.com/assay-project/assay/report"
)

// HarnessLog is the file in a run directory with the harness's own log.
const HarnessLog = "harness.log"

// Hooks let the caller look on. All are optional.
type Hooks struct {
	// Started is called when the run directory is there, before anything else happens.
	Started func(run *histories.Run)
	// Finished is called by RunSeeds for each seed, one at a time.
	Finished func(s judge.Summary)
	// Cluster is called with a function that stops and removes the cluster of a run in this process
	// at once; what it returns is called when the run is over. It is for a process that is about to
	// end without waiting for Run.
	Cluster func(stop func(context.Context) error) (release func())
	// Stderr gets what the process of a simulation says before it fails: the stacks of one that
	// hangs. nil: it is dropped. Of several seeds at a time, several goroutines write to it.
	Stderr io.Writer
	// Version is that of the program, for the manifest; Command is how it was called.
	Version string
	Command []string
	// Reproduce are flags to add to the command that runs the experiment again.
	Reproduce []string
}

// outcome is what carrying out a run gave.
type outcome struct {
	harness.Execution
	wall time.Duration
	err  error
}

// Run carries out an experiment and judges it. It writes the manifest before anything starts, and
// judges the history that is on disk. When ctx ends, the run heals, stops, and is judged as far as
// it came.
//
// An error means that the experiment could not be run: nothing is said about the system. The Result
// then is nil, or has verdict "error" and says where the run was kept.
func (c Catalog) Run(ctx context.Context, spec Spec, hooks Hooks) (*Result, error) {
	p, err := c.prepare(spec)
	if err != nil {
		return nil, err
	}
	if err := p.env.reachable(ctx); err != nil {
		return nil, err
	}
	run, m, err := p.begin(hooks)
	if err != nil {
		return nil, err
	}
	if hooks.Started != nil {
		hooks.Started(run)
	}
	start := time.Now()
	var out outcome
	if p.env.Virtual {
		out = p.runChild(ctx, run, hooks.Stderr)
	} else {
		out = p.runHere(ctx, run, hooks)
	}
	out.wall = time.Since(start)
	return p.conclude(ctx, run, m, out)
}

// begin makes the run directory and writes the manifest. With an error it leaves nothing behind.
func (p *prepared) begin(hooks Hooks) (*histories.Run, *harness.Manifest, error) {
	now := time.Now()
	run, err := histories.NewStore(p.Store).Create(histories.RunName{Time: now, Mode: p.config.Mode, Workload: p.Workload, Seed: p.Seed})
	if err != nil {
		return nil, nil, fmt.Errorf("%w (--store chooses another place)", err)
	}
	faults := p.Nemesis
	if p.Plan.Plan != nil {
		faults = nemesis.FaultsOf(p.plan)
	}
	m := &harness.Manifest{
		Format: harness.ManifestFormat, Start: now.UTC(), Env: p.Env, Target: p.target.Name, Mode: p.config.Mode, Nodes: p.Nodes, Workload: p.Workload,
		Versions: harness.Versions{Assay: hooks.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH},
		Nemesis:  append([]string{}, faults...), Seed: p.Seed, Options: p.options, Plan: p.plan,
		Load:    harness.LoadProfile{Time: p.Time, Interval: p.Interval, Rate: float64(p.Rate), Clients: p.Clients, CheckTimeout: p.CheckTimeout},
		Command: hooks.Command, Reproduce: p.command(p.catalog, hooks.Reproduce...),
	}
	if err := run.WriteJSON(histories.ManifestFile, m); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(run.Dir()))
	}
	return run, m, nil
}

// conclude judges what is on disk, and writes verdict and report.
func (p *prepared) conclude(ctx context.Context, run *histories.Run, m *harness.Manifest, out outcome) (*Result, error) {
	h, warnings, err := histories.ReadFile(run.HistoryPath())
	if errors.Is(err, os.ErrNotExist) && out.err != nil {
		err = nil // it ended before there was anything to record
	}
	out.err = errors.Join(out.err, err)
	// An interrupted run is judged all the same: its context is over, the judges have their own
	// bound.
	res, err := p.catalog.judge(context.WithoutCancel(ctx), recorded{manifest: m, history: h, err: out.err, interrupted: out.Interrupted})
	if err != nil {
		return nil, errors.Join(out.err, err)
	}
	s := &res.Summary
	s.Run, s.VirtualMS, s.WallMS = run.Dir(), out.Took.Milliseconds(), out.wall.Milliseconds()
	if warnings.Any() {
		res.Warnings = append(res.Warnings, warnings.String())
	}
	if out.Starved > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%d of the operations that were due were left out, because every client was busy", out.Starved))
	}
	if p.Keep == KeepOnFailure && s.Exit == judge.ExitValid {
		if err := os.RemoveAll(run.Dir()); err != nil {
			return res, res.failed(fmt.Errorf("removing the run of a valid verdict: %w", err))
		}
		res.Removed = true
		return res, nil
	}
	if err := res.write(run); err != nil {
		return res, errors.Join(out.err, res.failed(err))
	}
	return res, out.err
}

// failed makes an error of the harness after the judging the verdict, and returns it.
func (r *Result) failed(err error) error {
	s, at := &r.Summary, 0
	if s.Exit == judge.ExitError {
		at = min(1, len(s.Unknown)) // what failed first comes first
	}
	s.Exit, s.Verdict = judge.ExitError, judge.VerdictName(judge.ExitError)
	s.Unknown = slices.Insert(s.Unknown, at, judge.OneLine(err))
	return err
}

// write keeps verdict and report in the run directory. A report that cannot be written whole is not
// kept.
func (r *Result) write(run *histories.Run) error {
	err := run.WriteJSON(histories.VerdictFile, &r.Document)
	f, ferr := os.Create(run.ReportPath())
	if ferr == nil {
		ferr = errors.Join(report.HTML(f, &r.Document, r.History, r.Picture), f.Close())
	}
	if ferr != nil {
		r.NoReport = true
		_ = os.Remove(run.ReportPath()) // what is left of it is of no use, and there may be none
		ferr = fmt.Errorf("writing the report: %w", ferr)
	}
	return errors.Join(err, ferr)
}

// runHere carries out a run in this process: in real time, or in the bubble that the caller is in.
func (p *prepared) runHere(ctx context.Context, run *histories.Run, hooks Hooks) outcome {
	c, closeLogs, err := p.cluster(run)
	if err != nil {
		return outcome{err: err}
	}
	if hooks.Cluster != nil {
		defer hooks.Cluster(c.Stop)()
	}
	out := p.execute(ctx, run, c)
	out.err = errors.Join(out.err, closeLogs())
	return out
}

// execute records a run on a cluster. In a simulation it is called inside the bubble.
func (p *prepared) execute(ctx context.Context, run *histories.Run, c harness.Cluster) (out outcome) {
	file, err := run.CreateHistory()
	if err != nil {
		return outcome{err: err}
	}
	defer func() { out.err = errors.Join(out.err, file.Close()) }()
	log, closeLog, err := harnessLog(run)
	if err != nil {
		return outcome{err: err}
	}
	defer func() { out.err = errors.Join(out.err, closeLog()) }()
	start := time.Now()
	rec := histories.NewRecorder(file, func() time.Duration { return time.Since(start) })
	out.Execution, out.err = p.test(ctx, c, rec, log)
	return out
}

// test runs the harness's test.
func (p *prepared) test(ctx context.Context, c harness.Cluster, rec *histories.Recorder, log *slog.Logger) (harness.Execution, error) {
	t := harness.Test{
		Seed: p.Seed, Cluster: c, Workload: p.workload, Time: p.Time, Rate: float64(p.Rate), Clients: p.Clients, Recorder: rec, Logger: log,
		Divergence: p.divergence,
	}
	if len(p.plan.Strikes) > 0 {
		n, err := p.faults.New(p.plan)
		if err != nil {
			return harness.Execution{}, err
		}
		t.Nemesis = n
	}
	return harness.Run(ctx, t)
}

// harnessLog opens the log of the harness itself.
func harnessLog(run *histories.Run) (*slog.Logger, func() error, error) {
	f, err := os.Create(run.Path(HarnessLog))
	if err != nil {
		return nil, nil, fmt.Errorf("the log of the harness: %w", err)
	}
	return slog.New(slog.NewTextHandler(io.Writer(f), nil)), f.Close, nil
}

// RunWithin is Run of a simulation in a bubble that the caller provides, in this process: within
// calls record once, inside a synctest bubble, with a context that was made there.
func (c Catalog) RunWithin(spec Spec, hooks Hooks, within func(record func(context.Context))) (*Result, error) {
	p, err := c.prepare(spec)
	if err != nil {
		return nil, err
	}
	if !p.env.Virtual {
		return nil, fmt.Errorf("the environment %s does not run in a bubble", p.Env)
	}
	run, m, err := p.begin(hooks)
	if err != nil {
		return nil, err
	}
	if hooks.Started != nil {
		hooks.Started(run)
	}
	start := time.Now()
	out := outcome{err: errors.New("the bubble ended before the run did")}
	within(func(ctx context.Context) {
		out = p.runHere(ctx, run, Hooks{})
	})
	out.wall = time.Since(start)
	return p.conclude(context.Background(), run, m, out)
}
