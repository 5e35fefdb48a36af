package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// hardware is a lasting fault of a disk.
type hardware uint8

const (
	healthy hardware = iota // never a fault
	syncFails
	noSpace
)

// strike runs f with the node's machine, unless no process runs there: then there is nothing to
// hurt, and no effect.
func (c *Cluster) strike(ctx context.Context, n harness.NodeID, f func(m *machine) harness.Effect) (harness.Effect, error) {
	m, err := c.machine(n)
	if err != nil {
		return harness.Effect{}, err
	}
	if err := m.take(ctx); err != nil {
		return harness.Effect{}, err
	}
	defer m.give()
	if m.proc == nil {
		return harness.Effect{}, nil
	}
	return f(m), nil
}

// Kill implements harness.Killer.
func (c *Cluster) Kill(ctx context.Context, n harness.NodeID) (harness.Effect, error) {
	return c.strike(ctx, n, func(m *machine) harness.Effect {
		m.crash(vfs.KeepCache, "killed")
		return harness.Effect{Count: 1, Text: fmt.Sprintf("%s killed", n)}
	})
}

// Shutdown implements harness.Killer.
func (c *Cluster) Shutdown(ctx context.Context, n harness.NodeID) (harness.Effect, error) {
	var failed error
	e, err := c.strike(ctx, n, func(m *machine) harness.Effect {
		_, failed = m.shutdown(ctx, "shut down")
		return harness.Effect{Count: 1, Text: fmt.Sprintf("%s shut down", n)}
	})
	return e, errors.Join(err, failed)
}

// Boot implements harness.Killer. A node that is up is an error.
func (c *Cluster) Boot(ctx context.Context, n harness.NodeID) error {
	m, err := c.machine(n)
	if err != nil {
		return err
	}
	return m.boot(ctx)
}

// CutPower implements harness.PowerCutter. That the machine lost power is an effect even when its
// disk had everything.
func (c *Cluster) CutPower(ctx context.Context, n harness.NodeID) (harness.Effect, error) {
	return c.strike(ctx, n, func(m *machine) harness.Effect {
		files := 0
		for _, f := range m.drive().Stat() {
			if f.Unsynced > 0 {
				files++
			}
		}
		r := m.crash(vfs.PowerLoss, "without power")
		text := fmt.Sprintf("%s lost power and %s of %s unsynced bytes in %s", n, thousands(r.LostBytes), thousands(r.UnsyncedBytes), count(files, "file"))
		if r.LostEntries > 0 {
			text += fmt.Sprintf(", and %s of its directory", count(int(r.LostEntries), "change"))
		}
		return harness.Effect{Count: 1, Text: text}
	})
}

// Wipe implements harness.Wiper. The disk of a node that is down is deleted, too.
func (c *Cluster) Wipe(ctx context.Context, n harness.NodeID) (harness.Effect, error) {
	m, err := c.machine(n)
	if err != nil {
		return harness.Effect{}, err
	}
	if err := m.take(ctx); err != nil {
		return harness.Effect{}, err
	}
	defer m.give()
	how := "killed"
	var r vfs.ImageReport
	if m.proc != nil {
		r = m.crash(vfs.Empty, "killed, its disk wiped")
	} else {
		var empty *vfs.Disk
		how = "was down"
		empty, r = m.drive().Image(vfs.Empty)
		m.replace(empty, "down, its disk wiped")
		if r.LostEntries == 0 {
			return harness.Effect{}, nil
		}
	}
	return harness.Effect{Count: 1, Text: fmt.Sprintf("%s %s, its disk with %s bytes in %s deleted", n, how, thousands(r.LostBytes), count(int(r.LostEntries), "file"))}, nil
}

// Pause implements harness.Pauser: network and disk stand still, timers run on. A node that dies
// meanwhile is no longer paused when it is back.
func (c *Cluster) Pause(ctx context.Context, n harness.NodeID) (harness.Undo, error) {
	undo := func(context.Context) (harness.Effect, error) { return harness.Effect{}, nil }
	_, err := c.strike(ctx, n, func(m *machine) harness.Effect {
		disk, thaw := m.drive(), m.host.Freeze()
		before := disk.Counters().BlockedOps
		disk.Freeze(true)
		undo = func(context.Context) (harness.Effect, error) {
			disk.Freeze(false)
			segments, ops := thaw(), disk.Counters().BlockedOps-before
			e := harness.Effect{Count: segments + ops}
			if e.Count > 0 {
				e.Text = fmt.Sprintf("%s paused: %s and %s held back", n, count(int(segments), "segment"), count(int(ops), "disk operation"))
			}
			return e, nil
		}
		return harness.Effect{}
	})
	return undo, err
}

// ShapesClients implements harness.ClientShaper: each client process has a host of its own.
func (c *Cluster) ShapesClients() bool { return true }

