package reference

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
)

const (
	stateTimeout   = 2 * time.Second // of a status query; a node on a slow link (100 ms each way, dial and answer) needs 0.4 s
	promoteTimeout = 2 * time.Second // of each request of a promote, to all nodes at once
)

// Admin asks nodes what an operator asks them, from a machine that Dial starts from. It keeps no
// connections and may be used by several goroutines.
type Admin struct {
	// Members are all nodes, in order, with their addresses as they are at the moment: in
	// containers they are known only after the start.
	Members func() []masterslave.Member
	Dial    masterslave.DialFunc
}

var (
	_ harness.Groups   = (*Admin)(nil)
	_ harness.Promoter = (*Admin)(nil)
)

// Groups implements harness.Groups.
func (a *Admin) Groups() [][]harness.NodeID {
	var out [][]harness.NodeID
	for _, m := range a.Members() {
		for int(m.Group) >= len(out) {
			out = append(out, nil)
		}
		out[m.Group] = append(out[m.Group], NodeName(m.ID))
	}
	return out
}

func (a *Admin) member(n harness.NodeID) (masterslave.Member, error) {
	for _, m := range a.Members() {
		if NodeName(m.ID) == n {
			return m, nil
		}
	}
	return masterslave.Member{}, fmt.Errorf("there is no node %q; there are n1 to n%d", n, len(a.Members()))
}

// State implements harness.Groups: a node is in one group only. Whether a follower has caught up is
// decided by its leader's word, not by its own: a follower that is cut off does not know what it
// lacks.
func (a *Admin) State(ctx context.Context, _ int, n harness.NodeID) (harness.NodeState, error) {
	m, err := a.member(n)
	if err != nil {
		return harness.NodeState{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	s, err := masterslave.QueryStatus(ctx, a.Dial, m.Peer)
	if err != nil {
		return harness.NodeState{Node: n, Group: int(m.Group), Detail: err.Error()}, nil //nolint:nilerr // unreachable is a state
	}
	state := harness.NodeState{
		Node:      n,
		Group:     int(m.Group),
		Up:        true,
		Role:      string(s.Role),
		Epoch:     int64(s.Epoch),
		End:       s.End,
		Committed: s.Committed,
		Serving:   s.Role == masterslave.RoleLeader && s.Serving,
		Refused:   s.Refused,
		Detail:    s.Failed,
	}
	if s.Role == masterslave.RoleFollower {
		a.compare(ctx, &state, s)
	}
	return state, nil
}

// compare holds a follower against its leader.
func (a *Admin) compare(ctx context.Context, state *harness.NodeState, s masterslave.Status) {
	leader, err := a.member(NodeName(s.Leader))
	if err != nil {
		state.Detail = "follows nobody"
		return
	}
	l, err := masterslave.QueryStatus(ctx, a.Dial, leader.Peer)
	switch {
	case err != nil:
		state.Detail = fmt.Sprintf("its leader %s does not answer: %v", NodeName(s.Leader), err)
	case l.Role != masterslave.RoleLeader || l.Epoch != s.Epoch:
		state.Detail = fmt.Sprintf("its leader %s is %s in epoch %d", NodeName(s.Leader), l.Role, l.Epoch)
	case !matched(l, s.Node):
		state.Detail = fmt.Sprintf("its leader %s has not heard from it", NodeName(s.Leader))
	case s.End < l.Committed:
		state.Detail = fmt.Sprintf("it has %d of the %d committed bytes", s.End, l.Committed)
	default:
		state.CaughtUp = true
	}
}

// matched says whether the leader knows that the node's log is a prefix of its own.
func matched(leader masterslave.Status, node int32) bool {
	for _, f := range leader.Followers {
		if f.Node == node {
			return f.Matched
		}
	}
	return false
}

// Promote implements harness.Promoter. With a single copy an unsafe promote is ErrNeverSafe as
// well: every node's answer is needed then, and whoever asks while one is missing has lost that
// node.
func (a *Admin) Promote(ctx context.Context, group int, n harness.NodeID, force bool) (harness.Promotion, error) {
	req := masterslave.PromoteRequest{Group: int32(group), Force: force}
	if n != "" {
		m, err := a.member(n)
		if err != nil {
			return harness.Promotion{}, err
		}
		req.Node = m.ID
	}
	res, err := masterslave.Promote(ctx, req, a.Members(), a.Dial, masterslave.WithRequestTimeout(promoteTimeout))
	p := harness.Promotion{Group: group, Leader: NodeName(res.Leader), Epoch: int64(res.Epoch), Safe: res.Safe, Forced: res.Forced}
	switch {
	case errors.Is(err, masterslave.ErrUnsafe) && a.singleCopy(ctx, group):
		return p, &unsafePromote{err, []error{harness.ErrUnsafePromote, harness.ErrNeverSafe, err}}
	case errors.Is(err, masterslave.ErrUnsafe):
		return p, &unsafePromote{err, []error{harness.ErrUnsafePromote, err}}
	}
	return p, err
}

// unsafePromote is the broker's refusal, in its words, in the harness's classes.
type unsafePromote struct {
	err error
	is  []error
}

func (u *unsafePromote) Error() string { return strings.TrimPrefix(u.err.Error(), "masterslave: ") }

func (u *unsafePromote) Unwrap() []error { return u.is }

// singleCopy says whether a node of the group that answers acknowledges with its own copy only.
func (a *Admin) singleCopy(ctx context.Context, group int) bool {
	for _, m := range a.Members() {
		if int(m.Group) != group {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, stateTimeout)
		s, err := masterslave.QueryStatus(ctx, a.Dial, m.Peer)
		cancel()
		if err == nil {
			return s.Copies == 1
		}
	}
	return false
}
