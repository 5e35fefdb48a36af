// Package log is the workload of an append-only log: unique values are sent to partitions, and
// partitions are read from assigned positions; in the end every partition is read by a client, and
// every replica is scanned. It knows nothing of consumer groups or transactions.
package log

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Name is the workload's name.
const Name = "log"

// Topic is the one topic of the workload.
const Topic = "log"

// Waits of Setup.
const (
	setupRetry = 200 * time.Millisecond
	setupTries = 100
)

// Options that the workload takes, in the spelling of --set.
const (
	OptPartitions = "partitions"
	OptBatch      = "batch"
	OptReadFrom   = "read-from" // leader, follower
)

const (
	defaultPartitions = 3
	mostPartitions    = 10_000
	mostBatch         = 1000
)

// Config is what the workload does.
type Config struct {
	Partitions int // of the topic; 0 means 3
	Batch      int // values per send; 0 means 1
	// FromFollower reads from followers under load; each process stays with one of each partition
	// until a read of it fails.
	FromFollower bool
	// NoScans: the system cannot be asked what one replica holds, so there are no scans in the end.
	NoScans bool
}

// Options lists the options for people. Where a target has one of them too, the target says what it
// may be; read-from is a target's alone.
func Options() []harness.Option {
	return []harness.Option{
		{Name: OptBatch, Default: "1", Allowed: fmt.Sprintf("1 to %d", mostBatch), Doc: "values that one send writes"},
		{Name: OptPartitions, Default: strconv.Itoa(defaultPartitions), Allowed: fmt.Sprintf("1 to %d", mostPartitions), Doc: "partitions of the topic"},
	}
}

// ParseConfig reads the options of the workload from all options in force; what is not there has
// its default.
func ParseConfig(options map[string]string) (Config, error) {
	cfg := Config{Partitions: defaultPartitions, Batch: 1, FromFollower: options[OptReadFrom] == "follower"}
	for _, n := range []struct {
		name string
		to   *int
		most int
	}{{OptPartitions, &cfg.Partitions, mostPartitions}, {OptBatch, &cfg.Batch, mostBatch}} {
		text, ok := options[n.name]
		if !ok {
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 1 || v > n.most {
			return Config{}, fmt.Errorf("option %s=%q: allowed are 1 to %d", n.name, text, n.most)
		}
		*n.to = v
	}
	return cfg, nil
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
		cfg.Partitions = defaultPartitions
	}
	if cfg.Batch == 0 {
		cfg.Batch = 1
	}
	if cfg.Partitions < 1 || cfg.Partitions > mostPartitions || cfg.Batch < 1 || cfg.Batch > mostBatch {
		return nil, fmt.Errorf("workload log: partitions=%d batch=%d: want 1 to %d partitions and a batch of 1 to %d", cfg.Partitions, cfg.Batch, mostPartitions, mostBatch)
	}
	return &Workload{cfg: cfg}, nil
}

// Name implements harness.Workload.
func (*Workload) Name() string { return Name }

// Functions implements harness.Workload.
func (w *Workload) Functions() []harness.Function {
	read := harness.FieldHW | harness.FieldMsgs
	all := []harness.Function{
		{Name: histories.Send, Answer: harness.FieldOffset | harness.FieldMsgs},
		{Name: histories.Poll, ReadOnly: true, Answer: read},
		{Name: histories.Final, ReadOnly: true, Answer: read},
	}
	if !w.cfg.NoScans {
		all = append(all, harness.Function{Name: histories.Scan, ReadOnly: true, Answer: read})
	}
	return all
}

// Setup implements harness.Workload: it creates the topic. A cluster that cannot is expected to
// have it.
func (w *Workload) Setup(ctx context.Context, c harness.Cluster) error {
	w.groups = harness.GroupsOf(c)
	maker, ok := harness.Can[harness.TopicMaker](c)
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

// Generator implements harness.Workload. Its values are unique within a run, and differ between
// most seeds.
func (w *Workload) Generator(seed uint64) harness.Generator {
	return newGenerator(&w.cfg, w.groups, seed)
}

// Finals implements harness.Workload: one final read per partition, and then one scan per partition
// and node of its group.
func (w *Workload) Finals(c harness.Cluster) [][]harness.FinalRead {
	var finals, scans []harness.FinalRead
	groups := harness.GroupsOf(c)
	for p := range int32(w.cfg.Partitions) {
		finals = append(finals, fullRead(histories.Final, p, ""))
		if w.cfg.NoScans {
			continue
		}
		for _, n := range groups[histories.GroupOf(p, len(groups))] {
			scans = append(scans, fullRead(histories.Scan, p, n))
		}
	}
	return [][]harness.FinalRead{finals, scans}
}

func fullRead(f string, part int32, node harness.NodeID) harness.FinalRead {
	op := histories.New(histories.Invoke, 0, f)
	op.Part, op.Node, op.From = part, string(node), 0
	return harness.FinalRead{Op: op, Next: readOn}
}

// readOn asks from where the answer ended, until the end that the answer stated.
func readOn(asked, answer histories.Op) (next histories.Op, done bool) {
	if n := len(answer.Msgs); n > 0 {
		asked.From = max(asked.From, answer.Msgs[n-1].Offset+1)
	}
	return asked, asked.From >= answer.HW
}
