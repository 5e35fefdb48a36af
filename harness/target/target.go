// Package target says what makes a real system one that can be tested: its modes and options, what
// it promises, how its nodes start in each environment, and how clients and an operator reach it.
// Each system is a package below this one.
//
// A target knows no environment: an environment hands it addresses and ways to dial, and starts
// what it describes. A target judges nothing.
package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
)

// Target is a system that can be tested. Name, Modes, New and Promise are required.
type Target struct {
	Name string
	Doc  string // one line
	// Modes are those of the system, the default first. A system without modes has one, whatever
	// its name.
	Modes []Mode
	// Options are the keys of --set that the system takes.
	Options []harness.Option
	// Configure checks a configuration, and returns the options in force: those given, and the
	// defaults of all others. nil: defaults are filled in, and values are checked by Option.Values
	// alone.
	Configure func(c Config) (map[string]string, error)
	// New makes the system of one cluster. at tells where its nodes are; nothing answers there yet.
	// Environments call it through System.
	New func(c Config, at Place) (*System, error)
	// Promise is what a configuration promises. c has the options in force, as a manifest keeps
	// them: `assay check` asks for it long after the run, so it must not depend on the system's own
	// code.
	Promise func(c Config) (contract.Promise, error)
	// Functions are the ops (Op.F) that its clients carry out. A workload that has others is
	// refused before the run. nil: it is not known, and nothing is refused.
	Functions []string
	// NoScans: a node cannot be asked for everything that it holds, so that there are no scans of
	// replicas.
	NoScans bool
}

// Mode is one way in which a system replicates.
type Mode struct {
	Name string
	Doc  string // one line
}

// Config is one configuration of a target, in the words of the command line.
type Config struct {
	Mode  string
	Nodes int
	// Options are as given with --set for Configure, where one that is left out has its default,
	// and those in force for New and Promise.
	Options map[string]string
}

// CheckMode says which modes there are, if the target does not have the one of a name; nil if it
// has.
func (t *Target) CheckMode(name string) error {
	names := make([]string, len(t.Modes))
	for i, m := range t.Modes {
		if names[i] = m.Name; m.Name == name {
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q of target %s (want %s)", name, t.Name, strings.Join(names, " or "))
}

// Effective checks a configuration, and returns the options in force.
func (t *Target) Effective(c Config) (map[string]string, error) {
	if err := t.CheckMode(c.Mode); err != nil {
		return nil, err
	}
	if t.Configure != nil {
		return t.Configure(c)
	}
	options := make(map[string]string)
	for _, o := range t.Options {
		if o.In(c.Mode) {
			options[o.Name] = o.Default
		}
	}
	for k, v := range c.Options {
		i := slices.IndexFunc(t.Options, func(o harness.Option) bool { return o.Name == k && o.In(c.Mode) })
		if i < 0 {
			return nil, fmt.Errorf("target %s has no option %q in mode %s", t.Name, k, c.Mode)
		}
		if err := t.Options[i].Check(v); err != nil {
			return nil, err
		}
		options[k] = v
	}
	return options, nil
}

// Check says what a target lacks that it needs; nil when it is complete.
func (t *Target) Check() error {
	switch {
	case t.Name == "":
		return errors.New("it has no name")
	case len(t.Modes) == 0:
		return errors.New("it has no modes: it needs at least one")
	case t.New == nil || t.Promise == nil:
		return errors.New("it needs both New and Promise")
	}
	for i, m := range t.Modes {
		if m.Name == "" || slices.ContainsFunc(t.Modes[:i], func(other Mode) bool { return other.Name == m.Name }) {
			return fmt.Errorf("its mode %q has no name, or that of another one", m.Name)
		}
	}
	return nil
}

// System makes the system of one cluster, by New. It is what environments call: it refuses a system
// that none of them can use.
func (t *Target) System(c Config, at Place) (*System, error) {
	if t == nil || t.New == nil {
		return nil, errors.New("a cluster needs a target with New")
	}
	s, err := t.New(c, at)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return s, nil
}

// check says what a system lacks that every environment needs.
func (s *System) check() error {
	switch {
	case s == nil:
		return errors.New("its New returned nothing")
	case len(s.Nodes) == 0:
		return errors.New("it has no nodes")
	case len(s.Ports) == 0:
		return errors.New("it names no port, so that nobody can tell when a node is up")
	case s.Open == nil:
		return errors.New("it opens no clients")
	}
	for i, id := range s.Nodes {
		if slices.Contains(s.Nodes[:i], id) {
			return fmt.Errorf("two nodes have the name %q", id)
		}
	}
	for i, p := range s.Ports {
		if p.Number < 1 || p.Number > 65535 {
			return fmt.Errorf("port %q has the number %d (want 1 to 65535)", p.Name, p.Number)
		}
		if slices.ContainsFunc(s.Ports[:i], func(other Port) bool { return other.Name == p.Name || other.Number == p.Number }) {
			return fmt.Errorf("two ports have the name %q or the number %d", p.Name, p.Number)
		}
	}
	return nil
}

// DialFunc opens connections to nodes by the addresses that Place gives.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Place tells where the nodes of a cluster are. Its functions may be called at any time, from
// several goroutines.
type Place struct {
	// Addr is the address (host:port) of one of a node's ports. Before the environment has started,
	// it may be one that leads nowhere.
	Addr func(n harness.NodeID, port string) string
	// Dial connects from the operator's machine, whose links no fault touches.
	Dial DialFunc
}

// Port is something that every node listens on.
type Port struct {
	Name   string
	Number int // where every node has an address of its own
}

// System is one cluster of a target, as environments and engine see it. Nodes, Ports and Open are
// required, and one of Sim, Process and Container.
type System struct {
	Nodes []harness.NodeID // in order
	Ports []Port           // a node is up when it accepts connections on the first
	// Open returns the client of a process. All its connections come from dial; it does not wait
	// for a node.
	Open func(ctx context.Context, process int, dial DialFunc) (harness.Client, error)
	// Ready says why the cluster cannot be used yet; it is asked again and again after the start.
	// nil: it can be as soon as every node is up.
	Ready func(ctx context.Context) error
	// Operator has the abilities that an operator has in this mode: a value that implements any of
	// harness.Groups, Promoter and TopicMaker. nil: none.
	Operator any

	Sim       *SimNode                                  // nil: not in a simulation
	Process   func(n harness.NodeID) (Process, error)   // nil: not as a process on this machine
	Container func(n harness.NodeID) (Container, error) // nil: not in a container
}

// Await returns when the system is ready. It asks every poll.
func (s *System) Await(ctx context.Context, poll time.Duration) error {
	if s.Ready == nil {
		return nil
	}
	ticks := time.NewTicker(poll)
	defer ticks.Stop()
	for {
		err := s.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not ready: %w: %w", err, ctx.Err())
		}
	}
}

// NodeName is the name of the i-th node, from 1: n1, n2, ...
func NodeName(i int) harness.NodeID { return harness.NodeID(fmt.Sprintf("n%d", i)) }

// NodeNames are the names of n nodes.
func NodeNames(n int) []harness.NodeID {
	names := make([]harness.NodeID, n)
	for i := range names {
		names[i] = NodeName(i + 1)
	}
	return names
}
