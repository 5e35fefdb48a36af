// Package logtarget makes the log server a target of assay, in the simulation and as processes.
package logtarget

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"

	"example.com/outside/logserver"
	"example.com/outside/register"
)

// Target is n servers without replication: partition p is on node p mod n. program is the executable
// that becomes a server with the argument "logserver"; "" is the running one.
func Target(program string) *target.Target {
	return &target.Target{
		Name: "logserver", Doc: "a small log server over TCP, one copy of everything, synced before the answer",
		Modes:   []target.Mode{{Name: "single", Doc: "no replication"}},
		Options: []harness.Option{{Name: "bug", Default: "false", Allowed: "true, false", Doc: "answer before writing"}},
		NoScans: true, Functions: []string{histories.Send, histories.Poll, histories.Final, register.Read, register.Write, register.CAS},
		New: func(c target.Config, at target.Place) (*target.System, error) {
			return newSystem(c, at, program)
		},
		// What was acknowledged is on the disk: no process that dies takes it along.
		Promise: func(target.Config) (contract.Promise, error) {
			return contract.Promise{LinearReads: func(contract.Facts) bool { return true }}, nil
		},
	}
}

// port is what a server listens on.
const port = "log"

// system is one cluster.
type system struct {
	bug     bool
	nodes   []harness.NodeID
	at      target.Place
	program string
}

func newSystem(c target.Config, at target.Place, program string) (*target.System, error) {
	if c.Nodes < 1 || c.Nodes > 9 {
		return nil, fmt.Errorf("%d nodes: want 1 to 9", c.Nodes)
	}
	s := &system{bug: c.Options["bug"] == "true", nodes: target.NodeNames(c.Nodes), at: at, program: program}
	return &target.System{
		Nodes: s.nodes, Ports: []target.Port{{Name: port, Number: 7007}}, Open: s.open,
		Sim: &target.SimNode{Start: s.startSim}, Process: s.process,
	}, nil
}

func (s *system) startSim(_ context.Context, w target.World) (target.Node, error) {
	file, err := w.FS.Open("log", true)
	if err != nil {
		return nil, err
	}
	l, err := w.Listen("tcp", s.at.Addr(w.Node, port))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	server, err := logserver.Start(file, l, s.bug)
	if err != nil {
		return nil, errors.Join(err, l.Close(), file.Close())
	}
	return simulated{server}, errors.Join(file.Sync(), w.FS.SyncDir())
}

// simulated is a server in the simulation.
type simulated struct{ *logserver.Server }

func (n simulated) Stop(context.Context) error { return n.Server.Stop() }

func (s *system) process(n harness.NodeID) (target.Process, error) {
	return target.Process{Program: s.program, Args: []string{"logserver", s.at.Addr(n, port), strconv.FormatBool(s.bug)}}, nil
}

// server returns a client of the server that has a partition.
func (s *system) server(part int32, dial target.DialFunc) (harness.NodeID, *logserver.Client) {
	n := s.nodes[int(part)%len(s.nodes)]
	return n, &logserver.Client{Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", s.at.Addr(n, port)) }}
}

func (s *system) open(_ context.Context, _ int, dial target.DialFunc) (harness.Client, error) {
	return &client{s: s, dial: dial, of: make(map[harness.NodeID]*logserver.Client)}, nil
}

// client drives the servers, for the workload log and for registers.
type client struct {
	s    *system
	dial target.DialFunc
	of   map[harness.NodeID]*logserver.Client
}

// Invoke implements harness.Client.
func (c *client) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	node, server := c.s.server(op.Part, c.dial)
	if c.of[node] == nil {
		c.of[node] = server
	}
	op.Node = string(node)
	op, err := do(ctx, c.of[node], op)
	if errors.Is(err, logserver.ErrNotSent) || errors.Is(err, logserver.ErrRefused) {
		err = fmt.Errorf("%w: %w", harness.ErrNotApplied, err)
	}
	return op, err
}

// Close implements harness.Client.
func (c *client) Close() error {
	var errs []error
	for _, server := range c.of {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}

// do asks for what an op is. A register is a partition whose last value counts.
func do(ctx context.Context, server *logserver.Client, op histories.Op) (histories.Op, error) {
	var got []int64
	var err error
	switch op.F {
	case histories.Send, register.Write:
		got, err = server.Ask(ctx, "append %d %d", op.Part, op.Value)
	case register.CAS:
		got, err = server.Ask(ctx, "cas %d %d %d", op.Part, op.From, op.Value)
	default:
		got, err = server.Ask(ctx, "read %d %d", op.Part, max(op.From, 0))
	}
	switch {
	case err != nil:
	case op.F == histories.Send:
		op.Offset = got[0]
	case op.F == register.Read:
		op.Value = got[len(got)-1] * min(got[0], 1) // 0 in an empty log
	case op.F == histories.Poll, op.F == histories.Final:
		op.HW = got[0]
		for i, v := range got[1:] {
			op.Msgs = append(op.Msgs, histories.Message{Offset: op.From + int64(i), Value: v})
		}
	}
	return op, err
}
