// Package log is the workload of an append-only log: unique values are sent to partitions, and partitions are read from assigned positions;
// in the end every partition is read by a client, and every replica is scanned. It knows nothing of consumer groups or transactions.
package log

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/availability"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/linear"
	"github.com/assay-project/assay/checker/order"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Topic is the one topic of the workload.
const Topic = "log"

// StallBudget is how long after a heal a partition may be without an acknowledgement, when no fault is on.
const StallBudget = 10 * time.Second

// Waits of Setup.
const (
	setupRetry = 200 * time.Millisecond
	setupTries = 100
)

// Config is what the workload does and what it may expect.
type Config struct {
	Partitions int // of the topic; 0 means 3
	Batch      int // values per send; 0 means 1
	// FromFollower reads from followers under load; each process stays with one of each partition until a read of it fails.
	FromFollower bool
	// Copies is on how many replicas an acknowledged message must be; 0 and 1 promise none beyond the leader's.
	Copies int
	// LinearReads judges reads under load for linearizability: set it where the configuration promises that (master-slave: reads of
	// the leader, in a run without a promote).
	LinearReads bool
	// Stall is the availability budget; 0 means StallBudget.
	Stall time.Duration
}

// Workload is the workload log.
type Workload struct {
	cfg    Config
	groups [][]harness.NodeID // set by Setup
}

var _ harness.Workload = (*Workload)(nil)

// New returns the workload.
func New(cfg Config) (*Workload, error) {
	if cfg.Partitions == 0 {
		cfg.Partitions = 3
	}
	if cfg.Batch == 0 {
		cfg.Batch = 1
	}
	if cfg.Stall == 0 {
		cfg.Stall = StallBudget
	}
	const most = 10_000
	if cfg.Partitions < 1 || cfg.Partitions > most || cfg.Batch < 1 || cfg.Batch > most {
		return nil, fmt.Errorf("workload log: partitions=%d batch=%d: each is from 1 to %d", cfg.Partitions, cfg.Batch, most)
	}
	return &Workload{cfg: cfg}, nil
}

// Name implements harness.Workload.
func (*Workload) Name() string { return "log" }

// Setup implements harness.Workload: it creates the topic. A cluster that cannot is expected to have it.
func (w *Workload) Setup(ctx context.Context, c harness.Cluster) error {
	w.groups = groupsOf(c)
	maker, ok := c.(harness.TopicMaker)
	if !ok {
		return nil
	}
	var err error
	for range setupTries { // a cluster that has just started may need a moment
		if err = maker.CreateTopic(ctx, Topic, w.cfg.Partitions); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(setupRetry):
		}
	}
	return fmt.Errorf("creating the topic %s: %w", Topic, err)
}

// Generator implements harness.Workload. Its values are unique within a run, and differ between most seeds.
func (w *Workload) Generator(seed uint64) harness.Generator {
	return newGenerator(&w.cfg, w.groups, seed)
}

// Finals implements harness.Workload: one final read per partition, and one scan per partition and node of its group.
func (w *Workload) Finals(c harness.Cluster) []histories.Op {
	var ops []histories.Op
	groups := groupsOf(c)
	for p := range int32(w.cfg.Partitions) {
		ops = append(ops, fullRead(histories.Final, p, ""))
	}
	for p := range int32(w.cfg.Partitions) {
		for _, n := range groups[harness.GroupOf(p, len(groups))] {
			ops = append(ops, fullRead(histories.Scan, p, n))
		}
	}
	return ops
}

func fullRead(f string, part int32, node harness.NodeID) histories.Op {
	op := histories.New(histories.Invoke, 0, f)
	op.Part, op.Node, op.From = part, string(node), 0
	return op
}

// Checkers implements harness.Workload.
func (w *Workload) Checkers() []checker.Checker {
	return []checker.Checker{
		delivery.New(),
		order.New(),
		replicas.New(replicas.Config{Copies: w.cfg.Copies}),
		linear.New(linear.Config{ReadsUnderLoad: w.cfg.LinearReads}),
		availability.New(availability.Config{Budget: w.cfg.Stall}),
	}
}

// groupsOf returns the members of each replication group; a cluster that knows no groups is one.
func groupsOf(c harness.Cluster) [][]harness.NodeID {
	if g, ok := c.(harness.Groups); ok {
		return g.Groups()
	}
	return [][]harness.NodeID{c.Nodes()}
}
