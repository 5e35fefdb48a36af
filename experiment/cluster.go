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
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/histories"
)

// simHandler is the name of the handler that runs simulations in a child process.
const simHandler = "run"

// SimHandlers are what the main function of a program that calls Run gives to sim.ChildMain: a
// virtual environment runs in a child process of the program, which must have the same catalog.
func (c Catalog) SimHandlers() map[string]sim.Handler {
	return map[string]sim.Handler{
		simHandler: func(ctx context.Context, body json.RawMessage, _ func(json.RawMessage)) (json.RawMessage, error) {
			return c.simChild(ctx, body)
		},
	}
}

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
func (c Catalog) simChild(ctx context.Context, body json.RawMessage) (json.RawMessage, error) {
	var req childRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	p, err := c.prepare(req.Spec)
	if err != nil {
		return nil, err
	}
	run, err := histories.OpenRun(req.Run)
	if err != nil {
		return nil, err
	}
	out := p.runHere(ctx, run, Hooks{})
	if out.err != nil {
		return nil, out.err
	}
	return json.Marshal(out.Execution)
}

// cluster makes the cluster of a run, which is not started yet. The function closes what was opened
// for it.
func (p *prepared) cluster(run *histories.Run) (harness.Cluster, func() error, error) {
	c, closeIt, err := p.env.New(ClusterConfig{Target: p.target, Config: p.config, Seed: p.Seed, Run: run})
	if closeIt == nil {
		closeIt = func() error { return nil }
	}
	if err == nil && c == nil {
		err = fmt.Errorf("environment %s: its New returned no cluster", p.Env)
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeIt())
	}
	return c, closeIt, nil
}

// idleCluster is a cluster that is never started, to ask for its abilities.
func (p *prepared) idleCluster() (c harness.Cluster, err error) {
	defer harness.Guard("a part of the catalog", &err)
	c, closeIt, err := p.cluster(nil)
	if err != nil {
		return nil, err
	}
	return c, closeIt()
}

// reachable says why the environment cannot be used now. A run that was interrupted already is none
// of that.
func (e Environment) reachable(ctx context.Context) error {
	if e.Available == nil {
		return nil
	}
	return e.Available(context.WithoutCancel(ctx))
}

// runID is the unique suffix of a run directory's name, by which its containers and processes are
// known.
func runID(run *histories.Run) string {
	name := filepath.Base(run.Dir())
	return strings.ToLower(name[strings.LastIndexByte(name, '-')+1:])
}

// divergence reports whether the contract lets a replica of a group stay refused after what
// happened so far.
func (p *prepared) divergence(ops histories.Reader, group int) bool {
	k, _ := p.promise.After(contract.FactsOf(histories.EventsOf(ops)))
	return k.DivergencePermitted(group)
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

	mu    sync.Mutex // guards what follows; held for map access and the opening of a file only
	files map[string]*os.File
	err   error
}

func newNodeLogs(run *histories.Run) *nodeLogs {
	return &nodeLogs{run: run, files: make(map[string]*os.File)}
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
