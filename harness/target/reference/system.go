package reference

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/assay-project/assay/broker/node"
	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// Ports of a node.
const (
	portKafka = "kafka"
	portPeer  = "peer"
)

// Where things are in a node's container.
const (
	containerProgram = "/assay"
	containerConfig  = "/etc/assay/node.yaml"
	containerData    = "/data"
)

// logSuffix ends the names of the files that hold a node's log.
const logSuffix = ".seg"

// system is one cluster of the reference broker.
type system struct {
	spec     Spec
	settings Settings
	at       target.Place
	admin    *Admin

	mu    sync.Mutex // guards topic; held for its access only
	topic string     // that was created last: clients write and read it
}

// operator is what an operator can do in master-slave mode: nobody is elected, so a node has to be
// promoted.
type operator struct {
	*Admin
	system *system
}

var (
	_ harness.Groups     = operator{}
	_ harness.Promoter   = operator{}
	_ harness.TopicMaker = operator{}
)

// CreateTopic implements harness.TopicMaker. Clients that are opened afterwards write and read the
// topic.
func (o operator) CreateTopic(ctx context.Context, name string, partitions int) error {
	if err := o.Admin.CreateTopic(ctx, name, partitions); err != nil {
		return err
	}
	o.system.mu.Lock()
	defer o.system.mu.Unlock()
	o.system.topic = name
	return nil
}

// newSystem makes a cluster.
func newSystem(c target.Config, at target.Place) (*target.System, error) {
	spec := inForce(c)
	settings, err := spec.Settings()
	if err != nil {
		return nil, err
	}
	s := &system{spec: spec, settings: settings, at: at}
	s.admin = &Admin{Members: s.members, Dial: at.Dial}
	return &target.System{
		Nodes:     target.NodeNames(c.Nodes),
		Ports:     []target.Port{{Name: portKafka, Number: 9092}, {Name: portPeer, Number: 9093}},
		Open:      s.open,
		Ready:     s.ready,
		Operator:  operator{s.admin, s},
		Sim:       &target.SimNode{Start: s.startSim, Log: func(file string) bool { return strings.HasSuffix(file, logSuffix) }},
		Process:   s.process,
		Container: s.container,
	}, nil
}

// members are the nodes with their addresses as they are now.
func (s *system) members() []masterslave.Member { return s.settings.members(s.at.Addr) }

// config is the configuration of one node, without a data directory.
func (s *system) config(n harness.NodeID) (node.Config, error) {
	for _, c := range s.spec.nodeConfigs(s.members()) {
		if NodeName(c.ID) == n {
			return c, nil
		}
	}
	return node.Config{}, fmt.Errorf("there is no node %q", n)
}

// open returns the client of a process, which writes and reads the topic that was created last.
func (s *system) open(_ context.Context, process int, dial target.DialFunc) (harness.Client, error) {
	s.mu.Lock()
	topic := s.topic
	s.mu.Unlock()
	var seeds []string
	for _, m := range s.members() {
		seeds = append(seeds, m.Kafka)
	}
	c, err := NewClient(ClientConfig{Dial: dial, Seeds: seeds, Topic: topic, Options: s.settings.Client})
	if err != nil {
		return nil, fmt.Errorf("client of process %d: %w", process, err)
	}
	return c, nil
}

// ready says which nodes are not yet what they should be after a start: every group has a leader
// that serves, and followers that have caught up.
func (s *system) ready(ctx context.Context) error {
	var waiting []string
	for group, members := range s.admin.Groups() {
		states, err := harness.States(ctx, s.admin, group, members)
		if err != nil {
			return err
		}
		for _, state := range states {
			if !state.Serving && !state.CaughtUp {
				waiting = append(waiting, fmt.Sprintf("%s is %q %s", state.Node, state.Role, state.Detail))
			}
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return errors.New(strings.Join(waiting, "; "))
}

// simNode is a node within a simulation.
type simNode struct{ *node.Node }

// Failure implements target.Node.
func (n simNode) Failure() string { return "its disk has failed: " + n.Status().Failed }

func (s *system) startSim(ctx context.Context, w target.World) (target.Node, error) {
	cfg, err := s.config(w.Node)
	if err != nil {
		return nil, err
	}
	n, err := node.New(cfg, node.Env{FS: w.FS, Listen: w.Listen, Dial: w.Dial, Rand: w.Rand, Logger: w.Logger})
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	return simNode{n}, nil
}

func (s *system) process(n harness.NodeID) (target.Process, error) {
	const file, data = "node.yaml", "data"
	b, err := s.file(n, data)
	if err != nil {
		return target.Process{}, err
	}
	return target.Process{Args: []string{"node", "--config", file}, Files: map[string][]byte{file: b}}, nil
}

func (s *system) container(n harness.NodeID) (target.Container, error) {
	b, err := s.file(n, containerData)
	if err != nil {
		return target.Container{}, err
	}
	return target.Container{
		Command: []string{containerProgram, "node", "--config", containerConfig}, Files: map[string][]byte{containerConfig: b}, Data: containerData,
	}, nil
}

// file is a node's configuration file.
func (s *system) file(n harness.NodeID, data string) ([]byte, error) {
	cfg, err := s.config(n)
	if err != nil {
		return nil, err
	}
	cfg.Data = data
	b, err := yaml.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", n, err)
	}
	return b, nil
}
