package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/agent"
)

// listenTime is how long a start waits for a node to listen.
const listenTime = 30 * time.Second

// node is one container with its volume. Fields after turn belong to whoever holds it; id, name and volume never change, addr not
// after the network has been created.
type node struct {
	id     harness.NodeID
	name   string // of the container
	volume string
	addr   netip.Addr
	logs   follower

	up atomic.Bool // as far as is known; read without turn

	turn  chan struct{} // a lock of size 1 that can be waited for with a context: operations on one container are serial
	image string
	// containerID is the engine's name of the container, which a wipe replaces.
	containerID string
	config      []byte
	paused      int       // how many pauses hold it
	frozen      time.Time // since when, when paused
	applied     []byte    // the rules in force inside, encoded; nil: none
}

func (n *node) lock(ctx context.Context) error {
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for what is being done to node %s: %w", n.id, ctx.Err())
	}
}

func (n *node) unlock() { <-n.turn }

// create makes n's container and volume; nothing runs yet. The creation itself is not cut short by ctx, so that after a stop nobody
// creates anything that Stop could not see.
func (m *machine) create(ctx context.Context, e *engine, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	marks := labels(m.runID, map[string]string{LabelNode: string(n.id)})
	m.mu.Lock()
	direct := m.direct
	m.mu.Unlock()
	var ports []string
	if !direct {
		ports = []string{kafkaPort + "/tcp", peerPort + "/tcp"}
	}
	created, err := e.provider.CreateContainer(step, testcontainers.ContainerRequest{
		Image: n.image, Name: n.name, Labels: marks, ExposedPorts: ports,
		Cmd:      []string{"agent", agent.CmdRunNode, "--config", agent.ConfigPath},
		Env:      map[string]string{agent.ContainerEnv: "1", agent.ConfigEnv: string(n.config)},
		Networks: []string{m.network()},
		ConfigModifier: func(c *container.Config) {
			c.Hostname = string(n.id)
		},
		HostConfigModifier: func(h *container.HostConfig) {
			h.NetworkMode = container.NetworkMode(m.network())
			h.CapAdd = []string{"NET_ADMIN"}
			h.LogConfig = container.LogConfig{Type: "json-file"}
			h.Mounts = []mount.Mount{{
				Type: mount.TypeVolume, Source: n.volume, Target: agent.DataPath, VolumeOptions: &mount.VolumeOptions{Labels: marks},
			}}
		},
		EndpointSettingsModifier: func(nets map[string]*network.EndpointSettings) {
			for _, s := range nets {
				s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: n.addr}
			}
		},
	})
	if err != nil {
		return fmt.Errorf("create container %s: %w", n.name, err)
	}
	n.containerID = created.GetContainerID()
	return nil
}

// boot starts n's container with the rules that are active, and follows its log.
func (m *machine) boot(ctx context.Context, e *engine, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rules, err := m.rules.of(n.id, m.address).Encode()
	if err != nil {
		return fmt.Errorf("write down the active rules: %w", err)
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	if !bytes.Equal(rules, n.applied) && (n.applied != nil || m.rules.any()) {
		archive, err := tarOf(tarFile{agent.RulesPath[1:], 0o644, rules})
		if err != nil {
			return err
		}
		_, err = e.api.CopyToContainer(step, n.name, client.CopyToContainerOptions{DestinationPath: "/", Content: archive})
		if err != nil {
			return fmt.Errorf("hand node %s the active rules: %w", n.id, err)
		}
	}
	since := time.Now()
	if _, err := e.api.ContainerStart(step, n.name, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", n.name, err)
	}
	n.up.Store(true)
	n.paused, n.applied = 0, rules
	if m.logDir != "" {
		n.logs.follow(e, n, m.logDir, since, m.logger)
	}
	return m.listens(ctx, e, n)
}

// listens returns when the node accepts connections, or has had listenTime to do so: a long recovery is no error. A node that ends
// instead is harness.ErrNodeExited.
func (m *machine) listens(ctx context.Context, e *engine, n *node) error {
	limited, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	exited := make(chan error, 1)
	go func() {
		code, err := e.wait(limited, n.name)
		if err == nil {
			err = fmt.Errorf("node %s: %w with exit code %d: %s", n.id, harness.ErrNodeExited, code, e.lastWords(ctx, n))
			cancel() // nobody answers any more
		}
		exited <- err
	}()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := m.dial(limited, "tcp", net.JoinHostPort(n.addr.String(), kafkaPort))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-retry.C:
		case <-limited.Done():
			if err := <-exited; errors.Is(err, harness.ErrNodeExited) {
				n.up.Store(false)
				return err
			}
			return ctx.Err()
		}
	}
}

// lastWords are the last lines that a node printed.
func (e *engine) lastWords(ctx context.Context, n *node) string {
	stream, err := e.api.ContainerLogs(ctx, n.name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "3"})
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	defer stream.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, io.LimitReader(stream, 16<<10)); err != nil {
		return "its log cannot be read: " + err.Error()
	}
	return strings.TrimSpace(text.String())
}

// wait returns the exit code of n's container once it has ended.
func (e *engine) wait(ctx context.Context, name string) (int64, error) {
	waiting := e.api.ContainerWait(ctx, name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case r := <-waiting.Result:
		if r.Error != nil {
			return 0, fmt.Errorf("wait for the end of %s: %s", name, r.Error.Message)
		}
		return r.StatusCode, nil
	case err := <-waiting.Error:
		return 0, fmt.Errorf("wait for the end of %s: %w", name, err)
	}
}

// state is what the engine says of n's container.
func (e *engine) state(ctx context.Context, n *node) (container.State, error) {
	info, err := e.api.ContainerInspect(ctx, n.name, client.ContainerInspectOptions{})
	if err != nil {
		return container.State{}, fmt.Errorf("inspect container %s: %w", n.name, err)
	}
	if info.Container.State == nil {
		return container.State{}, fmt.Errorf("inspect container %s: the engine tells no state", n.name)
	}
	return *info.Container.State, nil
}

// dataSize sums up the files on n's volume.
func (e *engine) dataSize(ctx context.Context, n *node) (int64, error) {
	copied, err := e.api.CopyFromContainer(ctx, n.name, client.CopyFromContainerOptions{SourcePath: agent.DataPath})
	if err != nil {
		return 0, fmt.Errorf("read the data of node %s: %w", n.id, err)
	}
	defer copied.Content.Close()
	size, err := sizeOfTar(copied.Content)
	if err != nil {
		return 0, fmt.Errorf("read the data of node %s: %w", n.id, err)
	}
	_, _ = io.Copy(io.Discard, copied.Content)
	return size, nil
}
