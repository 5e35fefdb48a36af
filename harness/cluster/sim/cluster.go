// Package sim is the environment in which a cluster lives inside one process, in virtual time: an
// in-memory network (internal/netsim) and in-memory disks (internal/vfs), both breakable, inside a
// testing/synctest bubble. It knows no target: whatever Go code takes its network and its disk from
// target.World can live in it.
//
// A Cluster is made and used inside a bubble: a Go test calls synctest.Test itself, a plain binary
// gets a bubble in a child process through Spawn and ChildMain. After Stop no goroutine of it is
// left. What it cannot do is freeze a process: Pause stops a node's network and disk, not its
// timers.
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

const (
	operatorHost = "operator"             // the machine from which nodes are asked and promoted; faults never touch it
	readyPoll    = 20 * time.Millisecond  // virtual
	stopTimeout  = 30 * time.Second       // virtual: of one node
	netSeed      = 0x9e3779b97f4a7c15     // keeps the parts' random choices apart
	diskSeed     = 2 * uint64(0x632be59b) // likewise
)

// NetConfig describes the links of a simulated network.
type NetConfig = netsim.Config

// DiskOptions describe the disks of simulated nodes.
type DiskOptions = vfs.DiskOptions

// Config describes a simulated cluster. Target and Config are required.
type Config struct {
	Target *target.Target
	Config target.Config
	Seed   uint64                              // decides network, disks and what nodes draw
	Net    NetConfig                           // the zero value is a local network
	Disk   DiskOptions                         // the zero value is an SSD without a limit
	Logs   func(n harness.NodeID) slog.Handler // gets each node's log; nil: none is kept
}

// Cluster implements harness.Cluster, and the abilities of the environment. Those of the target's
// operator come on top: see Parts.
type Cluster struct {
	net      *netsim.Network
	system   *target.System
	machines []*machine
	ended    sync.WaitGroup // of dead processes and of watchers: no wait of theirs is longer than stopTimeout

	mu      sync.Mutex // guards what follows; never held across a wait
	clients map[*client]struct{}
	errs    []error // what went wrong in the background
}

var (
	_ harness.Cluster      = (*Cluster)(nil)
	_ harness.Composed     = (*Cluster)(nil)
	_ harness.Killer       = (*Cluster)(nil)
	_ harness.PowerCutter  = (*Cluster)(nil)
	_ harness.Wiper        = (*Cluster)(nil)
	_ harness.Pauser       = (*Cluster)(nil)
	_ harness.ClientShaper = (*Cluster)(nil)
	_ harness.Disks        = (*Cluster)(nil)
)

// New makes a cluster whose nodes are all down, with empty disks. A target that cannot be simulated
// is harness.ErrUnsupported.
func New(cfg Config) (*Cluster, error) {
	c := &Cluster{net: netsim.New(cfg.Seed^netSeed, cfg.Net), clients: make(map[*client]struct{})}
	system, err := cfg.Target.System(cfg.Config, target.Place{Addr: c.addr, Dial: c.net.Host(operatorHost).Dial})
	if err != nil {
		return nil, err
	}
	if system.Sim == nil || system.Sim.Start == nil {
		return nil, fmt.Errorf("target %s does not run in a simulation: %w", cfg.Target.Name, harness.ErrUnsupported)
	}
	c.system = system
	seeds := rand.New(rand.NewPCG(cfg.Seed, diskSeed))
	for _, id := range system.Nodes {
		handler := slog.Handler(slog.DiscardHandler)
		if cfg.Logs != nil {
			handler = cfg.Logs(id)
		}
		c.machines = append(c.machines, &machine{
			id:       id,
			cluster:  c,
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

// addr is where a node listens: each node is a host of its own name.
func (c *Cluster) addr(n harness.NodeID, port string) string {
	number := 0
	if c.system != nil { // while the system is made, nobody can know its ports
		for _, p := range c.system.Ports {
			if p.Name == port {
				number = p.Number
			}
		}
	}
	return net.JoinHostPort(string(n), strconv.Itoa(number))
}

// Parts implements harness.Composed.
func (c *Cluster) Parts() []any { return target.Parts(c, c.system, c.down) }

// down answers for a node that is down. The role of one that ended by itself is RoleFailed, and Up
// is false, because its process has exited.
func (c *Cluster) down(n harness.NodeID) (harness.NodeState, bool) {
	m, err := c.machine(n)
	if err != nil {
		return harness.NodeState{}, false
	}
	why, exited := m.down()
	s := harness.NodeState{Detail: why}
	if exited {
		s.Role = harness.RoleFailed
	}
	return s, why != ""
}

// Nodes implements harness.Cluster.
func (c *Cluster) Nodes() []harness.NodeID {
	out := make([]harness.NodeID, len(c.machines))
	for i, m := range c.machines {
		out[i] = m.id
	}
	return out
}

// Start implements harness.Cluster.
func (c *Cluster) Start(ctx context.Context) error {
	errs := make([]error, len(c.machines))
	c.each(func(i int, m *machine) { errs[i] = m.boot(ctx) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.system.Await(ctx, readyPoll)
}

// each runs f for all machines at once and waits.
func (c *Cluster) each(f func(i int, m *machine)) {
	var wg sync.WaitGroup
	for i, m := range c.machines {
		wg.Go(func() { f(i, m) })
	}
	wg.Wait()
}

// Stop implements harness.Cluster.
func (c *Cluster) Stop(ctx context.Context) error {
	for _, cl := range c.openClients() {
		_ = cl.Close()
	}
	errs := make([]error, len(c.machines))
	c.each(func(i int, m *machine) { errs[i] = m.retire(ctx) })
	c.ended.Wait()
	c.net.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(append(errs, c.errs...)...)
}

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
