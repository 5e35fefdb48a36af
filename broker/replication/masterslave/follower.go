package masterslave

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-project/assay/broker/commitlog"
)

// Waits of a follower that cannot go on.
const (
	redialMin  = 50 * time.Millisecond
	redialMax  = time.Second
	refusedGap = 500 * time.Millisecond // a refused follower asks again: a promote may have changed the answer
)

// errElsewhere ends a connection to a leader that this node does not follow any more, or that does not lead.
var errElsewhere = errors.New("not the leader to follow")

// follows is the puller: it follows the leader that the epoch names, whenever that is another node.
func (r *Replica) follows() {
	backoff := redialMin
	for r.ctx.Err() == nil {
		v, changed := r.atTurn()
		leader, follow := r.leaderToFollow(v)
		if !follow {
			backoff = redialMin
			select {
			case <-changed:
			case <-r.ctx.Done():
			}
			continue
		}
		pulled, err := r.pullFrom(leader, v.Epoch)
		if pulled {
			backoff = redialMin
		}
		if r.ctx.Err() != nil {
			return
		}
		r.logger.Debug("pulling stopped", "group", r.self.Group, "leader", leader.ID, "epoch", v.Epoch, "err", err)
		if r.restOrEpoch(backoff, v.Epoch) {
			backoff = redialMin
		} else {
			backoff = min(2*backoff, redialMax)
		}
	}
}

// restOrEpoch waits until d has passed, or true: until the epoch is another one, which may have a leader that answers.
func (r *Replica) restOrEpoch(d time.Duration, epoch int32) bool {
	rest := time.NewTimer(d)
	defer rest.Stop()
	for {
		v, changed := r.atTurn()
		if v.Epoch != epoch {
			return true
		}
		select {
		case <-changed:
		case <-rest.C:
			return false
		case <-r.ctx.Done():
			return false
		}
	}
}

func (r *Replica) leaderToFollow(v view) (Member, bool) {
	if v.Epoch == 0 || !v.ready && !v.joining || v.failure != "" || v.leader == r.cfg.Node {
		return Member{}, false
	}
	return r.group[leaderOf(v.Epoch, len(r.group))], true
}

// pullFrom copies a leader's log until the connection breaks or the epoch ends. pulled says that the leader answered.
func (r *Replica) pullFrom(leader Member, epoch int32) (pulled bool, err error) {
	var follow context.Context
	notify := make(chan struct{}, 1)
	if err := r.do(r.ctx, func() { follow, r.state.notify = r.state.follow.ctx, notify }); err != nil {
		return false, err
	}
	dialCtx, cancel := context.WithTimeout(follow, callTimeout)
	conn, err := r.cfg.Dial(dialCtx, "tcp", leader.Peer)
	cancel()
	if err != nil {
		return false, err
	}
	if !r.keep(conn) {
		_ = conn.Close()
		return false, errStopped
	}
	stop := context.AfterFunc(follow, func() { _ = conn.Close() })
	p := &puller{r: r, leader: leader, epoch: epoch, follow: follow, turn: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
		conn: &patient{Conn: conn, read: pullWait + answerTimeout, write: answerTimeout}}
	p.in = bufio.NewReaderSize(p.conn, 64<<10)
	go p.tell(notify)
	err = p.loop()
	stop()
	close(p.quit)
	r.drop(conn)
	<-p.ended
	return p.pulled, err
}

// puller is one connection to a leader. Its loop sends a pull and reads the answer; a second goroutine tells flushed positions in between, so
// that neither waits for the other's news.
type puller struct {
	r       *Replica
	leader  Member
	epoch   int32
	follow  context.Context // ends with the epoch
	conn    *patient
	in      *bufio.Reader
	turn    chan struct{} // a lock of capacity 1: held while a message is written; guards told
	told    uint64        // the session that the last pull named, 0 for none
	quit    chan struct{} // closed when the loop has ended
	ended   chan struct{} // closed when the teller has ended
	session uint64
	pulled  bool
}

// tell sends flushed positions. After an error it closes the connection, which ends the loop.
func (p *puller) tell(notify <-chan struct{}) {
	defer close(p.ended)
	for {
		select {
		case <-p.quit:
			return
		case <-notify:
			if err := p.sendFlushed(); err != nil {
				_ = p.conn.Close()
				return
			}
		}
	}
}

// sendFlushed tells what is flushed at the moment at which it speaks: this log may have been truncated since it was told to speak, and what was flushed
// before says nothing of the bytes that were copied to the same place since.
func (p *puller) sendFlushed() error {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.told == 0 {
		return nil // the next pull says it
	}
	_, err := p.conn.Write(seal(appendFlushed(message(msgFlushed, 16), flushed{Session: p.told, Position: p.r.log.Flushed()})))
	return err
}

func (p *puller) sendPull(pl pull) error {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.told = pl.Session
	_, err := p.conn.Write(seal(appendPull(message(msgPull, pullBody), pl)))
	return err
}

func (p *puller) loop() error {
	pl, err := p.next(func() error { return nil })
	for err == nil {
		if err := p.sendPull(pl); err != nil {
			return err
		}
		_, body, err := readMessage(p.in, only(msgFrames, maxFramesBytes))
		if err != nil {
			return err
		}
		s, err := decodeShipment(body)
		if err != nil {
			return err
		}
		p.session = s.Session
		if pl, err = p.take(pl, s); err != nil {
			return err
		}
	}
	return err
}

