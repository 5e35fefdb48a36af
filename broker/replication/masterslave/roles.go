package masterslave

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-project/assay/broker/partitions"
)

// startRound bounds how long a node that has a role waits for its peers' answers before it takes the role up, and startGap is the time
// between two questions meanwhile.
const (
	startRound = 1500 * time.Millisecond
	startGap   = 100 * time.Millisecond
)

// errRecorded is returned when a higher epoch is recorded already.
var errRecorded = errors.New("a higher epoch is recorded")

// adopt records a higher epoch; the present one is recorded already. From its first line on this node acknowledges nothing older.
func (r *Replica) adopt(epoch int32) error {
	s := &r.state
	switch {
	case epoch < s.meta.Epoch:
		return fmt.Errorf("%w: %d", errRecorded, s.meta.Epoch)
	case epoch > maxEpoch:
		return fmt.Errorf("epoch %d is beyond all reason (at most %d)", epoch, maxEpoch)
	case epoch == s.meta.Epoch && s.failure != "":
		return fmt.Errorf("the disk has failed: %s", s.failure)
	case epoch == s.meta.Epoch:
		return nil
	}
	if s.lead != nil {
		r.logger.Warn("role change: stopped leading", "group", r.self.Group, "epoch", s.meta.Epoch, "new_epoch", epoch)
	}
	s.lead = nil
	s.waiting.failAll(timedOut("leadership moved"))
	s.meta.Joining = s.meta.Joining || !s.known
	s.meta.Epoch, s.meta.Leading, s.known = epoch, false, true
	s.refused, s.joinEnd, s.notify = "", -1, nil
	s.follow.cancel()
	s.follow = r.newFollow()
	r.publish()
	if s.failure != "" {
		return fmt.Errorf("the disk has failed: %s", s.failure)
	}
	if err := storeMeta(r.cfg.FS, s.meta); err != nil {
		r.fail("record an epoch", err)
		return fmt.Errorf("record epoch %d: %w", epoch, err)
	}
	r.logger.Info("epoch recorded", "group", r.self.Group, "epoch", epoch, "leader", r.leaderNode(), "end", r.log.End(),
		"last_epoch", r.log.LastEpoch(), "joining", s.meta.Joining)
	return nil
}

func (r *Replica) newFollow() followCtx {
	ctx, cancel := context.WithCancel(r.ctx)
	return followCtx{ctx: ctx, cancel: cancel}
}

// hear obeys a higher epoch that somebody else has recorded.
func (r *Replica) hear(epoch int32) {
	if epoch > r.state.meta.Epoch && epoch <= maxEpoch {
		_ = r.adopt(epoch) // a failure is noted by adopt
	}
}

// fail stops all writes for good: after a failed write or flush nobody knows what is on the disk.
func (r *Replica) fail(what string, err error) {
	s := &r.state
	if s.failure != "" {
		return
	}
	s.failure = fmt.Sprintf("%s: %v", what, err)
	s.waiting.failAll(timedOut("the disk failed before the batch was acknowledged"))
	s.follow.cancel()
	s.notify = nil
	r.logger.Error("the disk has failed: this node takes no more writes until it is restarted", "group", r.self.Group, "operation", what, "err", err)
	close(r.failed)
}

// takeLead makes this node lead its epoch, as a promoter asks for once enough nodes have recorded it.
func (r *Replica) takeLead(epoch int32, incarnation uint64) error {
	s := &r.state
	switch {
	case epoch < s.meta.Epoch:
		return fmt.Errorf("%w: %d", errRecorded, s.meta.Epoch)
	case epoch != s.meta.Epoch || r.leaderNode() != r.cfg.Node:
		return fmt.Errorf("epoch %d is not recorded here, or names another node", epoch)
	case incarnation != r.incarnation:
		return errors.New("the node was restarted since it recorded the epoch: what its log holds is to be asked again")
	case s.failure != "":
		return fmt.Errorf("the disk has failed: %s", s.failure)
	case s.lead != nil:
		return nil
	}
	// What this node said that its log holds is what the promote was decided on.
	if _, err := r.log.Flush(); err != nil {
		r.fail("flush", err)
		return fmt.Errorf("flush before leading: %w", err)
	}
	s.meta.Leading, s.meta.Joining, s.ready = true, false, true
	if err := storeMeta(r.cfg.FS, s.meta); err != nil {
		r.fail("record the leadership", err)
		return fmt.Errorf("record the leadership: %w", err)
	}
	return r.beginLead()
}

