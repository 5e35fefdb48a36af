package netsim

import (
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Addr is the address of a simulated endpoint, written "host:port". Its network is "tcp".
type Addr struct {
	Host string
	Port int
}

// Network implements net.Addr.
func (a Addr) Network() string { return "tcp" }

// String implements net.Addr.
func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Conn is one end of a connection. Several goroutines may use it, as any net.Conn.
type Conn struct {
	id            uint64
	host          *Host
	peer          *Conn
	in, out       *stream // in is peer's out
	local, remote Addr
	reader        waiter
	writer        waiter

	// Guarded by Network.mu.
	readBy, writeBy time.Time // deadlines
	closed          bool
	closedAt        time.Duration
	rst             bool // the other end is gone; it is felt here at rstAt
	rstAt           time.Duration
}

var (
	_ net.Conn = (*Conn)(nil)
	_ net.Addr = Addr{}
)

// connect makes the two ends of a connection. The caller holds n.mu.
func (n *Network) connect(client, server *Host, from, to Addr) (c, s *Conn) {
	n.lastConn += 2
	c = &Conn{id: n.lastConn, host: client, local: from, remote: to, reader: newWaiter(n), writer: newWaiter(n)}
	s = &Conn{id: n.lastConn + 1, host: server, local: to, remote: from, reader: newWaiter(n), writer: newWaiter(n)}
	c.peer, s.peer = s, c
	c.out = &stream{net: n, src: c, dst: s, rules: n.shapers(client.name, server.name)}
	s.out = &stream{net: n, src: s, dst: c, rules: n.shapers(server.name, client.name)}
	c.in, s.in = s.out, c.out
	n.conns[c] = struct{}{}
	n.conns[s] = struct{}{}
	return c, s
}

// Read implements net.Conn. On a dead host it waits for Close or the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reader.acquire()
	defer c.reader.release()
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		now := n.now()
		wakeAt := time.Duration(0)
		switch err := c.usable(c.readBy); {
		case err != nil:
			return 0, c.fail("read", err)
		case c.host.dead || c.host.frozen:
		case c.in.arrived(now) > 0:
			return c.in.take(p, now), nil
		case c.in.finSent && c.in.finAt <= now && len(c.in.marks) == 0:
			return 0, io.EOF
		case c.rst && c.rstAt <= now:
			return 0, c.fail("read", syscall.ECONNRESET)
		default:
			wakeAt = c.in.nextArrival()
			if c.rst && (wakeAt == 0 || c.rstAt < wakeAt) {
				wakeAt = c.rstAt
			}
		}
		c.reader.wait(wakeAt, c.readBy)
	}
}

// Write implements net.Conn. It waits while the window is full. What a dead host writes is swallowed.
func (c *Conn) Write(p []byte) (int, error) {
	c.writer.acquire()
	defer c.writer.release()
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	total := 0
	for {
		if err := c.usable(c.writeBy); err != nil {
			return total, c.fail("write", err)
		}
		if c.host.dead {
			return total + len(p), nil
		}
		if c.out.fin {
			return total, c.fail("write", syscall.EPIPE)
		}
		if c.rst && c.rstAt <= n.now() && !c.host.frozen {
			return total, c.fail("write", syscall.ECONNRESET)
		}
		if len(p) == 0 {
			return total, nil
		}
		if k := int(min(c.out.room(), int64(len(p)))); k > 0 {
			c.out.push(p[:k])
			c.out.transmit()
			total += k
			p = p[k:]
			continue
		}
		wakeAt := c.rstAt
		if c.host.frozen {
			wakeAt = 0
		}
		c.writer.wait(wakeAt, c.writeBy)
	}
}

// usable says why a call cannot go on: closed, or past its deadline.
func (c *Conn) usable(deadline time.Time) error {
	if c.closed || c.host.net.closed {
		return net.ErrClosed
	}
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close implements net.Conn. What was written is still delivered, followed by the end of the stream, unless something unread is thrown
// away: then the other end sees a reset, as in Linux. On a dead host nothing is sent.
func (c *Conn) Close() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed, c.closedAt = true, n.now()
	c.wakeAll()
	switch {
	case n.closed || c.host.dead:
		c.out.drop()
	case c.in.base < c.in.sent && !c.host.frozen:
		c.abort()
	default:
		c.out.fin = true
		c.out.transmit()
	}
	c.forgetIfDone()
	return nil
}

// CloseWrite ends the outgoing half: the other end reads what was written, then io.EOF.
func (c *Conn) CloseWrite() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed || n.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.out.fin = true
	c.out.transmit()
	c.writer.wake()
	return nil
}

// abort drops what was not sent and sends a reset, once: when it is lost, the other end learns when it next sends.
func (c *Conn) abort() {
	c.out.drop()
	if delay, lostBy := c.host.net.pass(c.out.rules); lostBy == nil {
		c.peer.resetAt(max(c.host.net.now()+delay, c.out.lastArrival))
	}
}

// resetAt makes c feel from at on that its peer is gone.
func (c *Conn) resetAt(at time.Duration) {
	if !c.rst || at < c.rstAt {
		c.rst, c.rstAt = true, at
		c.reader.wakeAt(at)
		c.writer.wakeAt(at)
	}
}

func (c *Conn) wakeAll() {
	c.reader.wake()
	c.writer.wake()
}

// forgetIfDone lets the network forget an end that is closed and has nothing left to send.
func (c *Conn) forgetIfDone() {
	if c.closed && !c.out.pending() {
		delete(c.host.net.conns, c)
	}
}

func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

// setDeadlines wakes a waiting call at the new deadline if that is earlier; a call that wakes at an old one looks and waits on.
func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	if read {
		c.readBy = t
		if !t.IsZero() {
			c.reader.wakeAt(t.Sub(n.start))
		}
	}
	if write {
		c.writeBy = t
		if !t.IsZero() {
			c.writer.wakeAt(t.Sub(n.start))
		}
	}
	return nil
}
