// The cluster as the engine sees it, from New until it can be used. Its end is in stop.go, what is
// done to single nodes in faults.go and pause.go.

package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/program"
)

const (
	// startTries bounds how often a cluster is started over because another process took one of its
	// ports.
	startTries = 5
	// readyPoll is how often a cluster that starts is asked whether it is ready.
	readyPoll = 20 * time.Millisecond
	// shutdownTime is how long a node has to end by itself after SIGTERM.
	shutdownTime = 10 * time.Second
	// holdTime bounds how long Stop waits for operations on nodes, and then for processes to be
	// gone.
	holdTime = 15 * time.Second
)

// ErrStopped is returned (wrapped) when a cluster is used after Stop.
var ErrStopped = errors.New("the cluster has been stopped")

// Config describes a cluster of processes. Target and RunID are required.
type Config struct {
	Target *target.Target
	Config target.Config // the configuration of the target
	RunID  string        // unique: it names directories; a-z, 0-9 and -
	// Dir gets one directory per node. Start makes it, and refuses one that has anything in it;
	// Stop removes it. "": assay-local-<RunID> below os.TempDir.
	Dir string
	// LogDir gets <node>.log with what each node prints, appended across restarts; "" keeps none.
	LogDir string
	Logger *slog.Logger // of the environment itself; nil: none
}

// Cluster implements harness.Cluster, and the abilities of processes; those that the target's
// operator has come with it (Parts). Its methods may be called concurrently.
type Cluster struct {
	cfg      Config
	sys      *target.System
	home     *home
	nodes    []*node // in order; the slice does not change
	starter  *starter
	patience time.Duration // how long a node has after SIGTERM

	life     context.Context // ends when Stop is called, with the cause ErrStopped
	end      context.CancelCauseFunc
	stopTurn chan struct{} // a lock of size 1: one Stop after the other

	// own finds the executable that runs when a target names none. What it found is in ownPath,
	// "" before it was needed. ownTurn is the lock of ownPath, of size 1.
	own     func(ctx context.Context) (string, error)
	ownTurn chan struct{}
	ownPath string

	mu    sync.Mutex    // guards what follows; held for field access only
	ports []target.Port // of the system; nil before it is made
	idle  chan struct{} // closed when Start has returned; nil before Start
	at    *table        // nil before addresses are chosen
}

var (
	_ harness.Cluster  = (*Cluster)(nil)
	_ harness.Composed = (*Cluster)(nil)
	_ harness.Killer   = (*Cluster)(nil)
	_ harness.Wiper    = (*Cluster)(nil)
	_ harness.Pauser   = (*Cluster)(nil)
)

// New makes a cluster. Nothing is started or written, and no port is bound, before Start. A target
// that does not run as a process, and a machine without Unix signals, are refused with
// harness.ErrUnsupported.
func New(cfg Config) (*Cluster, error) {
	if !supported {
		return nil, fmt.Errorf("--env local needs Unix signals, which this system lacks (use sim or docker): %w", harness.ErrUnsupported)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := newHome(cfg.Dir, cfg.RunID)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, home: h, starter: newStarter(), patience: shutdownTime,
		stopTurn: make(chan struct{}, 1), own: program.Own, ownTurn: make(chan struct{}, 1),
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	if c.sys, err = cfg.Target.System(cfg.Config, target.Place{Addr: c.addr, Dial: c.dial}); err != nil {
		return nil, err
	}
	if c.sys.Process == nil {
		return nil, fmt.Errorf("target %s does not run as a process on this machine: %w", cfg.Target.Name, harness.ErrUnsupported)
	}
	c.mu.Lock()
	c.ports = c.sys.Ports
	c.mu.Unlock()
	for _, id := range c.sys.Nodes {
		if err := checkName("node", string(id)); err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, &node{id: id, dir: filepath.Join(h.root, string(id)), turn: make(chan struct{}, 1)})
	}
	return c, nil
}

// checkName says whether a name can be that of a file.
func checkName(what, name string) error {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("%s %q: only a-z, 0-9 and - may be in it, since it names a directory", what, name)
		}
	}
	if name == "" || len(name) > 64 {
		return fmt.Errorf("%s %q: it must have 1 to 64 characters", what, name)
	}
	return nil
}

// Nodes implements harness.Cluster.
func (c *Cluster) Nodes() []harness.NodeID { return slices.Clone(c.sys.Nodes) }

