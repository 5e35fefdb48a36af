package docker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/osproc"
)

// killed is the exit code of a process that SIGKILL ended.
const killed = 128 + 9

// shutdownTime is how long a node has to end by itself after SIGTERM.
const shutdownTime = 10 * time.Second

// withNode does something to a node while nobody else does.
func (c *Cluster) withNode(ctx context.Context, id harness.NodeID, do func(*engine, *node) error) error {
	e, err := c.use()
	if err != nil {
		return err
	}
	n, err := c.node(id)
	if err != nil {
		return err
	}
	if err := n.lock(ctx); err != nil {
		return err
	}
	defer n.unlock()
	if _, err := c.use(); err != nil { // a stop came first
		return err
	}
	return do(e, n)
}

// Kill implements harness.Killer. A paused node is killed as well.
func (c *Cluster) Kill(ctx context.Context, id harness.NodeID) (effect harness.Effect, err error) {
	err = c.withNode(ctx, id, func(e *engine, n *node) error {
		effect, err = c.kill(ctx, e, n)
		return err
	})
	return effect, err
}

func (c *Cluster) kill(ctx context.Context, e *engine, n *node) (harness.Effect, error) {
	before, err := e.state(ctx, n)
	if err != nil {
		return harness.Effect{}, err
	}
	if !before.Running {
		n.endedByItself(before)
		return harness.Effect{}, nil
	}
	c.collect(ctx, e, n)
	if _, err := e.api.ContainerKill(ctx, n.name, client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil {
		return harness.Effect{}, fmt.Errorf("kill node %s: %w", n.id, err)
	}
	code, err := e.wait(ctx, n.name)
	if err != nil {
		return harness.Effect{}, err
	}
	n.paused = 0
	if code != killed {
		n.endedByItself(container.State{ExitCode: int(code)})
		return harness.Effect{}, fmt.Errorf("node %s ended with exit code %d before it could be killed; its log tells why", n.id, code)
	}
	n.ended("it was killed")
	return harness.Effect{Count: 1, Text: fmt.Sprintf("%s killed (process %d gone)", n.id, before.Pid)}, nil
}

// Shutdown implements harness.Killer. A node that does not end within 10 s is killed, and the
// effect says so.
func (c *Cluster) Shutdown(ctx context.Context, id harness.NodeID) (effect harness.Effect, err error) {
	err = c.withNode(ctx, id, func(e *engine, n *node) error {
		before, err := e.state(ctx, n)
		if err != nil {
			return err
		}
		if !before.Running {
			n.endedByItself(before)
			return nil
		}
		c.collect(ctx, e, n)
		begin := time.Now()
		seconds := int(shutdownTime.Seconds())
		if _, err := e.api.ContainerStop(ctx, n.name, client.ContainerStopOptions{Signal: "SIGTERM", Timeout: &seconds}); err != nil {
			return fmt.Errorf("stop node %s: %w", n.id, err)
		}
		after, err := e.state(ctx, n)
		if err != nil {
			return err
		}
		n.ended("it was shut down")
		n.paused = 0
		how := fmt.Sprintf("%s ended by SIGTERM after %v, exit code %d", n.id, time.Since(begin).Round(time.Millisecond), after.ExitCode)
		if after.ExitCode == killed {
			how = fmt.Sprintf("%s did not end by SIGTERM within %v and was killed", n.id, shutdownTime)
		}
		effect = harness.Effect{Count: 1, Text: how}
		return nil
	})
	return effect, err
}

// Boot implements harness.Killer. A node that runs is left alone.
func (c *Cluster) Boot(ctx context.Context, id harness.NodeID) error {
	return c.withNode(ctx, id, func(e *engine, n *node) error {
		now, err := e.state(ctx, n)
		if err != nil {
			return err
		}
		if now.Running {
			return nil
		}
		return c.boot(ctx, e, n)
	})
}

// Wipe implements harness.Wiper: container and volume are removed, and new ones made, also when the
// node is down.
func (c *Cluster) Wipe(ctx context.Context, id harness.NodeID) (effect harness.Effect, err error) {
	err = c.withNode(ctx, id, func(e *engine, n *node) error {
		struck, err := c.kill(ctx, e, n)
		if err != nil {
			return err
		}
		size, err := e.diskSize(ctx, n)
		if err != nil {
			return err
		}
		if err := removeContainer(ctx, e, n.name); err != nil {
			return fmt.Errorf("remove container %s: %w", n.name, err)
		}
		if n.setup.data != "" {
			if _, err := e.api.VolumeRemove(ctx, n.volume, client.VolumeRemoveOptions{Force: true}); err != nil {
				return fmt.Errorf("wipe node %s: %w", n.id, err)
			}
		}
		n.applied = nil
		if err := c.create(ctx, e, n); err != nil {
			return err
		}
		left, err := e.diskSize(ctx, n)
		if err != nil {
			return err
		}
		switch {
		case struck.Count > 0:
			effect = harness.Effect{Count: 1, Text: fmt.Sprintf("%s killed, its disk with %d bytes deleted", n.id, size-left)}
		case size > left:
			effect = harness.Effect{Count: 1, Text: fmt.Sprintf("%s was down, its disk with %d bytes deleted", n.id, size-left)}
		}
		return nil
	})
	return effect, err
}

// Pause implements harness.Pauser with the cgroup freezer: the node's threads stop, its kernel's
// side of connections goes on. The effect counts the milliseconds that it was frozen. On a node
// that is down it has none.
func (c *Cluster) Pause(ctx context.Context, id harness.NodeID) (harness.Undo, error) {
	p := pause{c: c, id: id}
	err := c.withNode(ctx, id, func(e *engine, n *node) error {
		before, err := e.state(ctx, n)
		if err != nil || !before.Running {
			return err
		}
		if n.paused == 0 {
			if _, err := e.api.ContainerPause(ctx, n.name, client.ContainerPauseOptions{}); err != nil {
				return fmt.Errorf("pause node %s: %w", n.id, err)
			}
			n.frozen = time.Now()
		}
		n.paused++
		p.since, p.begin, p.pid = n.frozen, time.Now(), before.Pid
		p.switches, p.watched = switches(before.Pid, n.containerID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.undo, nil
}

// pause is one pause of one node; its zero since means that there was nothing to pause.
type pause struct {
	c        *Cluster
	id       harness.NodeID
	since    time.Time // when the node was frozen: tells this freeze from one after a restart
	begin    time.Time // when this pause held
	pid      int
	switches int64 // how often its threads had been taken off a processor by then
	watched  bool  // switches could be counted
}

// undo thaws the node, unless another pause still holds it or it was killed meanwhile, and brings
// its rules up to date, which could not be changed while it was frozen.
func (p pause) undo(ctx context.Context) (effect harness.Effect, err error) {
	if p.since.IsZero() {
		return harness.Effect{}, nil
	}
	err = p.c.withNode(ctx, p.id, func(e *engine, n *node) error {
		if n.paused == 0 || !n.frozen.Equal(p.since) {
			took := time.Since(p.begin)
			effect = harness.Effect{Count: took.Milliseconds(), Text: fmt.Sprintf("%s frozen until it was killed", n.id)}
			return nil
		}
		effect = p.measure(ctx, e, n)
		if n.paused--; n.paused > 0 {
			return nil
		}
		if _, err := e.api.ContainerUnpause(ctx, n.name, client.ContainerUnpauseOptions{}); err != nil {
			n.paused++
			return fmt.Errorf("unpause node %s: %w", n.id, err)
		}
		return p.c.sync(ctx, e, n)
	})
	return effect, err
}

// measure says what the freeze did so far: the engine must call the container paused, and, where
// that can be seen, none of its threads may have run.
func (p pause) measure(ctx context.Context, e *engine, n *node) harness.Effect {
	took := time.Since(p.begin)
	now, err := e.state(ctx, n)
	if err != nil || !now.Paused {
		return harness.Effect{Text: fmt.Sprintf("%s was not frozen", n.id)}
	}
	if ran, ok := switches(p.pid, n.containerID); ok && p.watched && ran != p.switches {
		return harness.Effect{Text: fmt.Sprintf("%s ran %d times while it should have been frozen", n.id, ran-p.switches)}
	}
	return harness.Effect{Count: max(1, took.Milliseconds()), Text: fmt.Sprintf("%s frozen for %v", n.id, took.Round(time.Millisecond))}
}

// switches counts how often the threads of a container's first process were taken off a processor.
// It is not known when the process cannot be seen here, or is not the container's: the engine may
// be on another machine.
func switches(pid int, containerID string) (count int64, ok bool) {
	group, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil || containerID == "" || !bytes.Contains(group, []byte(containerID)) {
		return 0, false
	}
	return osproc.Switches(pid)
}
