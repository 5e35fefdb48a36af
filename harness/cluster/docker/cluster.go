package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

const (
	// stepTime bounds one call to the engine that is not cut short by a stop, so that nothing is
	// created after Stop has looked.
	stepTime = 30 * time.Second
	// holdTime bounds how long Stop waits for operations on nodes.
	holdTime = 15 * time.Second
	// readyPoll is how often a cluster that starts is asked whether it is ready.
	readyPoll = 20 * time.Millisecond
)

// ErrStopped is returned when a cluster is used after Stop.
var ErrStopped = errors.New("the cluster has been stopped")

// Config describes a cluster in containers. Target, Config and RunID are required.
type Config struct {
	Target *target.Target
	Config target.Config // of the target
	RunID  string        // unique: it names and labels whatever is created; a-z, 0-9 and -
	// LogDir gets <node>.log with what each node prints; "" keeps none.
	LogDir string
	Logger *slog.Logger // of the environment itself; nil: none
	// Program is a static Linux executable for the engine's architecture that has assay's command
	// "agent": assay itself, or another binary made with its command line. "" means the running
	// executable, or, when it cannot be that one (a test, another system's), one built from assay's
	// source.
	Program string
}

// Cluster implements harness.Cluster and the abilities that containers have: not power cuts, not
// disk faults. Those of its target are among its Parts. Its methods may be called concurrently.
type Cluster struct {
	target  string // its name, for errors
	runID   string
	logDir  string // "" keeps no logs
	program string // see findProgram
	publish bool   // reach nodes through published ports even where their own addresses lead to them
	logger  *slog.Logger
	links   *links
	rules   rulebook

	// Both are set once, by New. The functions of target.Place may run before that.
	sys   *target.System
	nodes []*node // in order

	mu      sync.Mutex // guards what follows, and the setting of sys and nodes; held for field access only
	stopped bool
	starts  int                // starts that are under way
	idle    chan struct{}      // closed when starts drops to 0
	abort   context.CancelFunc // ends the start that is under way
	engine  *engine            // nil before the first contact
	subnet  netip.Prefix       // of the run's network; invalid before there is one
	direct  bool               // nodes' addresses lead from here into the containers
}

var (
	_ harness.Cluster      = (*Cluster)(nil)
	_ harness.Composed     = (*Cluster)(nil)
	_ harness.Killer       = (*Cluster)(nil)
	_ harness.Wiper        = (*Cluster)(nil)
	_ harness.Pauser       = (*Cluster)(nil)
	_ harness.ClientShaper = (*Cluster)(nil)
)

// New makes a cluster of a target. Nothing is created, and the engine is not asked, before Start. A
// target whose configuration does not run in containers is harness.ErrUnsupported.
func New(cfg Config) (*Cluster, error) {
	if err := checkName("run ID", cfg.RunID); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{
		runID: cfg.RunID, logDir: cfg.LogDir, program: cfg.Program, logger: cfg.Logger, links: newLinks(),
	}
	sys, err := cfg.Target.System(cfg.Config, target.Place{Addr: c.addr, Dial: c.dial})
	if err != nil {
		return nil, err
	}
	if err := checkSystem(sys); err != nil {
		return nil, fmt.Errorf("target %s: %w", cfg.Target.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sys, c.target = sys, cfg.Target.Name
	for i, id := range sys.Nodes {
		c.nodes = append(c.nodes, newNode(c.runID, id, firstHost+i))
	}
	return c, nil
}

// Nodes implements harness.Cluster.
func (c *Cluster) Nodes() []harness.NodeID { return slices.Clone(c.sys.Nodes) }

// Start implements harness.Cluster. It fails at once when Stop is called meanwhile.
func (c *Cluster) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.beginStart(cancel); err != nil {
		return err
	}
	defer c.endStart()
	return c.start(ctx)
}

func (c *Cluster) beginStart(abort context.CancelFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return ErrStopped
	case c.starts > 0 || c.engine != nil:
		return errors.New("the cluster has been started before; make a new one")
	}
	c.starts, c.idle, c.abort = 1, make(chan struct{}), abort
	return nil
}

func (c *Cluster) endStart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts = 0
	close(c.idle)
}

