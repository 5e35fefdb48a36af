// Package fakecluster is a system under test that consists of a few slices: for tests of workloads,
// faults and checkers, which need something to drive, hurt and read, whose every answer and mistake
// the test decides. It is no simulation of a broker: see harness/cluster/sim.
//
// It works inside and outside a synctest bubble.
package fakecluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Options are what a test decides beforehand. The zero value is a well-behaved cluster.
type Options struct {
	Latency time.Duration // of one op
	Lag     int           // how many of the latest messages followers lack
	// Copies decides which promotes are safe, as in master-slave mode; 0 means 1.
	Copies int
	// Mangle, if not nil, changes what a client answers.
	Mangle func(op histories.Op, err error) (histories.Op, error)
	// BootErr, if not nil, is asked on every Boot.
	BootErr func(n harness.NodeID) error
	// Unwell, if not nil, changes what nodes say of themselves.
	Unwell func(s harness.NodeState) harness.NodeState
	// Idle makes every lasting fault report that it did nothing.
	Idle bool
}

// Cluster implements harness.Cluster and every ability.
type Cluster struct {
	opt    Options
	groups [][]harness.NodeID

	mu    sync.Mutex // guards all below; never held while waiting
	nodes map[harness.NodeID]*node
	lead  []harness.NodeID // by group
	epoch []int64
	calls []string
	rules []harness.Rule
	on    map[string]int // lasting faults, by kind and node
}

// node is one node's state.
type node struct {
	group   int
	up      bool
	paused  bool
	joining bool
	logs    map[int32][]int64
}

var (
	_ harness.Cluster      = (*Cluster)(nil)
	_ harness.Killer       = (*Cluster)(nil)
	_ harness.PowerCutter  = (*Cluster)(nil)
	_ harness.Wiper        = (*Cluster)(nil)
	_ harness.Pauser       = (*Cluster)(nil)
	_ harness.ClientShaper = (*Cluster)(nil)
	_ harness.Disks        = (*Cluster)(nil)
	_ harness.Groups       = (*Cluster)(nil)
	_ harness.Promoter     = (*Cluster)(nil)
	_ harness.TopicMaker   = (*Cluster)(nil)
)

// New returns a cluster of groups with the given numbers of nodes: New(opt, 3) is one group of n1,
// n2 and n3.
func New(opt Options, sizes ...int) *Cluster {
	c := &Cluster{opt: opt, nodes: make(map[harness.NodeID]*node), on: make(map[string]int)}
	if c.opt.Copies == 0 {
		c.opt.Copies = 1
	}
	n := 0
	for g, size := range sizes {
		var members []harness.NodeID
		for range size {
			n++
			id := harness.NodeID(fmt.Sprintf("n%d", n))
			members = append(members, id)
			c.nodes[id] = &node{group: g, logs: make(map[int32][]int64)}
		}
		c.groups = append(c.groups, members)
		c.lead = append(c.lead, members[0])
		c.epoch = append(c.epoch, 1)
	}
	return c
}

// Calls returns what was done to the cluster, in order: "kill n1", "boot n1", "shape on", ...
func (c *Cluster) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Hurt returns what is not healed: nodes that are down or paused, and lasting faults that are on.
func (c *Cluster) Hurt() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var hurt []string
	for id, n := range c.nodes {
		if !n.up {
			hurt = append(hurt, "down "+string(id))
		}
		if n.paused {
			hurt = append(hurt, "paused "+string(id))
		}
	}
	for what, n := range c.on {
		if n > 0 {
			hurt = append(hurt, what)
		}
	}
	slices.Sort(hurt)
	return hurt
}

// Leader returns the leader of a group.
func (c *Cluster) Leader(group int) harness.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lead[group]
}

func (c *Cluster) call(format string, args ...any) {
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

// Nodes implements harness.Cluster.
func (c *Cluster) Nodes() []harness.NodeID { return slices.Concat(c.groups...) }

// Start implements harness.Cluster.
func (c *Cluster) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("start")
	for _, n := range c.nodes {
		n.up = true
	}
	return ctx.Err()
}

// Stop implements harness.Cluster.
func (c *Cluster) Stop(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("stop")
	return nil
}