// beginLead starts serving as the leader of the recorded epoch: its first frame is flushed before anything else is accepted.
func (r *Replica) beginLead() error {
	s := &r.state
	if s.epochAt.epoch != s.meta.Epoch {
		if _, err := r.appendFrame(partitions.KindEpoch, partitions.AppendEpochPayload(nil, r.cfg.Node)); err != nil {
			return err
		}
		if _, err := r.log.Flush(); err != nil {
			r.fail("flush", err)
			return err
		}
	}
	s.lead = newLeadership(r)
	s.refused = ""
	r.logger.Info("role change: leading", "group", r.self.Group, "epoch", s.meta.Epoch, "end", r.log.End())
	r.advance(time.Now())
	return nil
}

// takeAnswer takes a peer's status; err says why there is none.
func (r *Replica) takeAnswer(m Member, st Status, err error) {
	s := &r.state
	if err == nil {
		if err = r.differs(m, st); err != nil && s.ignored[m.ID] != err.Error() {
			s.ignored[m.ID] = err.Error()
			r.logger.Error("peer ignored: the nodes' configurations differ", "peer", m.ID, "err", err)
		}
	}
	if m.Group != r.self.Group {
		if err == nil {
			r.noteOther(st)
		}
		return
	}
	if err != nil {
		return
	}
	s.heard[m.ID] = st
	r.hear(st.Epoch)
	r.endJoining()
	if !s.ready && len(s.heard) == len(r.group)-1 {
		r.finishStart()
	}
}

// noteOther remembers who leads another group: the leader of the highest epoch among the latest answers of its nodes. The latest, since a group that
// lost every disk begins with a lower epoch than it had.
func (r *Replica) noteOther(st Status) {
	s := &r.state
	s.heardOther[st.Node] = st
	now := leaderView{leader: -1}
	for _, m := range r.cfg.Members {
		if said := s.heardOther[m.ID]; m.Group == st.Group && said.Epoch > now.epoch {
			now = leaderView{epoch: said.Epoch, leader: said.Leader}
		}
	}
	if s.others[st.Group] != now {
		s.others = slices.Clone(s.others) // the old one is published
		s.others[st.Group] = now
	}
}

// finishStart ends the start round, when it can: see "Start" in docs/replication.md.
func (r *Replica) finishStart() {
	s := &r.state
	if s.ready || s.failure != "" {
		return
	}
	if !s.known {
		// An empty disk. Only when every peer has answered, and none has an epoch, is this the beginning of the group.
		if len(s.heard) < len(r.group)-1 {
			return
		}
		s.ready = true
		if r.group[0].ID != r.cfg.Node {
			return
		}
		s.known = true
		s.meta.Epoch, s.meta.Leading = firstEpoch(len(r.group)), true
		if err := storeMeta(r.cfg.FS, s.meta); err != nil {
			r.fail("record the first epoch", err)
			return
		}
		r.logger.Info("epoch recorded: the first one, every disk of the group is empty", "group", r.self.Group, "epoch", s.meta.Epoch)
	}
	s.ready = true
	if s.meta.Leading {
		_ = r.beginLead() // a failure is noted
	}
}

// endJoining ends joining when this node's log holds what its leader's did when it joined, and when it has heard from so many
// others that no promise it may have made before its disk was lost can be unknown to it: a promise binds at least n-copies other nodes, so
// copies answers contain one of them. All others is the most that can be asked.
func (r *Replica) endJoining() {
	s := &r.state
	if !s.meta.Joining || s.joinEnd < 0 || r.log.End() < s.joinEnd || s.refused != "" || s.failure != "" {
		return
	}
	counted := 0
	for _, st := range s.heard {
		if !st.Joining {
			counted++
		}
	}
	if counted < min(r.opts.Copies, len(r.group)-1) && len(s.heard) < len(r.group)-1 {
		return
	}
	if _, err := r.log.Flush(); err != nil {
		r.fail("flush", err)
		return
	}
	s.meta.Joining = false
	if err := storeMeta(r.cfg.FS, s.meta); err != nil {
		r.fail("record the end of joining", err)
		return
	}
	r.logger.Info("role change: joined", "group", r.self.Group, "epoch", s.meta.Epoch, "end", r.log.End())
}
