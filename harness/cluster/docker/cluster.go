package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/assay-project/assay/harness"
)

const (
	// stepTime bounds one call to the engine that is not cut short by a stop, so that nothing is created after Stop has looked.
	stepTime = 30 * time.Second
	// holdTime bounds how long Stop waits for operations on nodes.
	holdTime = 15 * time.Second
	// dialTime bounds an attempt to connect.
	dialTime = 5 * time.Second
	// kafkaPort and peerPort are the same in all containers, each with an address of its own.
	kafkaPort = "9092"
	peerPort  = "9093"
)

// ErrStopped is returned when a cluster is used after Stop.
var ErrStopped = errors.New("the cluster has been stopped")

// DialFunc opens connections to nodes by the addresses that they advertise.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// system is what runs in the containers, told where its nodes are.
type system interface {
	// Nodes are the nodes, in order.
	Nodes() []harness.NodeID
	// Configs gives each node's configuration file.
	Configs(addr func(harness.NodeID) netip.Addr) (map[harness.NodeID][]byte, error)
	// Ready returns when the cluster can be used. admin is the operator's connection, which no rule shapes.
	Ready(ctx context.Context, admin DialFunc) error
	// Open returns the client of a process; each of its connections comes from dial.
	Open(ctx context.Context, process int, dial DialFunc) (harness.Client, error)
}

// settings are what every cluster has, whatever system runs in it.
type settings struct {
	runID   string
	logDir  string // "" keeps no logs
	program string // see findProgram
	publish bool   // reach nodes through published ports even where their own addresses lead to them
	logger  *slog.Logger
}

// machine is the cluster as the environment sees it: containers, networks and rules, whatever runs inside. Its methods may be called
// concurrently.
type machine struct {
	settings
	sys   system
	links *links
	rules rulebook
	nodes []*node // in order; the slice does not change

	mu      sync.Mutex // guards what follows; held for field access only
	stopped bool
	starts  int                // starts that are under way
	idle    chan struct{}      // closed when starts drops to 0
	abort   context.CancelFunc // ends the start that is under way
	engine  *engine            // nil before the first contact
	direct  bool               // nodes' addresses lead from here into the containers
}

func newMachine(s settings, sys system) (*machine, error) {
	if err := checkRunID(s.runID); err != nil {
		return nil, err
	}
	m := &machine{settings: s, sys: sys, links: newLinks()}
	for _, id := range sys.Nodes() {
		m.nodes = append(m.nodes, &node{
			id: id, name: "assay-" + s.runID + "-" + string(id), volume: "assay-" + s.runID + "-" + string(id),
			turn: make(chan struct{}, 1),
		})
	}
	return m, nil
}

// checkRunID says whether the ID can be part of a container's name.
func checkRunID(id string) error {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("run ID %q: only a-z, 0-9 and - may be in it, since it names containers", id)
		}
	}
	if id == "" || len(id) > 64 {
		return fmt.Errorf("run ID %q: it must have 1 to 64 characters", id)
	}
	return nil
}

// Nodes implements harness.Cluster.
func (m *machine) Nodes() []harness.NodeID { return slices.Clone(m.sys.Nodes()) }

// Start implements harness.Cluster. It fails at once when Stop is called meanwhile.
func (m *machine) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := m.beginStart(cancel); err != nil {
		return err
	}
	defer m.endStart()
	return m.start(ctx)
}

func (m *machine) beginStart(abort context.CancelFunc) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return ErrStopped
	case m.starts > 0 || m.engine != nil:
		return errors.New("the cluster has been started before; make a new one")
	}
	m.starts, m.idle, m.abort = 1, make(chan struct{}), abort
	return nil
}

func (m *machine) endStart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starts = 0
	close(m.idle)
}

func (m *machine) start(ctx context.Context) error {
	if m.logDir != "" {
		if err := os.MkdirAll(m.logDir, 0o755); err != nil {
			return fmt.Errorf("make the directory of the nodes' logs: %w", err)
		}
	}
	e, err := connect(ctx, m.logger)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.engine = e
	m.mu.Unlock()
	// The network comes before the image: it is what tells Clean that a run is about to use one.
	if err := m.createNetwork(ctx, e); err != nil {
		return err
	}
	image, err := ensureImage(ctx, e, m.program, m.logger)
	if err != nil {
		return err
	}
	begin := time.Now()
	configs, err := m.sys.Configs(m.address)
	if err != nil {
		return fmt.Errorf("configure the nodes: %w", err)
	}
	err = m.each(func(n *node) error {
		if err := n.lock(ctx); err != nil {
			return err
		}
		defer n.unlock()
		n.image, n.config = image, configs[n.id]
		if err := m.create(ctx, e, n); err != nil {
			return err
		}
		return m.boot(ctx, e, n)
	})
	if err != nil {
		return err
	}
	m.logger.Debug("all containers run", "took", time.Since(begin))
	if err := m.sys.Ready(ctx, m.dial); err != nil {
		return fmt.Errorf("the containers run, but the cluster does not serve: %w", err)
	}
	m.logger.Info("the cluster is ready", "env", "docker", "run", m.runID, "nodes", len(m.nodes), "took", time.Since(begin))
	return nil
}

