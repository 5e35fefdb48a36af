package masterslave

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/assay-project/assay/broker/replication"
)

// errStopped is returned for what was asked of a replica that is closing.
var errStopped = errors.New("masterslave: the node is stopping")

// run does what comes with time, and stops the replica.
func (r *Replica) run() {
	start := time.NewTimer(startRound)
	defer start.Stop()
	if len(r.group) == 1 {
		_ = r.do(r.ctx, r.finishStart) // an error means that the replica stops
	}
	for {
		select {
		case <-r.ctx.Done():
			r.owner <- struct{}{} // for good: nobody touches the state from here on
			r.state.waiting.failAll(timedOut("the node is stopping"))
			close(r.done)
			return
		case <-start.C:
			_ = r.do(r.ctx, r.finishStart)
		case <-r.sweeper.C:
			_ = r.do(r.ctx, func() {
				r.state.sweeping = false
				r.sweep(time.Now())
			})
		}
	}
}

// do executes f as the owner of the state. The error is ctx's, or errStopped; f was not executed then.
func (r *Replica) do(ctx context.Context, f func()) error {
	if err := r.own(ctx); err != nil {
		return err
	}
	defer r.disown()
	f()
	return nil
}

// own waits until nobody else owns the state. Without an error disown has to follow.
func (r *Replica) own(ctx context.Context) error {
	select {
	case r.owner <- struct{}{}: // mostly nobody else owns it: no need to be told of the end of anything
		return nil
	default:
	}
	select {
	case r.owner <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return errStopped
	}
}

// disown shows what has changed, and lets others own the state.
func (r *Replica) disown() {
	r.publish()
	if at, any := r.state.waiting.earliest(); any && !r.state.sweeping {
		r.state.sweeping = true
		r.sweeper.Reset(max(time.Until(at), time.Millisecond))
	}
	<-r.owner
}

// publish makes the state visible to others. Its caller owns it.
func (r *Replica) publish() {
	s := &r.state
	end := r.log.End()
	v := view{
		View: replication.View{
			Machine: s.machine, Epoch: s.meta.Epoch, Leading: s.lead != nil && s.failure == "", Committed: s.committed,
			Rebuilding: s.rebuild, End: end,
		},
		role: r.role(), leader: r.leaderNode(), joining: s.meta.Joining || !s.known, ready: s.ready, refused: s.refused, failure: s.failure,
	}
	if l := s.lead; l != nil {
		v.Committed = l.committed
		v.Readable = l.committed >= l.startEnd
		v.shippable = end
		if r.opts.Flush == FlushSync {
			v.shippable = r.log.Flushed()
		}
		v.Visible = l.committed
		if r.opts.VisibleAppended && s.failure == "" {
			v.Visible = r.ownCopy()
		}
		v.followers = l.statuses()
	} else {
		v.Readable = r.opts.FollowerRead && s.told && s.refused == "" && !s.meta.Joining && !s.rebuild
		v.Visible = s.committed
	}
	v.others = s.others
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.same(&r.view) {
		return
	}
	if v.View != r.view.View || v.shippable != r.view.shippable {
		r.progress.tell()
	}
	if !v.sameTurn(&r.view) {
		r.turn.tell()
	}
	r.view = v
}

// news wakes those that wait for the next change of something. Guarded by Replica.mu.
type news struct {
	next chan struct{} // closed at the change; nil while nobody waits
}

func (n *news) wait() <-chan struct{} {
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) tell() {
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

func (v *view) same(w *view) bool {
	return v.View == w.View && v.role == w.role && v.leader == w.leader && v.joining == w.joining && v.ready == w.ready &&
		v.refused == w.refused && v.failure == w.failure && v.shippable == w.shippable && slices.Equal(v.followers, w.followers) &&
		slices.Equal(v.others, w.others)
}

// sameTurn says that it is the same node's turn to lead, and this node's to follow it or not.
func (v *view) sameTurn(w *view) bool {
	return v.Epoch == w.Epoch && v.leader == w.leader && v.joining == w.joining && v.ready == w.ready && v.failure == w.failure
}

// atTurn returns the published view and a channel that is closed when another node's turn comes; see sameTurn.
func (r *Replica) atTurn() (view, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view, r.turn.wait()
}

// atProgress returns the published view and a channel that is closed when there is more to serve or to ship, or less.
func (r *Replica) atProgress() (view, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view, r.progress.wait()
}

func (r *Replica) seen() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view
}

// View implements replication.Log.
func (r *Replica) View() replication.View { return r.seen().View }

// Progress implements replication.Log.
func (r *Replica) Progress() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress.wait()
}

// leaderNode returns the node that the epoch names, -1 for none.
func (r *Replica) leaderNode() int32 {
	if r.state.meta.Epoch == 0 {
		return -1
	}
	return r.group[leaderOf(r.state.meta.Epoch, len(r.group))].ID
}

// role says what the node does; see the constants.
func (r *Replica) role() Role {
	s := &r.state
	switch {
	case s.failure != "":
		return RoleFailed
	case s.lead != nil:
		return RoleLeader
	case s.refused != "":
		return RoleRefused
	case s.meta.Joining:
		return RoleJoining
	case s.ready && s.known && r.leaderNode() != r.cfg.Node:
		return RoleFollower
	default:
		return RoleIdle
	}
}

// Status returns what the node says of itself. It does not wait for the owner of the state, who may be waiting for a disk.
func (r *Replica) Status() Status {
	v := r.seen()
	tail := r.log.Tail()
	return Status{
		Cluster: r.cfg.Cluster, Node: r.cfg.Node, Group: r.self.Group, Epoch: v.Epoch, Leader: v.leader, Role: v.role, Joining: v.joining,
		Serving: v.Readable, Ready: v.ready, Failed: v.failure, Refused: v.refused, LastEpoch: int32(tail.Epoch), End: tail.Position,
		Chain: tail.Chain, Flushed: r.log.Flushed(), Committed: v.Committed, Copies: r.opts.Copies, Members: r.ids,
		Groups: r.opts.Groups, Topics: len(v.Machine.Topics()), Incarnation: r.incarnation, Followers: v.followers, Options: r.values,
	}
}

// GroupLeader returns the node that leads a group and its epoch, as this node knows it; -1 and 0 when it does not.
func (r *Replica) GroupLeader(group int32) (leader, epoch int32) {
	v := r.seen()
	if group == r.self.Group {
		return v.leader, v.Epoch
	}
	if group < 0 || int(group) >= len(v.others) {
		return -1, 0
	}
	return v.others[group].leader, v.others[group].epoch
}

// InSync returns the leader and the followers that are copying its log, nil when this node does not lead and so cannot know.
func (r *Replica) InSync() []int32 {
	v := r.seen()
	if v.role != RoleLeader {
		return nil
	}
	in := []int32{r.cfg.Node}
	for _, f := range v.followers {
		if f.Matched && !f.Joining {
			in = append(in, f.Node)
		}
	}
	return in
}