// Open implements harness.Cluster.
func (c *Cluster) Open(ctx context.Context, process int) (harness.Client, error) {
	if err := c.started(); err != nil {
		return nil, err
	}
	return c.sys.Open(ctx, process, c.dial)
}

// started says why nodes cannot be reached; nil when they can.
func (c *Cluster) started() error {
	if c.life.Err() != nil {
		return ErrStopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		return errors.New("the cluster has not been started")
	}
	return nil
}

// node finds a node by its name.
func (c *Cluster) node(id harness.NodeID) (*node, error) {
	for _, n := range c.nodes {
		if n.id == id {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q; there are %v", id, c.sys.Nodes)
}

// bound returns a context that also ends when Stop is called.
func (c *Cluster) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(c.life, func() { cancel(ErrStopped) })
	return ctx, func() {
		release()
		cancel(context.Canceled)
	}
}

// Start implements harness.Cluster. It fails at once when Stop is called meanwhile. When another
// process took a port between its choice and the node's start, the whole cluster is started over,
// with other ports and empty directories.
func (c *Cluster) Start(ctx context.Context) error {
	done, err := c.beginStart()
	if err != nil {
		return err
	}
	defer done()
	ctx, release := c.bound(ctx)
	defer release()
	return c.start(ctx)
}

func (c *Cluster) beginStart() (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.life.Err() != nil:
		return nil, ErrStopped
	case c.idle != nil:
		return nil, errors.New("the cluster has been started before; make a new one")
	}
	idle := make(chan struct{})
	c.idle = idle
	return func() { close(idle) }, nil
}

func (c *Cluster) start(ctx context.Context) error {
	begin := time.Now()
	if err := c.home.make(); err != nil {
		return err
	}
	logs := c.cfg.LogDir
	if logs == "" {
		logs = c.home.logs() // the last lines are needed when a node ends by itself
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("make the directory of the nodes' logs: %w", err)
	}
	for _, n := range c.nodes {
		n.log = filepath.Join(logs, string(n.id)+".log")
	}
	go c.starter.run()
	for try := 1; ; try++ {
		err := c.attempt(ctx)
		if err == nil {
			c.cfg.Logger.Info("the cluster is ready",
				"env", "local", "run", c.cfg.RunID, "nodes", len(c.nodes), "took", time.Since(begin))
			return nil
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", cause, err)
		}
		if !errors.Is(err, errPortTaken) || try == startTries || ctx.Err() != nil {
			return err
		}
		c.cfg.Logger.Warn("the cluster is started over with other ports", "try", try, "err", err)
		if err := c.each(ctx, c.erase); err != nil {
			return err
		}
	}
}

// attempt chooses addresses, starts every node, and returns when the cluster can be used.
func (c *Cluster) attempt(ctx context.Context) error {
	chosen, err := draw(len(c.nodes), c.sys.Ports)
	if err != nil {
		return fmt.Errorf("choose addresses: %w", err)
	}
	at := newTable(c.nodes, chosen)
	c.mu.Lock()
	c.at = at
	c.mu.Unlock()
	if err := c.each(ctx, c.boot); err != nil {
		return err
	}
	return c.await(ctx)
}

// await returns when the system is ready, or as soon as a node ends by itself.
func (c *Cluster) await(ctx context.Context) error {
	waiting, cancel := context.WithCancelCause(ctx)
	var watches sync.WaitGroup
	for _, n := range c.nodes {
		watches.Go(func() {
			p := n.proc.Load()
			select {
			case <-p.ended:
				cancel(c.exited(n, p))
			case <-waiting.Done():
			}
		})
	}
	err := c.sys.Await(waiting, readyPoll)
	cause := context.Cause(waiting)
	cancel(nil)
	watches.Wait()
	if err != nil && cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

// errGivenUp is why something is given up when it failed for another node.
var errGivenUp = errors.New("given up because another node failed")

// each does the same to all nodes side by side. The first error ends the others. What is the same
// for several nodes, as that a stop came, is told once.
func (c *Cluster) each(ctx context.Context, do func(context.Context, *node) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() {
			defer harness.Guard("node "+string(n.id), &errs[i])
			if err := n.lock(ctx); err != nil {
				errs[i] = err
				return
			}
			defer n.unlock()
			if errs[i] = do(ctx, n); errs[i] != nil {
				cancel(errGivenUp)
			}
		})
	}
	all.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil || errors.Is(err, errGivenUp) })
	same := func(a, b error) bool { return a.Error() == b.Error() }
	return errors.Join(slices.CompactFunc(errs, same)...)
}
