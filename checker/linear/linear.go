// Package linear judges whether each partition is a linearizable append-only log: stale-read and
// nonlinearizable.
//
// A send that was acknowledged appends its message at its offset at one moment between invocation
// and completion; a read returns, at one such moment, what is there. Open reads and open sends that
// no read returned are dropped; an open or weak send that a read returned keeps the offset it was
// seen at, and may have happened at any time after its invocation. So may a second copy of a
// message: that it is there twice is the class duplicate, and delivery's business.
//
// The verdict comes from an exact sweep in O(n log n) (sweep.go). Porcupine judges the same again
// by search, the whole of a short partition, or a window around a violation, and draws it. That the
// two agree is tested on many small histories. Offsets need not be dense: only their order counts,
// as Kafka's logs have gaps.
package linear

import (
	"context"
	"fmt"
	"io"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/finding"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// DefaultPorcupineOps is up to how many operations of a partition Porcupine judges as a whole.
const DefaultPorcupineOps = 5000

// Config says what is judged.
type Config struct {
	// ReadsUnderLoad includes polls: set it where the configuration promises linearizable reads.
	// Final reads always count.
	ReadsUnderLoad bool
	// PorcupineOps is up to how many operations of a partition Porcupine judges as a whole; beyond,
	// the sweep decides alone and Porcupine gets windows around violations. 0 is
	// DefaultPorcupineOps, less than 0 is never.
	PorcupineOps int
}

// Checker judges linearizability.
//
// Figures: the number of anomalies of each class found; linear_ops: operations judged;
// porcupine_ops: those of them that Porcupine judged too; porcupine_confirmed: violations that
// Porcupine, given a window around them, finds illegal as well.
type Checker struct {
	cfg Config
	off rules // rules that a test has switched off
}

var (
	_ checker.Checker  = (*Checker)(nil)
	_ checker.Drawer   = (*Checker)(nil)
	_ checker.Follower = (*Checker)(nil)
)

// New returns the checker.
func New(cfg Config) *Checker {
	if cfg.PorcupineOps == 0 {
		cfg.PorcupineOps = DefaultPorcupineOps
	}
	return &Checker{cfg: cfg}
}

// Name implements checker.Checker.
func (*Checker) Name() string { return "linear" }

// FollowsLoss implements checker.Follower: who reads later does
// not see what others saw.
func (*Checker) FollowsLoss() []checker.Class {
	return []checker.Class{checker.Nonlinearizable, checker.StaleRead}
}

// Check implements checker.Checker. It is Unknown without an acknowledged message or without any
// read that counts, and when Porcupine runs out of time.
func (c *Checker) Check(ctx context.Context, h histories.Reader) checker.Result {
	v, err := logview.BuildSound(ctx, h)
	if err != nil {
		return finding.Unknown(err.Error())
	}
	j := &judge{v: v, cfg: c.cfg, off: c.off}
	reads := 0
	for _, p := range v.Parts {
		if ctx.Err() != nil {
			j.set.Undecided("out of time")
			break
		}
		m := c.model(v, p)
		reads += m.reads
		j.part(ctx, m)
	}
	if v.Count(histories.OK) == 0 {
		j.set.Undecided("no message was acknowledged")
	}
	if reads == 0 {
		j.set.Undecided("no final read, and no read under load that counts")
	}
	j.set.Figure("linear_ops", float64(j.ops))
	j.set.Figure("porcupine_ops", float64(j.searched))
	j.set.Figure("porcupine_confirmed", float64(j.confirmed))
	return j.set.Result()
}

// model builds and sweeps one partition.
func (c *Checker) model(v *logview.View, p *logview.Part) *model {
	m := build(v, p, c.cfg.ReadsUnderLoad, c.off)
	m.sweep()
	return m
}

// judge is one check.
type judge struct {
	v   *logview.View
	cfg Config
	off rules
	set finding.Set

	ops, searched, confirmed int
}

// maxConfirmed is how many violations of a partition Porcupine is asked about: its word is wanted
// on the kind, not on each.
const maxConfirmed = 3

func (j *judge) part(ctx context.Context, m *model) {
	j.ops += len(m.entries)
	for i := range m.found {
		f := &m.found[i]
		if j.set.Count(f.class, m.part.ID) {
			j.set.Add(m.anomaly(f))
		}
		if i >= maxConfirmed || j.cfg.PorcupineOps < 0 {
			continue
		}
		if m.proof(f).search(ctx) == searchIllegal {
			j.confirmed++
		}
	}
	if len(m.found) > 0 || len(m.entries) > j.cfg.PorcupineOps {
		return
	}
	switch search(ctx, m.entries) {
	case searchLegal:
		j.searched += len(m.entries)
	case searchIllegal:
		j.set.Undecided(fmt.Sprintf("partition %d: Porcupine finds no linearization where the sweep finds one, so one of them is wrong", m.part.ID))
	default:
		j.set.Undecided(fmt.Sprintf("partition %d: Porcupine ran out of time on %d operations", m.part.ID, len(m.entries)))
	}
}

// Visualize writes Porcupine's picture of partition part to w, as one self-contained HTML page:
// what proves the first violation with what happened next to it, or the whole partition where there
// is no violation and it is short enough. It fails when there is nothing to draw.
func (c *Checker) Visualize(ctx context.Context, h histories.Reader, part int32, w io.Writer) error {
	v, err := logview.Build(ctx, h)
	if err != nil {
		return fmt.Errorf("drawing partition %d: %w", part, err)
	}
	p := v.Part(part)
	if p == nil {
		return fmt.Errorf("drawing partition %d: the history has no operation on it", part)
	}
	m := c.model(v, p)
	switch {
	case len(m.found) > 0:
		return m.picture(&m.found[0]).draw(w)
	case len(m.entries) == 0:
		return fmt.Errorf("drawing partition %d: nothing of it is judged", part)
	case len(m.entries) > maxWhole:
		return fmt.Errorf("drawing partition %d: no violation, and %d operations are too many for one picture", part, len(m.entries))
	}
	return m.whole().draw(w)
}
