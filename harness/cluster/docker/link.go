package docker

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
)

// retransmit is how much later a lost message comes: the least time after which Linux's TCP sends again (TCP_RTO_MIN).
const retransmit = 200 * time.Millisecond

// link is the path between a client process and a node.
type link struct {
	process int
	node    harness.NodeID
}

// links holds the rules between clients and nodes. All clients share the host's address, so that no firewall could tell them apart:
// their connections obey the rules themselves. TCP repeats what a split swallows, so a split holds data back until it is healed, or
// until the connection is closed: then it was never sent. The end of a connection does cross a split.
type links struct {
	mu      sync.Mutex // guards all; held for field access only
	rules   map[string][]harness.Rule
	held    map[string]int64 // messages held back, by shape
	changed chan struct{}    // closed, and replaced, when rules change
	closed  bool
}

func newLinks() *links {
	return &links{rules: make(map[string][]harness.Rule), held: make(map[string]int64), changed: make(chan struct{})}
}

// add makes those of a shape's rules active that concern clients.
func (l *links) add(shape string, rules []harness.Rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rules {
		if r.From.Node == "" || r.To.Node == "" {
			l.rules[shape] = append(l.rules[shape], r)
		}
	}
	l.wake()
}

// remove ends a shape's rules and says how many messages they held back.
func (l *links) remove(shape string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[shape]
	delete(l.rules, shape)
	delete(l.held, shape)
	l.wake()
	return held
}

// close fails everything that waits.
func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

// wake makes whoever waits look again. The caller holds mu.
func (l *links) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// transit is one message on its way. The zero transit has just set out.
type transit struct {
	counted bool
	due     time.Time // zero until its delay has been drawn
}

// look says how a message fares in one direction of a link now: blocked until changed is closed, or due at t.due.
func (l *links) look(k link, toNode bool, t *transit) (blocked bool, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, nil, net.ErrClosed
	}
	var wait time.Duration
	for shape, rules := range l.rules {
		for _, r := range rules {
			if !concerns(r, k, toNode) {
				continue
			}
			late := r.DelayMin + time.Duration(rand.Int64N(int64(r.DelayMax-r.DelayMin)+1))
			if r.Loss > 0 && rand.Float64() < r.Loss {
				late += retransmit
			}
			blocked = blocked || r.Drop
			wait += late
			if !t.counted && (r.Drop || late > 0) {
				l.held[shape]++
			}
		}
	}
	if blocked {
		t.counted = true
	} else if t.due.IsZero() {
		t.counted = true
		t.due = time.Now().Add(wait)
	}
	return blocked, l.changed, nil
}

// concerns says whether a rule is about this direction of this link.
func concerns(r harness.Rule, k link, toNode bool) bool {
	client, node := r.To, r.From
	if toNode {
		client, node = r.From, r.To
	}
	return client.Node == "" && client.Process == k.process && node.Node == k.node
}

// patience is what ends the wait of a message. A nil channel never does.
type patience struct {
	closed <-chan struct{} // by its connection: net.ErrClosed
	late   <-chan struct{}
	why    error // for late
}

// pass returns when a message has crossed the link in one direction, or why it did not.
func (l *links) pass(k link, toNode bool, t *transit, p patience) error {
	for {
		blocked, changed, err := l.look(k, toNode, t)
		if err != nil {
			return err
		}
		var due <-chan time.Time
		if !blocked {
			wait := time.Until(t.due)
			if wait <= 0 {
				return nil
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			due, changed = timer.C, nil
		}
		select {
		case <-changed: // look again
		case <-due:
			return nil
		case <-p.closed:
			return net.ErrClosed
		case <-p.late:
			return p.why
		}
	}
}

// dial opens a connection over a link: the request crosses it, and so does the answer.
func (l *links) dial(ctx context.Context, k link, open func(context.Context) (net.Conn, error)) (net.Conn, error) {
	p := patience{late: ctx.Done(), why: context.DeadlineExceeded}
	var request, answer transit
	if err := l.pass(k, true, &request, p); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.Join(err, ctx.Err())}
	}
	inner, err := open(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.pass(k, false, &answer, p); err != nil {
		_ = inner.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.Join(err, ctx.Err())}
	}
	return newShaped(inner, l, k), nil
}

// shaped is a connection that obeys the rules of its link. What arrives at once is delayed once, in whatever pieces it is read.
type shaped struct {
	net.Conn
	links  *links
	link   link
	closed chan struct{}
	once   sync.Once // closes closed

	readBy, writeBy *deadline
	reading         chan struct{} // a lock of size 1: whoever reads owns what follows
	buffer          []byte
	rest            []byte // of buffer: arrived, not yet read
	way             transit
	writing         chan struct{} // a lock of size 1: messages are written one after the other
}

var _ net.Conn = (*shaped)(nil)

func newShaped(inner net.Conn, l *links, k link) *shaped {
	return &shaped{
		Conn: inner, links: l, link: k, closed: make(chan struct{}),
		readBy: newDeadline(), writeBy: newDeadline(),
		reading: make(chan struct{}, 1), buffer: make([]byte, 64<<10), writing: make(chan struct{}, 1),
	}
}

// Read implements net.Conn.
func (c *shaped) Read(p []byte) (int, error) {
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	if len(c.rest) == 0 {
		n, err := c.Conn.Read(c.buffer)
		if n == 0 {
			return 0, err
		}
		c.rest, c.way = c.buffer[:n], transit{} // an error comes again with the next read
	}
	if err := c.pass(false, &c.way, c.readBy); err != nil {
		return 0, err
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *shaped) Write(p []byte) (int, error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	var way transit
	if err := c.pass(true, &way, c.writeBy); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *shaped) pass(toNode bool, t *transit, d *deadline) error {
	return c.links.pass(c.link, toNode, t, patience{closed: c.closed, late: d.wait(), why: os.ErrDeadlineExceeded})
}

// Close implements net.Conn. What a split still holds back is never sent.
func (c *shaped) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *shaped) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *shaped) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *shaped) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return c.Conn.SetWriteDeadline(t)
}

// deadline is a moment that can be moved while somebody waits for it, as in net's own pipe.
type deadline struct {
	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	expired chan struct{} // closed at the deadline
}

func newDeadline() *deadline { return &deadline{expired: make(chan struct{})} }

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.expired // the timer's function is running, or has run
	}
	d.timer = nil
	select {
	case <-d.expired:
		d.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	expired := d.expired
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(expired) })
		return
	}
	close(expired)
}

// wait returns a channel that is closed at the deadline.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}
