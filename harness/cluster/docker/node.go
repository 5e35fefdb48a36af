package docker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
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

// node is one container with its volume. Fields after turn belong to whoever holds it; what is
// before down never changes.
type node struct {
	id     harness.NodeID
	name   string // of the container
	volume string
	host   int // the last byte of its address
	logs   follower

	down atomic.Pointer[end] // nil: it is up, as far as is known; read without turn

	turn  chan struct{} // a lock of size 1 that can be waited for with a context: operations on one container are serial
	setup setup
	// containerID is the engine's name of the container, which a wipe replaces.
	containerID string
	paused      int       // how many pauses hold it
	frozen      time.Time // since when, when paused
	applied     []byte    // the rules in force inside, encoded; nil: none
	stored      []byte    // the file of rules in the container, which are in force from its next start on; nil: none
}

// end is how a node came to be down.
type end struct {
	why      string
	byItself bool // the environment did not end it
}

func newNode(runID string, id harness.NodeID, host int) *node {
	name := "assay-" + runID + "-" + string(id)
	n := &node{id: id, name: name, volume: name, host: host, turn: make(chan struct{}, 1)}
	n.ended("it has not been started")
	return n
}

// ended records that the environment ended the node.
func (n *node) ended(why string) { n.down.Store(&end{why: why}) }

// endedByItself records what the engine says of a container that the environment did not end,
// unless the node was known to be down.
func (n *node) endedByItself(s container.State) {
	n.down.CompareAndSwap(nil, &end{why: fmt.Sprintf("it ended by itself with exit code %d", s.ExitCode), byItself: true})
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

// create makes n's container and volume; nothing runs yet. The creation itself is not cut short by
// ctx, so that after a stop nobody creates anything that Stop could not see.
func (c *Cluster) create(ctx context.Context, e *engine, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	created, err := e.provider.CreateContainer(step, c.request(n))
	if err != nil {
		return fmt.Errorf("create container %s: %w", n.name, err)
	}
	n.containerID, n.stored = created.GetContainerID(), nil
	return nil
}

// request describes n's container to testcontainers.
func (c *Cluster) request(n *node) testcontainers.ContainerRequest {
	marks := labels(c.runID, map[string]string{LabelNode: string(n.id)})
	c.mu.Lock()
	direct := c.direct
	c.mu.Unlock()
	var ports []string
	if !direct {
		for _, p := range c.sys.Ports {
			ports = append(ports, strconv.Itoa(p.Number)+"/tcp")
		}
	}
	var mounts []mount.Mount
	if n.setup.data != "" {
		mounts = []mount.Mount{{
			Type: mount.TypeVolume, Source: n.volume, Target: n.setup.data, VolumeOptions: &mount.VolumeOptions{Labels: marks},
		}}
	}
	var host *container.HostConfig // that the container gets
	return testcontainers.ContainerRequest{
		Image: n.setup.image, Name: n.name, Labels: marks, ExposedPorts: ports, Cmd: n.setup.args, Env: n.setup.env,
		Networks:       []string{c.network()},
		ConfigModifier: func(cfg *container.Config) { cfg.Hostname = string(n.id) },
		HostConfigModifier: func(h *container.HostConfig) {
			h.NetworkMode = container.NetworkMode(c.network())
			h.CapAdd = []string{"NET_ADMIN"}
			h.LogConfig = container.LogConfig{Type: "json-file"}
			h.Mounts = mounts
			host = h
		},
		EndpointSettingsModifier: func(nets map[string]*network.EndpointSettings) {
			for _, s := range nets {
				s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: c.address(n.id)}
			}
		},
		LifecycleHooks: []testcontainers.ContainerLifecycleHooks{{PreCreates: []testcontainers.ContainerRequestHook{
			func(context.Context, testcontainers.ContainerRequest) error {
				if direct { // asked for no port, testcontainers publishes those that the image exposes
					host.PortBindings = nil
				}
				return nil
			},
		}}},
	}
}

// boot starts n's container with the rules that are active, and follows its log.
func (c *Cluster) boot(ctx context.Context, e *engine, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	set := c.rules.of(n.id, c.address)
	rules, err := set.Encode()
	if err != nil {
		return fmt.Errorf("write down the active rules: %w", err)
	}
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	// What the agent was told in the meantime died with the process: only the file counts.
	if !bytes.Equal(rules, n.stored) && (n.stored != nil || len(set.Rules) > 0) {
		archive, err := tarOf(tarFile{agent.RulesPath[1:], 0o644, rules})
		if err != nil {
			return err
		}
		_, err = e.api.CopyToContainer(step, n.name, client.CopyToContainerOptions{DestinationPath: "/", Content: archive})
		if err != nil {
			return fmt.Errorf("hand node %s the active rules: %w", n.id, err)
		}
		n.stored = rules
	}
	since := time.Now()
	if _, err := e.api.ContainerStart(step, n.name, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", n.name, err)
	}
	n.down.Store(nil)
	n.paused, n.applied = 0, rules
	if c.logDir != "" {
		n.logs.follow(e, n, c.logDir, since, c.logger)
	}
	return c.listens(ctx, e, n, since)
}

// listens returns when the node accepts connections, or has had listenTime to do so: a long
// recovery is no error. A node that ends instead is harness.ErrNodeExited. since is when it was
// started.
func (c *Cluster) listens(ctx context.Context, e *engine, n *node, since time.Time) error {
	limited, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	exited := make(chan string, 1) // how it ended; "" when it did not
	go func() {
		how := ""
		if code, err := e.wait(limited, n.name); err == nil {
			how = fmt.Sprintf("with exit code %d: %s", code, e.lastWords(ctx, n, since))
			cancel() // nobody answers any more
		}
		exited <- how
	}()
	address := c.addr(n.id, c.sys.Ports[0].Name)
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := c.dial(limited, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-retry.C:
		case <-limited.Done():
			if how := <-exited; how != "" {
				n.down.Store(&end{why: "it ended by itself " + how, byItself: true})
				return fmt.Errorf("node %s: %w %s", n.id, harness.ErrNodeExited, how)
			}
			return ctx.Err()
		}
	}
}

// lastWords are the last lines that a node printed from since on.
func (e *engine) lastWords(ctx context.Context, n *node, since time.Time) string {
	stream, err := e.api.ContainerLogs(ctx, n.name, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: "3", Since: unixNano(since),
	})
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

// diskSize is how many bytes a node has on its disk: on its volume, or, where it has none, in what
// its container changed. The agent's files in the container are not the node's.
func (e *engine) diskSize(ctx context.Context, n *node) (int64, error) {
	if n.setup.data == "" {
		info, err := e.api.ContainerInspect(ctx, n.name, client.ContainerInspectOptions{Size: true})
		if err != nil {
			return 0, fmt.Errorf("ask for the size of container %s: %w", n.name, err)
		}
		if info.Container.SizeRw == nil {
			return 0, fmt.Errorf("ask for the size of container %s: the engine tells none", n.name)
		}
		return max(0, *info.Container.SizeRw-n.setup.files-int64(len(n.stored))), nil
	}
	copied, err := e.api.CopyFromContainer(ctx, n.name, client.CopyFromContainerOptions{SourcePath: n.setup.data})
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