func (m *machine) createNetwork(ctx context.Context, e *engine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	_, p, err := createNetwork(step, e, m.network(), labels(m.runID, nil))
	if err != nil {
		return err
	}
	if len(m.nodes) > 255-firstHost-1 {
		return fmt.Errorf("%d nodes do not fit into %v", len(m.nodes), p)
	}
	for i, n := range m.nodes {
		n.addr = hostIn(p, firstHost+i)
	}
	m.mu.Lock()
	m.direct = isLocal(hostIn(p, 1)) && !m.publish
	m.mu.Unlock()
	return nil
}

// network is the name of the run's network.
func (m *machine) network() string { return "assay-" + m.runID }

// Stop implements harness.Cluster: it removes whatever carries the run's label, so that it needs to know nothing of how far Start came.
func (m *machine) Stop(ctx context.Context) error {
	m.mu.Lock()
	m.stopped = true
	idle, abort := m.idle, m.abort
	m.mu.Unlock()
	if abort != nil {
		abort()
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("stop the cluster: a start is still under way: %w", ctx.Err())
		}
	}
	m.links.close()
	defer m.holdNodes(ctx)()
	m.mu.Lock()
	e := m.engine
	m.mu.Unlock()
	if e == nil {
		return nil // nothing was ever created
	}
	_, err := sweep(ctx, e, func(marks map[string]string) bool { return marks[LabelRun] == m.runID })
	for _, n := range m.nodes {
		n.logs.wait(ctx)
	}
	e.close()
	if err != nil {
		return fmt.Errorf("stop the cluster (assay clean tries again): %w", err)
	}
	return nil
}

// holdNodes waits for what is being done to nodes, a wipe that makes a new container for one, and keeps anything else from being done
// until release. It does not wait for ever: sweeping up while an operation hangs is better than not at all.
func (m *machine) holdNodes(ctx context.Context) (release func()) {
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	var held []*node
	for _, n := range m.nodes {
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
func (m *machine) use() (*engine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return nil, ErrStopped
	case m.engine == nil:
		return nil, errors.New("the cluster has not been started")
	}
	return m.engine, nil
}

// node finds a node by its name.
func (m *machine) node(id harness.NodeID) (*node, error) {
	for _, n := range m.nodes {
		if n.id == id {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q; there are %v", id, m.sys.Nodes())
}

// address is a node's fixed address, invalid before the network is there.
func (m *machine) address(id harness.NodeID) netip.Addr {
	n, err := m.node(id)
	if err != nil {
		return netip.Addr{}
	}
	return n.addr
}

// each does the same to all nodes side by side.
func (m *machine) each(do func(*node) error) error {
	errs := make([]error, len(m.nodes))
	var all sync.WaitGroup
	for i, n := range m.nodes {
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

// dial opens a connection that no rule shapes. address is one that a node advertises.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	e, err := m.use()
	if err != nil {
		return nil, err
	}
	n, err := m.nodeAt(address)
	if err != nil {
		return nil, err
	}
	if !n.up.Load() {
		// Its address is gone with its container, and whoever calls it hears nothing at all for minutes. Nodes are meant to be
		// processes that died on machines that live, and those refuse.
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("node %s is down: %w", n.id, syscall.ECONNREFUSED)}
	}
	m.mu.Lock()
	direct := m.direct
	m.mu.Unlock()
	if !direct {
		if address, err = m.mapped(ctx, e, address); err != nil {
			return nil, err
		}
	}
	d := net.Dialer{Timeout: dialTime}
	return d.DialContext(ctx, network, address)
}

// dialAs returns the dial function of a client process, whose connections its rules shape.
func (m *machine) dialAs(process int) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n, err := m.nodeAt(address)
		if err != nil {
			return nil, err
		}
		return m.links.dial(ctx, link{process: process, node: n.id}, func(ctx context.Context) (net.Conn, error) {
			return m.dial(ctx, network, address)
		})
	}
}

func (m *machine) nodeAt(address string) (*node, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	for _, n := range m.nodes {
		if n.addr.String() == host {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node has the address %q", address)
}

// mapped is where the engine's machine publishes a node's port. It changes whenever the container starts.
func (m *machine) mapped(ctx context.Context, e *engine, address string) (string, error) {
	n, err := m.nodeAt(address)
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(address) // nodeAt has parsed it
	info, err := e.api.ContainerInspect(ctx, n.name, client.ContainerInspectOptions{})
	if err != nil {
		return "", fmt.Errorf("find the published port of %s: %w", address, err)
	}
	host := engineHost(e.api.DaemonHost())
	if info.Container.NetworkSettings != nil {
		for p, bindings := range info.Container.NetworkSettings.Ports {
			if p.Port() == port && len(bindings) > 0 {
				return net.JoinHostPort(host, bindings[0].HostPort), nil
			}
		}
	}
	return "", fmt.Errorf("%s is not published: is node %s down?", address, n.id)
}

// engineHost is the machine that publishes the ports of containers, given how its engine is reached. testcontainers' own answer is not
// asked for: where a file /.dockerenv exists it is another machine's.
func engineHost(daemon string) string {
	u, err := url.Parse(daemon)
	if err != nil || u.Hostname() == "" || u.Scheme == "unix" || u.Scheme == "npipe" {
		return "127.0.0.1"
	}
	return u.Hostname()
}