// Shape implements harness.Network.
func (c *Cluster) Shape(_ context.Context, rules []harness.Rule) (harness.Undo, error) {
	set := make([]netsim.Rule, len(rules))
	for i, r := range rules {
		from, err := c.hostOf(r.From)
		if err != nil {
			return nil, err
		}
		to, err := c.hostOf(r.To)
		if err != nil {
			return nil, err
		}
		set[i] = netsim.Rule{From: from, To: to, Drop: r.Drop, Loss: r.Loss, DelayMin: r.DelayMin, DelayMax: r.DelayMax}
	}
	undo := c.net.Shape(set)
	return func(context.Context) (harness.Effect, error) {
		n := undo()
		e := harness.Effect{Count: n.Dropped + n.Delayed}
		var parts []string
		if n.Dropped > 0 {
			parts = append(parts, count(int(n.Dropped), "segment")+" dropped")
		}
		if n.Delayed > 0 {
			parts = append(parts, count(int(n.Delayed), "segment")+" delayed")
		}
		e.Text = strings.Join(parts, ", ")
		return e, nil
	}, nil
}

func (c *Cluster) hostOf(e harness.Endpoint) (string, error) {
	if e.Node == "" {
		return clientHost(e.Process), nil
	}
	m, err := c.machine(e.Node)
	if err != nil {
		return "", err
	}
	return string(m.id), nil
}

// FailSync implements harness.Disks.
func (c *Cluster) FailSync(ctx context.Context, n harness.NodeID) (harness.Undo, error) {
	return c.breakDisk(ctx, n, hardwareFault{
		kind:   syncFails,
		turn:   (*vfs.Disk).FailSync,
		count:  func(k vfs.Counters) int64 { return k.FailedSyncs },
		what:   "sync",
		became: "failed",
	})
}

// Fill implements harness.Disks.
func (c *Cluster) Fill(ctx context.Context, n harness.NodeID) (harness.Undo, error) {
	return c.breakDisk(ctx, n, hardwareFault{
		kind:   noSpace,
		turn:   (*vfs.Disk).SetFull,
		count:  func(k vfs.Counters) int64 { return k.FailedWrites },
		what:   "write",
		became: "refused",
	})
}

// hardwareFault is a lasting fault of a disk.
type hardwareFault struct {
	kind   hardware
	turn   func(d *vfs.Disk, on bool)
	count  func(vfs.Counters) int64
	what   string // that was counted
	became string // what became of it
}

// breakDisk works on a node that is down, too: the disk stays in the machine, across crashes, until
// the fault is undone.
func (c *Cluster) breakDisk(ctx context.Context, n harness.NodeID, f hardwareFault) (harness.Undo, error) {
	m, err := c.machine(n)
	if err != nil {
		return nil, err
	}
	if err := m.take(ctx); err != nil {
		return nil, err
	}
	defer m.give()
	m.failures[f.kind]++
	before := f.count(m.drive().Counters())
	f.turn(m.drive(), true)
	return func(ctx context.Context) (harness.Effect, error) {
		if err := m.take(ctx); err != nil {
			return harness.Effect{}, err
		}
		defer m.give()
		if m.failures[f.kind]--; m.failures[f.kind] == 0 {
			f.turn(m.drive(), false)
		}
		failed := f.count(m.drive().Counters()) - before
		if failed == 0 {
			return harness.Effect{}, nil
		}
		return harness.Effect{Count: failed, Text: fmt.Sprintf("%s of %s %s", count(int(failed), f.what), n, f.became)}, nil
	}, nil
}

// Corrupt implements harness.Disks. Half of the picks hit a closed segment, if there is one; the
// node may be up or down.
func (c *Cluster) Corrupt(ctx context.Context, n harness.NodeID, pick uint64) (harness.Effect, error) {
	m, err := c.machine(n)
	if err != nil {
		return harness.Effect{}, err
	}
	if err := m.take(ctx); err != nil {
		return harness.Effect{}, err
	}
	defer m.give()
	var segments []vfs.FileStat
	for _, f := range m.drive().Stat() {
		if (c.system.Sim.Log == nil || c.system.Sim.Log(f.Name)) && f.Size > 0 {
			segments = append(segments, f)
		}
	}
	if len(segments) == 0 {
		return harness.Effect{}, nil
	}
	rng := rand.New(rand.NewPCG(pick, 0x636f7272757074))
	tail := segments[len(segments)-1]
	file, where := tail, "the tail"
	if closed := segments[:len(segments)-1]; len(closed) > 0 && rng.IntN(2) == 0 {
		file, where = closed[rng.IntN(len(closed))], "a closed segment"
	}
	off, bit := rng.Int64N(file.Size), uint8(rng.IntN(8))
	if err := m.drive().FlipBit(file.Name, off, bit); err != nil {
		return harness.Effect{}, fmt.Errorf("corrupt %s: %w", n, err)
	}
	return harness.Effect{Count: 1, Text: fmt.Sprintf("bit %d of byte %s of %s (%s) of %s flipped", bit, thousands(off), file.Name, where, n)}, nil
}

// count writes "1 file", "3 files".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return thousands(int64(n)) + " " + what
}

// thousands writes 18432 as 18,432. n is not negative.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
