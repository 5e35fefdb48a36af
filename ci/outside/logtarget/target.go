// Package logtarget makes the log server a system that assay can test: all that it needs is in this
// file. Its clients know the stock workload log and the workload register of this module.
package logtarget

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"

	"example.com/outside/fault"
	"example.com/outside/logserver"
	"example.com/outside/register"
)

// Target returns the log server as a target.
func Target() *target.Target {
	return &target.Target{
		Name:  "logserver",
		Doc:   "a log server whose first node leads for ever, and copies to all others",
		Modes: []target.Mode{{Name: "copies", Doc: "every node has a copy of everything"}},
		Options: []harness.Option{
			{Name: "bug", Default: "none", Values: logserver.Bugs(), Doc: "a planted bug"},
		},
		Functions: []string{histories.Send, histories.Poll, histories.Final, histories.Scan, register.Read, register.FinalRead, register.Write, register.CAS},
		New:       newSystem,
		// What was acknowledged is on every node, and no fault excuses its loss.
		Promise: func(c target.Config) (contract.Promise, error) {
			linear := func(contract.Facts) bool { return true }
			return contract.Promise{Groups: 1, Copies: c.Nodes, LinearReads: linear}, nil
		},
	}
}

// system is one cluster.
type system struct {
	logserver.Config
	at target.Place
}

func newSystem(c target.Config, at target.Place) (*target.System, error) {
	s := &system{logserver.Config{Nodes: target.NodeNames(c.Nodes), Bug: c.Options["bug"]}, at}
	return &target.System{
		Nodes:    s.Nodes,
		Ports:    []target.Port{{Name: logserver.Port, Number: 7000}},
		Operator: s,
		Open: func(_ context.Context, _ int, dial target.DialFunc) (harness.Client, error) {
			return &client{logserver.NewClient(at.Addr, dial), s.Nodes[0]}, nil
		},
		Sim: &target.SimNode{Start: func(_ context.Context, w target.World) (target.Node, error) {
			return logserver.Start(w, s.Config)
		}},
		Process: func(n harness.NodeID) (target.Process, error) {
			program, err := os.Executable() // whose main function knows logserver.Command
			return target.Process{Program: program, Args: logserver.Args(n, s.Config, at.Addr)}, err
		},
	}, nil
}

var _ fault.Resyncable = (*system)(nil)

// Groups implements harness.Groups.
func (s *system) Groups() [][]harness.NodeID { return [][]harness.NodeID{s.Nodes} }

// State implements harness.Groups. That a node does not answer is a state, and no error.
func (s *system) State(ctx context.Context, _ int, n harness.NodeID) (harness.NodeState, error) {
	is, err := s.ask(ctx, n, "status")
	if err != nil {
		return harness.NodeState{Detail: err.Error()}, nil
	}
	state := harness.NodeState{Up: true, End: is[1], Role: harness.RoleFollower}
	if is[0] == 1 {
		state.Role, state.Serving = harness.RoleLeader, true
		return state, nil
	}
	leader, err := s.ask(ctx, s.Nodes[0], "status")
	state.CaughtUp = err == nil && state.End >= leader[1]
	return state, nil
}

// Resync implements fault.Resyncable.
func (s *system) Resync(ctx context.Context, n harness.NodeID) (dropped int64, err error) {
	answer, err := s.ask(ctx, n, "resync")
	if err != nil {
		return 0, err
	}
	return answer[0], nil
}

// ask asks a node as an operator does.
func (s *system) ask(ctx context.Context, n harness.NodeID, what string) ([]int64, error) {
	c := logserver.NewClient(s.at.Addr, s.at.Dial)
	defer c.Close()
	return c.Ask(ctx, n, what)
}

// client does the ops of one process.
type client struct {
	*logserver.Client
	leader harness.NodeID
}

// Invoke implements harness.Client.
func (c *client) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	if op.Node == "" {
		op.Node = string(c.leader)
	}
	what, args := request(&op)
	answer, err := c.Ask(ctx, harness.NodeID(op.Node), what, args...)
	switch {
	case errors.Is(err, logserver.ErrRefused):
		return op, fmt.Errorf("%w: %w", harness.ErrNotApplied, err)
	case errors.Is(err, logserver.ErrFewCopies): // there is an answer, too
		err = fmt.Errorf("%w: %w", harness.ErrWeak, err)
	case err != nil:
		return op, err // nobody knows what became of it
	}
	switch op.F {
	case histories.Send:
		op.StoredAt(answer[0])
	case histories.Poll, histories.Final, histories.Scan:
		op.HW = answer[0]
		for i, value := range answer[1:] {
			op.Msgs = append(op.Msgs, histories.Message{Offset: op.From + int64(i), Value: value})
		}
	case register.Read, register.FinalRead:
		op.Value = answer[0]
	}
	return op, err
}

// request is what the server is asked for an op.
func request(op *histories.Op) (what string, args []int64) {
	part := int64(op.Part)
	switch op.F {
	case histories.Poll, histories.Final, histories.Scan:
		return "read", []int64{part, op.From}
	case register.Read, register.FinalRead:
		return "last", []int64{part}
	case register.CAS:
		return "swap", []int64{part, op.From, op.Value}
	}
	return "append", append([]int64{part}, op.Sent()...)
}
