package masterslave

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// Bounds of the connections that a node takes: so many of each node of its group (one to pull, some to ask, those that are closing), and so
// many of administrators.
const (
	connsPerPeer = 8
	adminConns   = 64
)

// maxPeerConns bounds the connections that peers and administrators may have open.
func (r *Replica) maxPeerConns() int { return connsPerPeer*len(r.group) + adminConns }

// servePeers accepts peer connections until the listener is closed.
func (r *Replica) servePeers(l net.Listener) {
	most := r.maxPeerConns()
	slots := make(chan struct{}, most)
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		if r.ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			r.logger.Warn("peer listener: accept failed", "err", err)
			if sleep(r.ctx, pause) != nil {
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		select {
		case slots <- struct{}{}:
		default:
			r.logger.Warn("peer connection closed: too many are open", "from", conn.RemoteAddr().String(), "most", most)
			_ = conn.Close()
			continue
		}
		if !r.keep(conn) {
			_ = conn.Close()
			return
		}
		r.goes(func() {
			defer func() { <-slots }()
			defer r.drop(conn)
			if err := r.servePeer(conn); err != nil && r.ctx.Err() == nil && errors.Is(err, errWire) {
				r.logger.Warn("peer connection closed", "from", conn.RemoteAddr().String(), "err", err)
			}
		})
	}
}

// peerConn is an accepted connection. One goroutine reads it and answers control requests; the first pull starts a second one, which answers
// pulls, since those wait while flushed positions go on coming in.
type peerConn struct {
	r     *Replica
	conn  *patient
	in    *bufio.Reader
	node  int32         // the reader's: the follower that pulls here, 0 for none yet
	held  atomic.Uint64 // its session, 0 for none yet; set by the shipper
	pulls chan pull     // to the shipper, has room for one; nil before the first pull; closed by the reader
	ended chan struct{} // closed when the shipper has ended
}

// servePeer serves a connection until it ends or breaks the protocol.
func (r *Replica) servePeer(conn net.Conn) error {
	c := &peerConn{r: r, conn: &patient{Conn: conn, read: idleTimeout, write: answerTimeout}}
	c.in = bufio.NewReader(c.conn)
	defer c.leave()
	for {
		typ, body, err := readMessage(c.in, func(typ byte) int {
			switch typ {
			case msgRequest:
				return maxControlBytes
			case msgPull, msgFlushed:
				return maxPullBytes
			}
			return 0
		})
		if err != nil {
			return err
		}
		switch typ {
		case msgRequest:
			err = c.control(body)
		case msgPull:
			err = c.takePull(body)
		case msgFlushed:
			err = c.takeFlushed(body)
		}
		if err != nil {
			return err
		}
	}
}

// leave forgets what the follower that pulled here had: it begins anew on its next connection.
func (c *peerConn) leave() {
	if c.pulls == nil {
		return
	}
	_ = c.conn.Close()
	close(c.pulls)
	<-c.ended
	if held := c.held.Load(); held != 0 {
		_ = c.r.do(c.r.ctx, func() { c.r.takeLeave(c.node, held) }) // an error means that the replica stops
	}
}

func (c *peerConn) control(body []byte) error {
	var req request
	if err := decodeJSON(body, &req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.ctx, c.r.controlLimit())
	defer cancel()
	return writeJSON(c.conn, msgResponse, c.r.answer(ctx, req))
}

// controlLimit is the longest that a control request may take here: a topic operation waits for its commit.
func (r *Replica) controlLimit() time.Duration { return r.opts.Timeout + controlTimeout }

// answer carries out a control request.
func (r *Replica) answer(ctx context.Context, req request) response {
	if req.Op != opStatus && req.Group != r.self.Group {
		return response{Error: fmt.Sprintf("node %d is in group %d, not in %d", r.cfg.Node, r.self.Group, req.Group)}
	}
	if slices.Contains([]string{opRecord, opLead, opMatch, opHolds}, req.Op) && !slices.Equal(req.Members, r.ids) {
		return response{Error: fmt.Sprintf("node %d lists the nodes of group %d as %v, and the sender as %v: an epoch would name another leader; configure all alike",
			r.cfg.Node, r.self.Group, r.ids, req.Members)}
	}
	switch req.Op {
	case opStatus:
		st := r.Status()
		return response{Status: &st}
	case opRecord:
		return r.change(ctx, func() error { return r.adopt(req.Epoch) })
	case opLead:
		return r.change(ctx, func() error { return r.takeLead(req.Epoch, req.Incarnation) })
	case opMatch, opHolds:
		v := r.seen()
		if !v.Leading && req.Op == opMatch || v.Epoch != req.Epoch || len(req.Boundaries) > maxBoundaries {
			return response{Error: fmt.Sprintf("node %d does not lead epoch %d", r.cfg.Node, req.Epoch)}
		}
		i, err := r.takeMatch(req.Boundaries)
		if err != nil {
			r.logger.Error("a follower's log cannot be compared with this node's", "err", err)
			return response{Error: err.Error()}
		}
		return response{Match: i}
	case opCreate, opDelete, opFind:
		return r.answerTopic(ctx, req)
	default:
		return response{Error: fmt.Sprintf("unknown operation %q", req.Op)}
	}
}

