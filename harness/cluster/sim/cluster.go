// Package sim is the environment in which a cluster of the reference broker lives inside one process, in virtual time: an in-memory network
// (internal/netsim) and in-memory disks (internal/vfs), both breakable, inside a testing/synctest bubble.
//
// A Cluster is made and used inside a bubble: a Go test calls synctest.Test itself, a plain binary gets a bubble in a child process through
// Spawn and ChildMain. After Stop no goroutine of it is left. What it cannot do is freeze a process: Pause stops a node's network and
// disk, not its timers.
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

const (
	kafkaPort = 9092
	peerPort  = 9093

	operatorHost = "operator"             // the machine from which nodes are asked and promoted; faults never touch it
	readyPoll    = 20 * time.Millisecond  // virtual
	stopTimeout  = 30 * time.Second       // virtual: of one node
	netSeed      = 0x9e3779b97f4a7c15     // keeps the parts' random choices apart
	diskSeed     = 2 * uint64(0x632be59b) // likewise
)

// Config describes a simulated cluster. Spec is required.
type Config struct {
	Spec reference.Spec
	Seed uint64                              // decides network, disks and what nodes draw
	Net  netsim.Config                       // the zero value is a local network
	Disk vfs.DiskOptions                     // the zero value is an SSD without a limit
	Logs func(n harness.NodeID) slog.Handler // gets each node's log; nil: none is kept
}

// Cluster implements harness.Cluster and every ability.
type Cluster struct {
	net      *netsim.Network
	admin    *reference.Admin
	settings reference.Settings
	machines []*machine
	funerals sync.WaitGroup // of dead processes and of watchers: no wait of theirs is longer than stopTimeout

	mu      sync.Mutex // guards what follows; never held across a wait
	clients map[*client]struct{}
	topic   string
	errs    []error // what went wrong in the background
}

var (
	_ harness.Cluster      = (*Cluster)(nil)
	_ harness.Killer       = (*Cluster)(nil)
	_ harness.PowerCutter  = (*Cluster)(nil)
	_ harness.Wiper        = (*Cluster)(nil)
	_ harness.Pauser       = (*Cluster)(nil)
	_ harness.ClientShaper = (*Cluster)(nil)
	_ harness.TopicMaker   = (*Cluster)(nil)
	_ harness.Disks        = (*Cluster)(nil)
	_ harness.Groups       = (*Cluster)(nil)
	_ harness.Promoter     = (*Cluster)(nil)
)

// New makes a cluster whose nodes are all down, with empty disks.
func New(cfg Config) (*Cluster, error) {
	settings, err := cfg.Spec.Settings()
	if err != nil {
		return nil, err
	}
	addr := func(i int) (kafka, peer string) {
		host := string(reference.NodeName(int32(i)))
		return net.JoinHostPort(host, strconv.Itoa(kafkaPort)), net.JoinHostPort(host, strconv.Itoa(peerPort))
	}
	configs, err := cfg.Spec.NodeConfigs(addr)
	if err != nil {
		return nil, err
	}
	members, err := cfg.Spec.Members(addr)
	if err != nil {
		return nil, err
	}
	network := netsim.New(cfg.Seed^netSeed, cfg.Net)
	c := &Cluster{
		net:      network,
		settings: settings,
		admin:    &reference.Admin{Members: members, Dial: network.Host(operatorHost).Dial},
		clients:  make(map[*client]struct{}),
	}
	seeds := rand.New(rand.NewPCG(cfg.Seed, diskSeed))
	for i := range configs {
		handler := slog.Handler(slog.DiscardHandler)
		id := reference.NodeName(configs[i].ID)
		if cfg.Logs != nil {
			handler = cfg.Logs(id)
		}
		c.machines = append(c.machines, &machine{
			id:       id,
			cluster:  c,
			config:   configs[i],
			log:      slog.New(handler),
			seed:     seeds.Uint64(),
			turn:     make(chan struct{}, 1),
			disk:     vfs.NewDisk(seeds.Uint64(), cfg.Disk),
			whyDown:  "never started",
			failures: make(map[hardware]int),
		})
	}
	return c, nil
}

// Nodes implements harness.Cluster.
func (c *Cluster) Nodes() []harness.NodeID {
	out := make([]harness.NodeID, len(c.machines))
	for i, m := range c.machines {
		out[i] = m.id
	}
	return out
}

// Start implements harness.Cluster: it returns when every group has a leader that serves, and followers that have caught up.
func (c *Cluster) Start(ctx context.Context) error {
	errs := make([]error, len(c.machines))
	c.each(func(i int, m *machine) { errs[i] = m.boot(ctx) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for {
		waiting := c.unready(ctx)
		if len(waiting) == 0 {
			return nil
		}
		if err := sleep(ctx, readyPoll); err != nil {
			return fmt.Errorf("the cluster is not ready: %s: %w", strings.Join(waiting, "; "), err)
		}
	}
}

// unready says which nodes are not yet what they should be after a start.
func (c *Cluster) unready(ctx context.Context) (waiting []string) {
	states := make([]harness.NodeState, len(c.machines))
	c.each(func(i int, m *machine) {
		var err error
		if states[i], err = c.State(ctx, m.id); err != nil {
			states[i].Detail = err.Error()
		}
	})
	for i, s := range states {
		if !s.Serving && !s.CaughtUp {
			waiting = append(waiting, fmt.Sprintf("%s is %q %s", c.machines[i].id, s.Role, s.Detail))
		}
	}
	return waiting
}

// each runs f for all machines at once and waits.
func (c *Cluster) each(f func(i int, m *machine)) {
	var wg sync.WaitGroup
	for i, m := range c.machines {
		wg.Go(func() { f(i, m) })
	}
	wg.Wait()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop implements harness.Cluster.
func (c *Cluster) Stop(ctx context.Context) error {
	for _, cl := range c.openClients() {
		_ = cl.Close()
	}
	errs := make([]error, len(c.machines))
	c.each(func(i int, m *machine) { errs[i] = m.retire(ctx) })
	c.funerals.Wait()
	c.net.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(append(errs, c.errs...)...)
}

// CreateTopic implements harness.TopicMaker.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int) error {
	if err := c.admin.CreateTopic(ctx, name, partitions); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topic = name
	return nil
}

// Groups implements harness.Groups.
func (c *Cluster) Groups() [][]harness.NodeID { return c.admin.Groups() }

// State implements harness.Groups. That a node is down is known without asking it; the role of one that ended by itself is RoleFailed, and Up
// is false, because its process has exited.
func (c *Cluster) State(ctx context.Context, n harness.NodeID) (harness.NodeState, error) {
	m, err := c.machine(n)
	if err != nil {
		return harness.NodeState{}, err
	}
	if why, exited := m.down(); why != "" {
		s := harness.NodeState{Node: n, Group: int(c.settings.GroupOf(m.config.ID)), Detail: why}
		if exited {
			s.Role = harness.RoleFailed
		}
		return s, nil
	}
	return c.admin.State(ctx, n)
}

// Promote implements harness.Promoter.
func (c *Cluster) Promote(ctx context.Context, group int, n harness.NodeID, force bool) (harness.Promotion, error) {
	return c.admin.Promote(ctx, group, n, force)
}

// Members are the nodes and their addresses in the simulated network.
func (c *Cluster) Members() []masterslave.Member { return c.admin.Members }

func (c *Cluster) machine(n harness.NodeID) (*machine, error) {
	for _, m := range c.machines {
		if m.id == n {
			return m, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q; there are n1 to n%d", n, len(c.machines))
}

// later keeps an error of the background for Stop.
func (c *Cluster) later(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}
