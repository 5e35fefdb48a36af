package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/internal/agent"
)

// readyPoll is how often a cluster that starts is asked whether it is ready.
const readyPoll = 20 * time.Millisecond

// Config describes a cluster in containers. Spec and RunID are required.
type Config struct {
	Spec  reference.Spec
	RunID string // unique: it names and labels whatever is created; a-z, 0-9 and -
	// LogDir gets <node>.log with what each node prints; "" keeps none.
	LogDir string
	Logger *slog.Logger // of the environment itself; nil: none
	// Program is a static Linux executable of assay for the engine's architecture. "" means the running executable, or, when that is
	// something else (a test, another system's), one built from the module's source.
	Program string
}

// Cluster implements harness.Cluster and the abilities that containers have: not power cuts, not disk faults.
type Cluster struct {
	*machine
	broker *broker
}

var (
	_ harness.Cluster      = (*Cluster)(nil)
	_ harness.Killer       = (*Cluster)(nil)
	_ harness.Wiper        = (*Cluster)(nil)
	_ harness.Pauser       = (*Cluster)(nil)
	_ harness.ClientShaper = (*Cluster)(nil)
	_ harness.Groups       = (*Cluster)(nil)
	_ harness.Promoter     = (*Cluster)(nil)
	_ harness.TopicMaker   = (*Cluster)(nil)
)

// New makes a cluster of the reference broker. Nothing is created, and the engine is not asked, before Start.
func New(cfg Config) (*Cluster, error) {
	set, err := cfg.Spec.Settings()
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &broker{spec: cfg.Spec, settings: set}
	m, err := newMachine(settings{runID: cfg.RunID, logDir: cfg.LogDir, program: cfg.Program, logger: cfg.Logger}, b)
	if err != nil {
		return nil, err
	}
	// Until the network is there, nodes have names only: enough to tell the groups.
	members, err := cfg.Spec.Members(func(i int) (kafka, peer string) {
		return addresses(string(reference.NodeName(int32(i))))
	})
	if err != nil {
		return nil, err
	}
	b.admin = &reference.Admin{Members: members, Dial: m.dial}
	return &Cluster{machine: m, broker: b}, nil
}

// addresses are those of a host's node.
func addresses(host string) (kafka, peer string) {
	return net.JoinHostPort(host, kafkaPort), net.JoinHostPort(host, peerPort)
}

// Open implements harness.Cluster. The client uses the topic that was created last.
func (c *Cluster) Open(ctx context.Context, process int) (harness.Client, error) {
	if _, err := c.use(); err != nil {
		return nil, err
	}
	return c.broker.Open(ctx, process, c.dialAs(process))
}

// CreateTopic implements harness.TopicMaker.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int) error {
	admin, _ := c.broker.look()
	if err := admin.CreateTopic(ctx, name, partitions); err != nil {
		return err
	}
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	c.broker.topic = name
	return nil
}

// Groups implements harness.Groups.
func (c *Cluster) Groups() [][]harness.NodeID {
	admin, _ := c.broker.look()
	return admin.Groups()
}

// State implements harness.Groups.
func (c *Cluster) State(ctx context.Context, n harness.NodeID) (harness.NodeState, error) {
	admin, _ := c.broker.look()
	return admin.State(ctx, n)
}

// Promote implements harness.Promoter.
func (c *Cluster) Promote(ctx context.Context, group int, n harness.NodeID, force bool) (harness.Promotion, error) {
	admin, _ := c.broker.look()
	return admin.Promote(ctx, group, n, force)
}

// broker is the reference broker as a system of nodes.
type broker struct {
	spec     reference.Spec
	settings reference.Settings

	mu    sync.Mutex // guards what follows
	admin *reference.Admin
	topic string
}

var _ system = (*broker)(nil)

func (b *broker) look() (admin *reference.Admin, topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admin, b.topic
}

// Nodes implements system.
func (b *broker) Nodes() []harness.NodeID { return b.spec.NodeNames() }

// Configs implements system.
func (b *broker) Configs(addr func(harness.NodeID) netip.Addr) (map[harness.NodeID][]byte, error) {
	at := func(i int) (kafka, peer string) { return addresses(addr(reference.NodeName(int32(i))).String()) }
	configs, err := b.spec.NodeConfigs(at)
	if err != nil {
		return nil, err
	}
	members, err := b.spec.Members(at)
	if err != nil {
		return nil, err
	}
	files := make(map[harness.NodeID][]byte)
	for _, c := range configs {
		c.Data = agent.DataPath
		id := reference.NodeName(c.ID)
		if files[id], err = yaml.Marshal(c); err != nil {
			return nil, fmt.Errorf("write the configuration of %s: %w", id, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.admin = &reference.Admin{Members: members, Dial: b.admin.Dial}
	return files, nil
}

// Ready implements system: every group has a leader that serves, and followers that have caught up.
func (b *broker) Ready(ctx context.Context, _ DialFunc) error {
	admin, _ := b.look()
	ticks := time.NewTicker(readyPoll)
	defer ticks.Stop()
	for {
		waiting := b.unready(ctx, admin)
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return errors.Join(errors.New(strings.Join(waiting, "; ")), ctx.Err())
		}
	}
}

func (b *broker) unready(ctx context.Context, admin *reference.Admin) (waiting []string) {
	nodes := b.Nodes()
	states := make([]harness.NodeState, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			var err error
			if states[i], err = admin.State(ctx, n); err != nil {
				states[i].Detail = err.Error()
			}
		})
	}
	all.Wait()
	for i, s := range states {
		if !s.Serving && !s.CaughtUp {
			waiting = append(waiting, fmt.Sprintf("%s is %q %s", nodes[i], s.Role, s.Detail))
		}
	}
	return waiting
}

// Open implements system.
func (b *broker) Open(_ context.Context, process int, dial DialFunc) (harness.Client, error) {
	admin, topic := b.look()
	client, err := reference.OpenClient(b.settings, admin.Members, masterslave.DialFunc(dial), topic)
	if err != nil {
		return nil, fmt.Errorf("client of process %d: %w", process, err)
	}
	return client, nil
}