func (c *Cluster) start(ctx context.Context) error {
	if c.logDir != "" {
		if err := os.MkdirAll(c.logDir, 0o755); err != nil {
			return fmt.Errorf("make the directory of the nodes' logs: %w", err)
		}
	}
	e, err := connect(ctx, c.logger)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.engine = e
	c.mu.Unlock()
	// The network comes before the images: it is what tells Clean that a run is about to use them.
	if err := c.createNetwork(ctx, e); err != nil {
		return err
	}
	if err := c.prepare(ctx, e); err != nil {
		return err
	}
	begin := time.Now()
	err = c.each(func(n *node) error {
		if err := n.lock(ctx); err != nil {
			return err
		}
		defer n.unlock()
		if err := c.create(ctx, e, n); err != nil {
			return err
		}
		return c.boot(ctx, e, n)
	})
	if err != nil {
		return err
	}
	c.logger.Debug("all containers run", "took", time.Since(begin))
	if err := c.sys.Await(ctx, readyPoll); err != nil {
		return fmt.Errorf("the containers run, but the cluster does not serve: %w", err)
	}
	c.logger.Info("the cluster is ready", "env", "docker", "run", c.runID, "nodes", len(c.nodes), "took", time.Since(begin))
	return nil
}

func (c *Cluster) createNetwork(ctx context.Context, e *engine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	_, p, err := createNetwork(step, e, c.network(), labels(c.runID, nil))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subnet = p
	c.direct = !c.publish && isLocal(hostIn(p, 1))
	return nil
}

// prepare asks the target how each node starts, and makes the images.
func (c *Cluster) prepare(ctx context.Context, e *engine) error {
	maker, err := newImageMaker(ctx, e, c.program, c.logger)
	if err != nil {
		return err
	}
	for _, n := range c.nodes { // one after the other: most often all have the same image
		if err := c.prepareNode(ctx, maker, n); err != nil {
			return fmt.Errorf("node %s of target %s: %w", n.id, c.target, err)
		}
	}
	return nil
}

func (c *Cluster) prepareNode(ctx context.Context, maker *imageMaker, n *node) error {
	if err := n.lock(ctx); err != nil {
		return err
	}
	defer n.unlock()
	wanted, err := c.sys.Container(n.id)
	if err != nil {
		return err
	}
	n.setup, err = newSetup(wanted)
	if err != nil {
		return err
	}
	n.setup.image, err = maker.image(ctx, wanted)
	return err
}

// network is the name of the run's network.
func (c *Cluster) network() string { return "assay-" + c.runID }

// Stop implements harness.Cluster: it removes whatever carries the run's label, so that it needs to
// know nothing of how far Start came.
func (c *Cluster) Stop(ctx context.Context) error {
	c.mu.Lock()
	c.stopped = true
	idle, abort := c.idle, c.abort
	c.mu.Unlock()
	if abort != nil {
		abort()
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("stop the cluster: a start is still under way: %w", ctx.Err())
		}
	}
	c.links.close()
	defer c.holdNodes(ctx)()
	c.mu.Lock()
	e := c.engine
	c.mu.Unlock()
	if e == nil {
		return nil // nothing was ever created
	}
	_, err := sweep(ctx, e, func(marks map[string]string) bool { return marks[LabelRun] == c.runID })
	for _, n := range c.nodes {
		n.logs.wait(ctx)
	}
	e.close()
	if err != nil {
		return fmt.Errorf("stop the cluster (assay clean tries again): %w", err)
	}
	return nil
}

// holdNodes waits for what is being done to nodes, a wipe that makes a new container for one, and
// keeps anything else from being done until release. It does not wait for ever: sweeping up while
// an operation hangs is better than not at all.
func (c *Cluster) holdNodes(ctx context.Context) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	var held []*node
	for _, n := range c.nodes {
		if n.lock(ctx) == nil {
			held = append(held, n)
		}
	}
	return func() {
		for _, n := range held {
			n.unlock()
		}
	}
}

// use returns the engine while the cluster is up.
func (c *Cluster) use() (*engine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return nil, ErrStopped
	case c.engine == nil:
		return nil, errors.New("the cluster has not been started")
	}
	return c.engine, nil
}

// Open implements harness.Cluster.
func (c *Cluster) Open(ctx context.Context, process int) (harness.Client, error) {
	if _, err := c.use(); err != nil {
		return nil, err
	}
	client, err := c.sys.Open(ctx, process, c.dialAs(process))
	if err != nil {
		return nil, fmt.Errorf("client of process %d: %w", process, err)
	}
	return client, nil
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

// each does the same to all nodes side by side.
func (c *Cluster) each(do func(*node) error) error {
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() {
			defer harness.Guard("node "+string(n.id), &errs[i])
			if err := do(n); err != nil {
				errs[i] = fmt.Errorf("node %s: %w", n.id, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