// change carries out a change of role, and answers with the status as of after it.
func (r *Replica) change(ctx context.Context, f func() error) (resp response) {
	err := r.do(ctx, func() {
		err := f()
		r.publish()
		st := r.Status()
		resp.Status = &st
		if err != nil {
			resp.Error, resp.Refused = err.Error(), errors.Is(err, errRecorded)
		}
	})
	if err != nil {
		return response{Error: err.Error()}
	}
	return resp
}

// takePull hands a pull to the shipper.
func (c *peerConn) takePull(body []byte) error {
	p, err := decodePull(body)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(c.r.group, func(m Member) bool { return m.ID == p.Node })
	if p.Group != c.r.self.Group || p.Node == c.r.cfg.Node || !known || c.node != 0 && c.node != p.Node {
		return fmt.Errorf("%w: pull of node %d, group %d", errWire, p.Node, p.Group)
	}
	if p.Config != c.r.config {
		return fmt.Errorf("%w: node %d pulls, and has another cluster name, list of nodes, or number of groups or copies: configure all alike", errWire, p.Node)
	}
	if c.pulls == nil {
		c.node, c.pulls, c.ended = p.Node, make(chan pull, 1), make(chan struct{})
		go c.shipper()
	}
	select {
	case c.pulls <- p:
		return nil
	default:
		return fmt.Errorf("%w: node %d pulls before its last pull was answered", errWire, p.Node)
	}
}

// shipper answers pulls, one after the other. After an error it closes the connection, which ends the reader.
func (c *peerConn) shipper() {
	defer close(c.ended)
	for p := range c.pulls {
		if err := c.answer(p); err != nil {
			_ = c.conn.Close()
			c.r.logger.Debug("shipping stopped", "to", p.Node, "err", err)
			for range c.pulls { // until the reader has seen the end
			}
			return
		}
	}
}

// answer serves one pull: it waits for something new, for a while.
func (c *peerConn) answer(p pull) error {
	var s shipment
	var stale bool
	held := c.held.Load()
	m := c.r.match(c.r.seen(), p)
	if err := c.r.do(c.r.ctx, func() { s, stale = c.r.takePull(p, m, held) }); err != nil {
		return err
	}
	if stale {
		return fmt.Errorf("node %d has a newer connection", p.Node)
	}
	if s.Session != 0 {
		c.held.Store(s.Session)
	}
	if s.Verdict == verdictOK {
		var err error
		if s, err = c.ship(p, s, held == 0); err != nil {
			return err
		}
	}
	head := appendShipmentHead(message(msgFrames, shipmentHead+len(s.Frames)), s)
	_, err := c.conn.Write(seal(append(head, s.Frames...)))
	return err
}

// ship waits until there are frames to send, or something to tell, and completes the answer.
func (c *peerConn) ship(p pull, s shipment, first bool) (shipment, error) {
	wait := time.NewTimer(pullWait)
	defer wait.Stop()
	for waiting := !first; ; {
		v, changed := c.r.atProgress()
		told := !c.r.opts.FollowerRead || v.Committed == s.Committed && v.Readable == s.Serving
		if v.shippable <= p.From && v.Epoch == p.Epoch && v.Leading && told && waiting {
			select {
			case <-changed:
			case <-wait.C:
				waiting = false
			case <-c.r.ctx.Done():
				return s, errStopped
			}
			continue
		}
		if v.shippable > p.From && v.Epoch == p.Epoch && v.Leading {
			raw, _, err := c.r.log.ReadRaw(p.From, v.shippable, maxShipBytes)
			if err != nil {
				return s, fmt.Errorf("read the log for node %d: %w", p.Node, err)
			}
			s.Frames = raw
		}
		// A leader does not truncate in its epoch: if that is still the same, what was read is its log.
		v = c.r.seen()
		if v.Epoch != p.Epoch || !v.Leading {
			return shipment{Verdict: verdictEpoch, Epoch: v.Epoch}, nil
		}
		s.End, s.Committed, s.Serving = v.End, v.Committed, v.Readable
		return s, nil
	}
}

// takeFlushed counts a flush. The session may have been replaced by the leader meanwhile: then it does not count.
func (c *peerConn) takeFlushed(body []byte) error {
	f, err := decodeFlushed(body)
	if err != nil {
		return err
	}
	if c.node == 0 || f.Session == 0 || f.Session != c.held.Load() {
		return fmt.Errorf("%w: a flushed position without a pull before it", errWire)
	}
	return c.r.do(c.r.ctx, func() { c.r.takeFlushed(c.node, f) })
}