// CreateTopic implements harness.TopicMaker.
func (c *Cluster) CreateTopic(_ context.Context, name string, partitions int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.call("topic %s %d", name, partitions)
	return nil
}

// Open implements harness.Cluster.
func (c *Cluster) Open(ctx context.Context, process int) (harness.Client, error) {
	return &client{c: c, process: process}, ctx.Err()
}

type client struct {
	c       *Cluster
	process int
}

// Invoke implements harness.Client.
func (cl *client) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	timer := time.NewTimer(cl.c.opt.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return op, ctx.Err()
	}
	done, hang, err := cl.c.apply(op)
	if hang {
		<-ctx.Done()
		return op, ctx.Err()
	}
	if cl.c.opt.Mangle != nil {
		return cl.c.opt.Mangle(done, err)
	}
	return done, err
}

// Close implements harness.Client.
func (cl *client) Close() error { return nil }

var errDown = errors.New("the node is down")

// apply executes op. hang: a paused node never answers.
func (c *Cluster) apply(op histories.Op) (done histories.Op, hang bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := histories.GroupOf(op.Part, len(c.groups))
	id := harness.NodeID(op.Node)
	if id == "" {
		id = c.lead[g]
	}
	n := c.nodes[id]
	switch {
	case n == nil || n.joining:
		return op, false, fmt.Errorf("no node %q to ask: %w", id, harness.ErrNotApplied)
	case n.paused:
		return op, true, nil
	case !n.up:
		return op, false, fmt.Errorf("%s: %w: %w", id, errDown, harness.ErrNotApplied)
	}
	op.Node = string(id)
	log := n.logs[op.Part]
	if op.F != histories.Send {
		op.HW = int64(len(log))
		for o := op.From; o < op.HW; o++ {
			op.Msgs = append(op.Msgs, histories.Message{Offset: o, Value: log[o]})
		}
		return op, false, nil
	}
	if len(op.Msgs) == 0 {
		op.Offset = int64(len(log))
		log = append(log, op.Value)
	}
	for i := range op.Msgs {
		op.Msgs[i].Offset = int64(len(log))
		log = append(log, op.Msgs[i].Value)
	}
	n.logs[op.Part] = log
	c.replicate(g, c.opt.Lag)
	return op, false, nil
}

// replicate gives the followers of a group what the leader has, but for the latest lag messages of
// each partition.
func (c *Cluster) replicate(group, lag int) {
	lead := c.nodes[c.lead[group]]
	for _, id := range c.groups[group] {
		n := c.nodes[id]
		if n == lead || !n.up || n.paused || !lead.up {
			continue
		}
		for part, log := range lead.logs {
			n.logs[part] = slices.Clone(log[:max(0, len(log)-lag)])
		}
		n.joining = false
	}
}

// Groups implements harness.Groups.
func (c *Cluster) Groups() [][]harness.NodeID { return slices.Clone(c.groups) }

// State implements harness.Groups. Asking for it lets the followers catch up, as time would.
func (c *Cluster) State(_ context.Context, _ int, id harness.NodeID) (harness.NodeState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[id]
	s := harness.NodeState{Node: id, Group: n.group, Up: n.up && !n.paused, Epoch: c.epoch[n.group]}
	if !s.Up {
		if c.opt.Unwell != nil {
			s = c.opt.Unwell(s)
		}
		return s, nil
	}
	lead := c.nodes[c.lead[n.group]]
	switch {
	case n == lead && n.joining: // was wiped, and nobody was promoted
		s.Role = harness.RoleJoining
	case n == lead:
		s.Role, s.Serving = harness.RoleLeader, true
	default:
		s.Role, s.CaughtUp = harness.RoleFollower, lead.up && !lead.paused && !lead.joining && c.opt.Lag == 0
		if n.joining {
			s.Role = harness.RoleJoining
		}
		if lead.up && !lead.paused && !lead.joining {
			c.replicate(n.group, c.opt.Lag)
		}
	}
	for _, log := range n.logs {
		s.End += int64(len(log))
	}
	s.Committed = s.End
	if c.opt.Unwell != nil {
		s = c.opt.Unwell(s)
	}
	return s, nil
}

// Settle lets followers catch up completely from now on.
func (c *Cluster) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opt.Lag = 0
}
