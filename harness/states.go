package harness

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// stateTimeout bounds the question for one node's state.
const stateTimeout = 3 * time.Second

// States asks nodes of a group all at once, and returns their states in the same order. A node that
// does not answer within 3 s is a state with Up false.
func States(ctx context.Context, g Groups, group int, nodes []NodeID) ([]NodeState, error) {
	states := make([]NodeState, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			sctx, cancel := context.WithTimeout(ctx, stateTimeout)
			defer cancel()
			defer Guard("asking a node", &errs[i])
			states[i], errs[i] = g.State(sctx, group, n)
			if errs[i] != nil && sctx.Err() != nil {
				states[i], errs[i] = NodeState{Detail: errs[i].Error()}, nil
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("asking %s for its state: %w", nodes[i], err)
		}
		states[i].Node, states[i].Group = nodes[i], group
	}
	return states, nil
}

// LeaderOf returns the leader among the states of one group: of several that say they lead, the one
// of the greatest epoch.
func LeaderOf(states []NodeState) (NodeState, bool) {
	var lead NodeState
	found := false
	for _, s := range states {
		if s.Up && s.Role == RoleLeader && (!found || s.Epoch > lead.Epoch) {
			lead, found = s, true
		}
	}
	return lead, found
}

// Roles that a NodeState may have; a system may have others.
const (
	RoleLeader   = "leader"
	RoleFollower = "follower"
	RoleJoining  = "joining" // has an empty or incomplete log, and does not count yet
	RoleRefused  = "refused" // its leader refuses it
	RoleFailed   = "failed"  // its disk failed, so that it writes no more
)
