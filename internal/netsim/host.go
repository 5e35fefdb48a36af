package netsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Host is one incarnation of a machine, with the process on it.
//
// A dead host (Kill, PowerOff) is detached: the goroutines of its process may run on, but what they write goes nowhere, their reads and
// accepts wait until they close the connection or the listener (or a deadline ends), and their dials time out. They never see an error because of
// the death. Network.Host(name) makes its successor.
type Host struct {
	net  *Network
	name string

	// Guarded by net.mu.
	listeners map[int]*listener
	nextPort  int
	dead      bool // detached
	off       bool // dead, and the machine does not answer either
	frozen    bool
	held      int64 // segments kept back since the freeze
}

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// Listen binds address, "name:port" or ":port"; port 0 picks one. Only TCP networks are known.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	addr, err := parseAddr(network, address)
	if err != nil {
		return nil, listenError(Addr{Host: h.name}, err)
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	switch {
	case h.net.closed:
		return nil, listenError(addr, net.ErrClosed)
	case addr.Host != "" && addr.Host != h.name:
		return nil, listenError(addr, fmt.Errorf("%w: this host is %s", syscall.EADDRNOTAVAIL, h.name))
	case addr.Port == 0:
		addr.Port = h.port()
	case h.listeners[addr.Port] != nil:
		return nil, listenError(addr, syscall.EADDRINUSE)
	}
	addr.Host = h.name
	l := &listener{host: h, addr: addr, queue: make(chan *Conn, backlog), done: make(chan struct{})}
	h.listeners[addr.Port] = l
	h.net.open[l] = struct{}{}
	return l, nil
}

// Dial connects to address, "name:port". Without an answer it repeats after 1, 2, 4, ... s and gives up after 10 s or when ctx
// ends. A host without a listener, or one whose process was killed, refuses (ECONNREFUSED) after one round trip.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := parseAddr(network, address)
	if err != nil {
		return nil, dialError(to, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, dialError(to, err)
	}
	giveUp := h.net.now() + dialTimeout
	for repeat := synRTO; ; repeat *= 2 {
		if rtt, answered := h.knock(to); answered {
			if err := h.net.sleep(ctx, rtt); err != nil {
				return nil, dialError(to, err)
			}
			if c, err := h.enter(to); c != nil || err != nil {
				return c, err
			}
		}
		if err := h.net.sleep(ctx, min(repeat, giveUp-h.net.now())); err != nil {
			return nil, dialError(to, err)
		}
		if h.net.now() >= giveUp {
			return nil, dialError(to, os.ErrDeadlineExceeded)
		}
	}
}

// knock sends a connection request: how long until its answer is here, or that there will be none.
func (h *Host) knock(to Addr) (rtt time.Duration, answered bool) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.dead || h.frozen {
		return 0, false
	}
	there, lost := n.pass(n.shapers(h.name, to.Host))
	if lost != nil || n.silent(to.Host) {
		return 0, false
	}
	back, lost := n.pass(n.shapers(to.Host, h.name))
	return there + back, lost == nil
}

// enter makes the connection when the answer has arrived. Neither a connection nor an error means that there was no answer after all.
func (h *Host) enter(to Addr) (net.Conn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, dialError(to, net.ErrClosed)
	}
	if h.dead || h.frozen || n.silent(to.Host) {
		return nil, nil //nolint:nilnil // documented above
	}
	target := n.hosts[to.Host]
	if target == nil || target.listeners[to.Port] == nil {
		return nil, dialError(to, syscall.ECONNREFUSED)
	}
	l := target.listeners[to.Port]
	if len(l.queue) == cap(l.queue) {
		return nil, nil //nolint:nilnil // a full backlog does not answer
	}
	client, server := n.connect(h, target, Addr{h.name, h.port()}, to)
	select {
	case l.queue <- server:
		return client, nil
	default:
		panic("netsim: the backlog had room, and only enter fills it, under mu")
	}
}

// silent says whether a machine answers nothing at all.
func (n *Network) silent(name string) bool {
	h := n.hosts[name]
	return h != nil && (h.off || h.frozen)
}

// sleep waits, unless ctx or the network ends first.
func (n *Network) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return net.ErrClosed
	}
}

// Kill is the end of the process: its listeners vanish and its connections are reset, which the peers feel as far as links let the resets
// pass; later segments are answered with resets. The host is detached from here on.
func (h *Host) Kill() { h.die(false) }

// PowerOff is the end of the machine: nothing answers any more. Peers learn of it by their own deadlines, or by a reset when they
// send after Network.Host has made a successor. The host is detached from here on.
func (h *Host) PowerOff() { h.die(true) }

func (h *Host) die(off bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.dead {
		h.off = h.off || off
		return
	}
	h.dead, h.off, h.frozen = true, off, false
	clear(h.listeners) // they stay open for their owner, but nobody finds them
	for _, c := range h.net.sortedConns() {
		if c.host != h {
			continue
		}
		c.out.recall()
		if off {
			c.out.drop()
		} else {
			c.abort()
		}
		c.wakeAll()
	}
}

// Close kills the host's process and forgets the name, for hosts that come and go, such as clients.
func (h *Host) Close() {
	h.Kill()
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.hosts[h.name] == h {
		delete(h.net.hosts, h.name)
	}
}

// Freeze stops all traffic of the host, in and out, until thaw; what is sent meanwhile is kept and goes on then. Its timers run on. thaw
// returns how many segments were kept back. A second Freeze before the thaw does nothing, and its thaw neither.
func (h *Host) Freeze() (thaw func() int64) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.frozen || h.dead {
		return func() int64 { return 0 }
	}
	h.frozen, h.held = true, 0
	return func() int64 {
		h.net.mu.Lock()
		defer h.net.mu.Unlock()
		if h.frozen {
			h.frozen = false
			for _, c := range h.net.sortedConns() {
				if c.host == h {
					c.out.transmit()
					c.wakeAll()
				}
			}
		}
		return h.held
	}
}

// port picks a free ephemeral port. The caller holds mu.
func (h *Host) port() int {
	for {
		h.nextPort++
		if h.nextPort > 65535 {
			h.nextPort = 40001
		}
		if h.listeners[h.nextPort] == nil {
			return h.nextPort
		}
	}
}

func parseAddr(network, address string) (Addr, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return Addr{}, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Addr{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Addr{}, &net.AddrError{Err: "invalid port", Addr: address}
	}
	return Addr{host, int(p)}, nil
}

func dialError(to Addr, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer: %w", err)
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: err}
}

func listenError(at Addr, err error) error {
	return &net.OpError{Op: "listen", Net: "tcp", Addr: at, Err: err}
}
