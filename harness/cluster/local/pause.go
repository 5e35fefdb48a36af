// The fault that freezes a process, and how it is measured that the process stood still.

package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/osproc"
)

// freezeTime bounds the wait for a process to stand still after SIGSTOP: a thread may be in a
// system call that it has to finish.
const freezeTime = 5 * time.Second

// freeze is one time in which a node is stopped, by one pause or by several that overlap.
type freeze struct {
	proc     *process
	holders  int   // pauses that are on
	switches int64 // how often its threads had been taken off a processor when it stood still
	watched  bool  // switches could be counted

	over  bool // the node was killed; what follows is set then
	end   time.Time
	moved string // why it did not stand still; "": it did
}

// newFreeze stops a process with its group. It is nil when the process ended meanwhile.
func newFreeze(ctx context.Context, p *process) (*freeze, error) {
	if err := freezeGroup(p.pid); err != nil {
		if p.over() || !osproc.Alive(p.pid) {
			return nil, nil
		}
		return nil, fmt.Errorf("stop process %d: %w", p.pid, err)
	}
	limit := time.NewTimer(freezeTime)
	defer limit.Stop()
	look := time.NewTicker(pollTime)
	defer look.Stop()
	for waiting := true; waiting; {
		stopped, known := osproc.Stopped(p.pid)
		if stopped || !known {
			break
		}
		select {
		case <-look.C:
		case <-p.ended:
			return nil, nil
		case <-limit.C:
			waiting = false // what is measured in the end tells
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), thawGroup(p.pid))
		}
	}
	f := &freeze{proc: p}
	f.switches, f.watched = osproc.Switches(p.pid)
	return f, nil
}

// motion says why the process did not stand still so far; "" if it did.
func (f *freeze) motion() string {
	if f.over {
		return f.moved
	}
	if f.proc.over() {
		return "ended by itself while it should have been frozen: " + f.proc.exit.how
	}
	if stopped, known := osproc.Stopped(f.proc.pid); known && !stopped {
		return "was not frozen"
	}
	if ran, ok := osproc.Switches(f.proc.pid); f.watched && ok && ran != f.switches {
		return fmt.Sprintf("ran %d times while it should have been frozen", ran-f.switches)
	}
	return ""
}

// endFreeze measures a freeze that the end of the node's process is about to end.
func (n *node) endFreeze() {
	f := n.freeze
	if f == nil {
		return
	}
	f.moved = f.motion()
	f.over, f.end = true, time.Now()
	n.freeze = nil
}

// Pause implements harness.Pauser with SIGSTOP: the node's threads stop, its kernel's side of
// connections goes on. The effect counts the milliseconds that it was frozen. On a node that is
// down it has none.
func (c *Cluster) Pause(ctx context.Context, id harness.NodeID) (harness.Undo, error) {
	p := pause{c: c, id: id}
	err := c.withNode(ctx, id, func(ctx context.Context, n *node) (err error) {
		proc := n.running()
		if proc == nil {
			return nil
		}
		if n.freeze == nil {
			if n.freeze, err = newFreeze(ctx, proc); err != nil || n.freeze == nil {
				return err
			}
		}
		n.freeze.holders++
		p.freeze, p.begin = n.freeze, time.Now()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pause node %s: %w", id, err)
	}
	return p.undo, nil
}

// pause is one pause of one node.
type pause struct {
	c      *Cluster
	id     harness.NodeID
	freeze *freeze   // nil: there was nothing to pause
	begin  time.Time // when this pause held
}

// undo says what the freeze did, and ends it unless another pause still holds it.
func (p pause) undo(ctx context.Context) (effect harness.Effect, err error) {
	if p.freeze == nil {
		return harness.Effect{}, nil
	}
	err = p.c.withNode(ctx, p.id, func(_ context.Context, n *node) error {
		f := p.freeze
		effect = p.effect(f.motion())
		if f.holders--; f.holders > 0 || f.over || f.proc.over() {
			return nil
		}
		if err := thawGroup(f.proc.pid); err != nil && !f.proc.over() && osproc.Alive(f.proc.pid) {
			f.holders++
			return fmt.Errorf("let node %s go on: %w", n.id, err)
		}
		n.freeze = nil
		return nil
	})
	return effect, err
}

func (p pause) effect(moved string) harness.Effect {
	if moved != "" {
		return harness.Effect{Text: fmt.Sprintf("%s %s", p.id, moved)}
	}
	end, how := time.Now(), ""
	if p.freeze.over {
		end, how = p.freeze.end, " until it was killed"
	}
	took := end.Sub(p.begin)
	return harness.Effect{
		Count: max(1, took.Milliseconds()),
		Text:  fmt.Sprintf("%s frozen for %v%s", p.id, took.Round(time.Millisecond), how),
	}
}
