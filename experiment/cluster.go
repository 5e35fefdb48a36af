package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/docker"
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// simHandler is the name of the handler that runs simulations in a child process.
const simHandler = "run"

// SimHandlers are what the main function of a program that calls Run gives to sim.ChildMain: a simulation runs in a child process
// of the program.
func SimHandlers() map[string]sim.Handler { return map[string]sim.Handler{simHandler: simChild} }

// childRequest is what the child is to run. It derives everything from the Spec, as its parent did.
type childRequest struct {
	Spec Spec   `json:"spec"`
	Run  string `json:"run"`
}

// runChild carries out a simulation in a child process, which records the history itself.
func (p *prepared) runChild(ctx context.Context, run *histories.Run, stderr io.Writer) outcome {
	dir, err := filepath.Abs(run.Dir())
	if err != nil {
		return outcome{err: err}
	}
	body, err := json.Marshal(childRequest{Spec: p.Spec, Run: dir})
	if err != nil {
		return outcome{err: err}
	}
	answer, err := sim.Spawn(ctx, sim.Request{Handler: simHandler, Body: body, Stderr: stderr}, nil)
	if err != nil {
		return outcome{err: err}
	}
	var out outcome
	if err := json.Unmarshal(answer, &out.Execution); err != nil {
		out.err = fmt.Errorf("the simulation's answer: %w", err)
	}
	return out
}

// simChild is the child's side of runChild, inside the bubble.
func simChild(ctx context.Context, body json.RawMessage, _ func(json.RawMessage)) (json.RawMessage, error) {
	var req childRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	p, err := req.Spec.prepare()
	if err != nil {
		return nil, err
	}
	run, err := histories.OpenRun(req.Run)
	if err != nil {
		return nil, err
	}
	c, closeLogs, err := p.cluster(run)
	if err != nil {
		return nil, err
	}
	out := p.execute(ctx, run, c)
	if err := errors.Join(out.err, closeLogs()); err != nil {
		return nil, err
	}
	return json.Marshal(out.Execution)
}

// cluster makes the cluster of a run, which is not started yet. The function closes the nodes' logs.
func (p *prepared) cluster(run *histories.Run) (harness.Cluster, func() error, error) {
	if p.Env == EnvDocker {
		log, closeLog, err := environmentLog(run)
		if err != nil {
			return nil, nil, err
		}
		c, err := docker.New(docker.Config{Spec: p.target(), RunID: runID(run), LogDir: run.NodesDir(), Logger: log})
		return c, closeLog, err
	}
	logs := &nodeLogs{run: run, files: make(map[string]*os.File)}
	c, err := sim.New(sim.Config{Spec: p.target(), Seed: p.Seed, Logs: logs.handler})
	return c, logs.close, err
}

// idleCluster is a cluster that is never started, to ask for its abilities.
func (s *Spec) idleCluster() (harness.Cluster, error) {
	if s.Env == EnvDocker {
		return docker.New(docker.Config{Spec: s.target(), RunID: "idle"})
	}
	return sim.New(sim.Config{Spec: s.target(), Seed: s.Seed})
}

// reachable says why the environment cannot be used now. A run that was interrupted already is none of that.
func (s *Spec) reachable(ctx context.Context) error {
	if s.Env != EnvDocker {
		return nil
	}
	if err := docker.Available(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("--env docker: %w (--env sim needs none)", err)
	}
	return nil
}

// runID is the unique suffix of a run directory's name, by which its containers are known.
func runID(run *histories.Run) string {
	name := filepath.Base(run.Dir())
	return strings.ToLower(name[strings.LastIndexByte(name, '-')+1:])
}

// newNemesis returns what carries out a plan.
func newNemesis(plan harness.Plan) (harness.Nemesis, error) { return nemesis.New(plan) }

// faultsOf are the faults of a plan.
func faultsOf(plan harness.Plan) []string { return nemesis.FaultsOf(plan) }

// divergence reports whether the contract lets a replica of a group stay refused after what happened so far.
func (p *prepared) divergence(ops histories.Reader, group int) bool {
	return contract.For(contract.Conditions{Config: p.contract, Facts: contract.FactsOf(ops)}).DivergencePermitted(group)
}

func environmentLog(run *histories.Run) (*slog.Logger, func() error, error) {
	f, err := os.Create(run.Path("environment.log"))
	if err != nil {
		return nil, nil, fmt.Errorf("the log of the environment: %w", err)
	}
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})), f.Close, nil
}

// nodeLogs are the log files of simulated nodes.
type nodeLogs struct {
	run *histories.Run

	mu    sync.Mutex // guards files; held for map access and the opening of a file only
	files map[string]*os.File
	err   error
}

// handler returns the handler of one node's log.
func (l *nodeLogs) handler(n harness.NodeID) slog.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[string(n)]
	if f == nil {
		var err error
		if f, err = os.OpenFile(l.run.NodeLog(string(n)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			l.err = errors.Join(l.err, fmt.Errorf("the log of %s: %w", n, err))
			return slog.NewJSONHandler(io.Discard, nil)
		}
		l.files[string(n)] = f
	}
	return slog.NewJSONHandler(f, nil)
}

func (l *nodeLogs) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.files {
		l.err = errors.Join(l.err, f.Close())
	}
	return l.err
}
