package masterslave

import (
	"context"
	"errors"
	"time"
)

// watchInterval is the time between two questions to a peer.
const watchInterval = 500 * time.Millisecond

// watch asks a peer how it is for as long as the replica runs.
func (r *Replica) watch(m Member) {
	var l *line
	defer func() {
		if l != nil {
			r.drop(l.conn)
		}
	}()
	for {
		st, err := r.askPeer(m, &l)
		if r.ctx.Err() != nil {
			return
		}
		_ = r.do(r.ctx, func() { r.takeAnswer(m, st, err) }) // an error means that the replica stops
		gap := watchInterval
		if !r.seen().ready {
			gap = startGap
		}
		if sleep(r.ctx, gap) != nil {
			return
		}
	}
}

// askPeer asks over the open line, and opens one when there is none.
func (r *Replica) askPeer(m Member, l **line) (Status, error) {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	if *l == nil {
		conn, err := r.cfg.Dial(ctx, "tcp", m.Peer)
		if err != nil {
			return Status{}, err
		}
		if !r.keep(conn) {
			_ = conn.Close()
			return Status{}, errStopped
		}
		*l = newLine(conn)
	}
	resp, err := (*l).call(ctx, request{Op: opStatus})
	if err == nil && resp.Status == nil {
		err = errors.New(resp.Error)
	}
	if err != nil {
		r.drop((*l).conn)
		*l = nil
		return Status{}, err
	}
	return *resp.Status, nil
}
