package netsim

import "net"

// listener implements net.Listener.
type listener struct {
	host  *Host
	addr  Addr
	queue chan *Conn    // established connections; filled under Network.mu, drained by Accept
	done  chan struct{} // closed by shut
	shutd bool          // guarded by Network.mu
}

var _ net.Listener = (*listener)(nil)

// Accept waits for a connection, or for Close.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, l.closedError()
	}
}

// Close stops listening; connections that wait for Accept are reset.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.shutd {
		return l.closedError()
	}
	if l.host.listeners[l.addr.Port] == l {
		delete(l.host.listeners, l.addr.Port)
	}
	l.shut()
	for {
		select {
		case c := <-l.queue:
			c.closed, c.closedAt = true, n.now()
			if !l.host.dead {
				c.abort()
			}
			c.forgetIfDone()
		default:
			return nil
		}
	}
}

// shut ends Accept. The caller holds Network.mu.
func (l *listener) shut() {
	if !l.shutd {
		l.shutd = true
		delete(l.host.net.open, l)
		close(l.done)
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) closedError() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}
