package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// machine is a node's place in the cluster: a disk that outlives its processes, and at most one
// process.
type machine struct {
	id      harness.NodeID
	cluster *Cluster
	log     *slog.Logger
	seed    uint64

	// turn is a lock of capacity 1: it may be held while a process starts or stops. It guards proc,
	// host, boots and failures; disk and the reasons are changed by its holder and under mu, read
	// by its holder or under mu.
	turn     chan struct{}
	proc     *process
	host     *netsim.Host // the present incarnation, dead when the node is down; nil before the first boot
	boots    uint64
	failures map[hardware]int // how many faults of a kind are on

	mu      sync.Mutex // never held across a wait
	disk    *vfs.Disk
	whyDown string // "" while a process runs
	exited  bool   // it is down because it ended by itself
}

// process is one run of a node.
type process struct {
	node target.Node
	gone chan struct{} // closed by whoever takes it from its machine
}

// take waits for the machine.
func (m *machine) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for another change of it to end: %w", m.id, ctx.Err())
	}
}

func (m *machine) give() { <-m.turn }

// down says why no process runs, "" when one does, and whether the last one ended by itself.
func (m *machine) down() (why string, exited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.whyDown, m.exited
}

func (m *machine) setDown(why string, exited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.whyDown, m.exited = why, exited
}

// replace puts a disk into the machine, which is down.
func (m *machine) replace(disk *vfs.Disk, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk, m.whyDown, m.exited = disk, why, false
}

// drive is the disk as it is now.
func (m *machine) drive() *vfs.Disk {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disk
}

func (m *machine) boot(ctx context.Context) error {
	if err := m.take(ctx); err != nil {
		return err
	}
	defer m.give()
	if m.proc != nil {
		return fmt.Errorf("%s runs already", m.id)
	}
	m.boots++
	m.host = m.cluster.net.Host(string(m.id))
	n, err := m.cluster.system.Sim.Start(ctx, target.World{
		Node:   m.id,
		Addr:   m.cluster.addr,
		FS:     m.drive(),
		Listen: m.host.Listen,
		Dial:   m.host.Dial,
		Rand:   rand.New(rand.NewPCG(m.seed, m.boots)),
		Logger: m.log,
	})
	if err != nil {
		m.host.Kill()
		m.setDown(fmt.Sprintf("could not start: %v", err), ctx.Err() == nil)
		if ctx.Err() != nil {
			return fmt.Errorf("%s did not start in time: %w", m.id, err)
		}
		return fmt.Errorf("%s: %w: %w", m.id, harness.ErrNodeExited, err)
	}
	m.proc = &process{node: n, gone: make(chan struct{})}
	m.setDown("", false)
	m.watch(m.proc)
	return nil
}

// watch makes a node that ends by itself one that is down: its process exits.
func (m *machine) watch(p *process) {
	m.cluster.ended.Go(func() {
		select {
		case <-p.gone:
			return
		case <-p.node.Failed():
		}
		m.turn <- struct{}{}
		defer m.give()
		if m.proc == p {
			why := "ended by itself, " + p.node.Failure()
			m.crash(vfs.KeepCache, why)
			m.setDown(why, true)
		}
	})
}

// crash ends the process at this instant: the disk is what mode leaves of it, and the network
// forgets the process or falls silent. The process itself runs on, detached from both, and is shut
// down in the background. The caller has the turn, and there is a process.
func (m *machine) crash(mode vfs.ImageMode, why string) vfs.ImageReport {
	p := m.proc
	m.proc = nil
	close(p.gone)
	if mode == vfs.PowerLoss {
		m.host.PowerOff()
	} else {
		m.host.Kill()
	}
	image, report := m.drive().Image(mode)
	m.replace(image, why)
	m.cluster.ended.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := p.node.Stop(ctx); errors.Is(err, context.DeadlineExceeded) {
			m.cluster.later(fmt.Errorf("the dead process of %s could not be cleaned up: %w", m.id, err))
		}
	})
	return report
}

// shutdown ends the process in the ordinary way; without one it does nothing and says so.
func (m *machine) shutdown(ctx context.Context, why string) (was bool, err error) {
	p := m.proc
	if p == nil {
		return false, nil
	}
	m.proc = nil
	close(p.gone)
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err = p.node.Stop(ctx)
	m.host.Kill()
	disk := m.drive()
	if err != nil {
		disk, _ = disk.Image(vfs.KeepCache) // whatever still runs keeps the old one
		err = fmt.Errorf("shut down %s: %w", m.id, err)
	}
	m.replace(disk, why)
	return true, err
}

// retire ends the machine for good.
func (m *machine) retire(ctx context.Context) error {
	m.turn <- struct{}{}
	defer m.give()
	m.drive().Freeze(false)
	_, err := m.shutdown(context.WithoutCancel(ctx), "stopped")
	return err
}
