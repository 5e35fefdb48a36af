package log

import (
	"math/rand/v2"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

const (
	// genStream separates the generator's random numbers from others that derive from the same seed.
	genStream = 0x67656e
	// Values count from (1 + seed mod valueSeeds) * valueStep: short enough to read, and rarely those of another run.
	valueSeeds = 1000
	valueStep  = 10_000_000
	// rewind is how far behind the newest known offset a process begins, and goes back to when it has lost its place.
	rewind = 20
	// maxFails is after how many failed reads in a row a process has lost its place.
	maxFails = 3
)

// generator makes sends and polls in equal numbers, in random order.
type generator struct {
	cfg    *Config
	groups [][]harness.NodeID
	rng    *rand.Rand
	next   int64   // value
	polls  int     // left of the current pair of a send and a poll: 0 or 1
	sends  int     // the same
	ends   []int64 // by partition: the offset after the latest acknowledgement
	reads  map[reader]*reading
}

// reader is a process that reads a partition.
type reader struct {
	process int
	part    int32
}

// reading is where a reader stands.
type reading struct {
	next  int64 // position
	node  int   // index into the followers; moved on when a read fails
	fails int   // in a row
}

var _ harness.Generator = (*generator)(nil)

func newGenerator(cfg *Config, groups [][]harness.NodeID, seed uint64) *generator {
	return &generator{
		cfg: cfg, groups: groups, rng: rand.New(rand.NewPCG(seed, genStream)), next: int64(1+seed%valueSeeds) * valueStep,
		ends: make([]int64, cfg.Partitions), reads: make(map[reader]*reading),
	}
}

// Next implements harness.Generator.
func (g *generator) Next(c harness.Context) (histories.Op, harness.Status) {
	if g.sends+g.polls == 0 {
		g.sends, g.polls = 1, 1
	}
	part := int32(g.rng.IntN(g.cfg.Partitions))
	if g.polls == 0 || g.sends > 0 && g.rng.IntN(2) == 0 {
		g.sends--
		return g.send(part), harness.Ready
	}
	g.polls--
	return g.poll(c.Process, part), harness.Ready
}

func (g *generator) send(part int32) histories.Op {
	op := histories.New(histories.Invoke, 0, histories.Send)
	op.Part = part
	if g.cfg.Batch == 1 {
		op.Value = g.next
		g.next++
		return op
	}
	for range g.cfg.Batch {
		op.Msgs = append(op.Msgs, histories.Message{Offset: histories.Unset, Value: g.next})
		g.next++
	}
	return op
}

func (g *generator) poll(process int, part int32) histories.Op {
	op := histories.New(histories.Invoke, 0, histories.Poll)
	r := g.reading(process, part)
	op.Part, op.From = part, r.next
	if f := g.followers(part); g.cfg.FromFollower && len(f) > 0 {
		op.Node = string(f[r.node%len(f)])
	}
	return op
}

// reading returns where the process stands in the partition. At the start of a run that is its beginning; who comes later begins a
// little before the end, so as not to read everything again.
func (g *generator) reading(process int, part int32) *reading {
	k := reader{process, part}
	r := g.reads[k]
	if r == nil {
		r = &reading{next: max(0, g.ends[part]-rewind), node: process + int(part)}
		g.reads[k] = r
	}
	return r
}

// followers returns the nodes of the partition's group but the one that leads at first.
func (g *generator) followers(part int32) []harness.NodeID {
	if len(g.groups) == 0 {
		return nil
	}
	members := g.groups[histories.GroupOf(part, len(g.groups))]
	if len(members) < 2 {
		return members
	}
	return members[1:]
}

// Observe implements harness.Generator.
func (g *generator) Observe(_ harness.Context, op histories.Op) {
	if op.Part < 0 || int(op.Part) >= len(g.ends) {
		return
	}
	switch op.F {
	case histories.Send:
		if op.Type == histories.OK {
			g.ends[op.Part] = lastOffset(&op) + 1
		}
	case histories.Poll:
		r := g.reads[reader{op.Process, op.Part}]
		if r == nil {
			return
		}
		if op.Type != histories.OK {
			r.fail(g.ends[op.Part])
			return
		}
		r.fails = 0
		if n := len(op.Msgs); n > 0 {
			r.next = max(r.next, op.Msgs[n-1].Offset+1)
		}
	}
}

// fail moves on to the next follower, and after some failures to a place that should exist: where a log has lost its tail, a position may be
// beyond its end for good.
func (r *reading) fail(end int64) {
	r.node++
	if r.fails++; r.fails >= maxFails {
		r.fails, r.next = 0, max(0, min(r.next, end)-rewind)
	}
}

// lastOffset returns the greatest offset of an acknowledged send.
func lastOffset(op *histories.Op) int64 {
	last := op.Offset
	for _, m := range op.Msgs {
		last = max(last, m.Offset)
	}
	return last
}