// next makes the next pull after first, in one turn as the owner of the state.
func (p *puller) next(first func() error) (pl pull, err error) {
	ok := false
	if e := p.r.do(p.follow, func() {
		if err = first(); err == nil {
			pl, ok = p.r.nextPull(p.epoch, p.session)
		}
	}); e != nil {
		return pull{}, errors.Join(errElsewhere, e)
	}
	if err == nil && !ok {
		err = errElsewhere
	}
	return pl, err
}

// take acts on an answer, and returns the next pull.
func (p *puller) take(pl pull, s shipment) (pull, error) {
	switch {
	case s.Verdict == verdictEpoch:
		_ = p.r.do(p.follow, func() { p.r.hear(s.Epoch) })
		return pull{}, fmt.Errorf("%w: node %d says epoch %d", errElsewhere, p.leader.ID, s.Epoch)
	case s.Verdict == verdictBusy || s.Epoch != p.epoch:
		return pull{}, fmt.Errorf("%w: node %d is not ready", errElsewhere, p.leader.ID)
	case s.Verdict == verdictOK:
		p.pulled = true
		return p.next(func() error { return p.r.takeShipment(p.epoch, s) })
	}
	p.pulled = true
	if err := p.refusedBy(pl, s); err != nil {
		return pull{}, err
	}
	return p.next(func() error { return nil })
}

// refusedBy acts on an answer that says that the logs differ. Without an error the leader may be asked again.
func (p *puller) refusedBy(pl pull, s shipment) error {
	if pl.LastEpoch < p.epoch {
		return p.r.rejoin(p.follow, p.leader, p.epoch)
	}
	if err := p.r.do(p.follow, func() { p.r.takeRefusal(p.epoch, pl, s) }); err != nil {
		return err
	}
	return sleep(p.follow, refusedGap)
}

// nextPull says what this follower has; false when it does not follow in that epoch any more.
func (r *Replica) nextPull(epoch int32, session uint64) (pull, bool) {
	s := &r.state
	if s.meta.Epoch != epoch || s.lead != nil || s.failure != "" {
		return pull{}, false
	}
	tail := r.log.Tail()
	return pull{
		Group: r.self.Group, Node: r.cfg.Node, Config: r.config, Incarnation: r.incarnation, Session: session, Epoch: epoch, From: tail.Position,
		Chain: tail.Chain, LastEpoch: int32(tail.Epoch), Flushed: r.log.Flushed(), Joining: s.meta.Joining,
	}, true
}

// takeShipment appends what the leader sent.
func (r *Replica) takeShipment(epoch int32, sh shipment) error {
	s := &r.state
	if s.meta.Epoch != epoch || s.lead != nil || s.failure != "" {
		return errElsewhere
	}
	if s.refused != "" {
		r.logger.Info("role change: no longer refused", "group", r.self.Group, "epoch", epoch)
		s.refused = ""
	}
	if s.meta.Joining && s.joinEnd < 0 {
		s.joinEnd = sh.End
		r.logger.Info("joining", "group", r.self.Group, "epoch", epoch, "end", r.log.End(), "to", sh.End)
	}
	if len(sh.Frames) > 0 {
		if _, err := r.log.AppendRaw(sh.Frames, r.applyCopied); err != nil {
			return r.shipmentError(err)
		}
		r.flushSoon()
	}
	if sh.Serving {
		s.told = true
		s.committed = max(s.committed, min(sh.Committed, r.log.End()))
	}
	r.endJoining()
	return nil
}

func (r *Replica) applyCopied(f commitlog.Frame) error {
	if int64(f.Epoch) > int64(r.state.meta.Epoch) {
		return fmt.Errorf("the leader of epoch %d shipped a frame of epoch %d", r.state.meta.Epoch, f.Epoch)
	}
	return r.apply(f)
}

// shipmentError tells a bad shipment, which was not appended, from a disk that failed and from frames that are in the log now and mean
// nothing, which this node must not build on.
func (r *Replica) shipmentError(err error) error {
	if errors.Is(err, commitlog.ErrPosition) || errors.Is(err, commitlog.ErrChain) || errors.Is(err, commitlog.ErrInvalid) {
		r.logger.Error("frames from the leader were refused", "group", r.self.Group, "err", err)
		return err
	}
	what := "apply"
	if errors.Is(err, commitlog.ErrFailed) {
		what = "append"
	}
	r.fail(what, err)
	return err
}

// takeRefusal notes that this log and the leader's are two histories of one epoch. Nothing is overwritten: an operator decides.
func (r *Replica) takeRefusal(epoch int32, p pull, sh shipment) {
	s := &r.state
	if s.meta.Epoch != epoch {
		return
	}
	reason := fmt.Sprintf("diverged: this log and the leader's differ before position %d", p.From)
	if sh.Verdict == verdictAhead {
		reason = fmt.Sprintf("ahead: this log ends at %d, the leader's ended at %d", p.From, sh.End)
	}
	if s.refused == "" {
		s.refused = reason
		r.logger.Error("refused by the leader: two histories were written in one epoch; a promote decides which one stays",
			"group", r.self.Group, "epoch", epoch, "reason", reason)
	}
}
