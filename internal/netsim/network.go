// Package netsim is a network in memory for one simulated cluster: hosts with names, listeners, dials and connections with TCP's
// behaviour as an application sees it, over links that can be cut, made lossy or slow, one direction at a time.
//
// It is made for testing/synctest bubbles: it takes time from package time, has no goroutine of its own and holds its lock for
// in-memory work only, so virtual time never stands still because of it. It works outside a bubble just as well.
//
// What is modelled: random delay per segment; order within a connection; loss as TCP shows it, a wait of 200 ms, doubling up to 5 s,
// until the retransmission passes, so that a lossy link is slow, a cut one stalls, and either goes on after it is healed; a window of
// 1 MiB per direction, counted until the receiver has read and its acknowledgement passes; half-close; resets; refused and unanswered dials; hosts that are killed,
// lose power or are frozen.
//
// What is not: bandwidth and congestion, and reordering of packets. TCP hides the order of packets from applications, so reordering
// could only show as delay; use a wide range of delays. A connection never times out by itself: endpoints use deadlines.
package netsim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	defaultMinDelay = 50 * time.Microsecond
	defaultMaxDelay = 300 * time.Microsecond

	window     = 1 << 20  // bytes of one direction that are written but not read and acknowledged
	maxSegment = 64 << 10 // bytes that are lost or delayed as one

	minRTO      = 200 * time.Millisecond // first retransmission, as in Linux
	maxRTO      = 5 * time.Second        // below Linux's 120 s: a healed link is used again after at most this
	orphanLimit = 60 * time.Second       // a closed connection gives up delivering its last bytes after this

	synRTO      = time.Second // first repeat of an unanswered dial; doubles
	dialTimeout = 10 * time.Second
	backlog     = 1024 // connections of a listener that wait for Accept
)

// Config sets the network's delay: each segment travels for a random time in [MinDelay, MaxDelay]. Both zero means 50 to 300 us.
type Config struct {
	MinDelay, MaxDelay time.Duration
}

// Network connects hosts. Its methods may be called from any goroutine.
type Network struct {
	start time.Time
	done  chan struct{} // closed by Close

	mu       sync.Mutex // guards everything below, and the state of all hosts, connections and listeners
	rng      *rand.Rand
	min, max time.Duration
	hosts    map[string]*Host // the present incarnation of each name
	conns    map[*Conn]struct{}
	open     map[*listener]struct{} // not closed yet, those of dead hosts included
	sets     []*ruleSet             // active rules, oldest first
	lastConn uint64
	closed   bool
}

// New makes a network whose delays and losses are drawn from seed. Inside a bubble it belongs to that bubble.
func New(seed uint64, cfg Config) *Network {
	if cfg.MinDelay == 0 && cfg.MaxDelay == 0 {
		cfg.MinDelay, cfg.MaxDelay = defaultMinDelay, defaultMaxDelay
	}
	lo := max(0, cfg.MinDelay)
	return &Network{
		start: time.Now(),
		done:  make(chan struct{}),
		rng:   rand.New(rand.NewPCG(seed, 0x6e657473696d)),
		min:   lo,
		max:   max(lo, cfg.MaxDelay),
		hosts: make(map[string]*Host),
		conns: make(map[*Conn]struct{}),
		open:  make(map[*listener]struct{}),
	}
}

// Host returns the host of that name: the present one, or a fresh incarnation when there is none or the last one was killed, lost
// power or was closed. A fresh incarnation is switched on, has no listeners, and answers what is sent to its predecessor's connections with a reset.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && !h.dead {
		return h
	}
	h := &Host{net: n, name: name, nextPort: 40000, listeners: make(map[int]*listener)}
	n.hosts[name] = h
	return h
}

// Close ends the network: every blocked call on it returns net.ErrClosed (wrapped), and no timer of it stays armed.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.closed = true
	close(n.done)
	for _, c := range n.sortedConns() {
		c.out.drop()
		c.in.drop()
		c.wakeAll()
	}
	for l := range n.open {
		l.shut()
	}
	clear(n.conns)
}

// now is the time since the network was made.
func (n *Network) now() time.Duration { return time.Since(n.start) }

// sortedConns returns the live connections in the order in which they were made, so that random draws do not depend on map order.
func (n *Network) sortedConns() []*Conn {
	out := make([]*Conn, 0, len(n.conns))
	for c := range n.conns {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
	return out
}

// between draws a duration in [lo, hi].
func (n *Network) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(n.rng.Int64N(int64(hi-lo)+1))
}
