// Where nodes are: which loopback address and port each has for its life, and how clients reach it.

package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

const (
	// dialTime bounds an attempt to connect.
	dialTime = 5 * time.Second
	// Ports are drawn from here where a node cannot have the one that it asks for. They lie below
	// those that systems give to outgoing connections, one of which might otherwise have a node's
	// port while the node is down.
	lowPort, highPort = 10000, 32000
	portTries         = 200
)

// errPortTaken is returned (wrapped) when another process listens on a port of a node.
var errPortTaken = errors.New("another process uses a port of it")

// endpoint is the address of one port of one node, host:port.
type endpoint = string

// table is where the nodes are. It does not change.
type table struct {
	of map[harness.NodeID][]endpoint // in the order of the system's ports
	at map[endpoint]*node
}

func newTable(nodes []*node, chosen [][]endpoint) *table {
	t := &table{of: make(map[harness.NodeID][]endpoint), at: make(map[endpoint]*node)}
	for i, n := range nodes {
		t.of[n.id] = chosen[i]
		for _, e := range chosen[i] {
			t.at[e] = n
		}
	}
	return t
}

// draw chooses an address for each port of each node that nobody listens on. Where nodes can have
// addresses of their own (Linux), they keep the ports' own numbers, unless somebody listens on such
// a port of all addresses.
func draw(nodes int, ports []target.Port) ([][]endpoint, error) {
	var held []net.Listener // until all are chosen, so that none is chosen twice
	defer func() {
		for _, l := range held {
			_ = l.Close() // nothing came in that could be lost
		}
	}()
	hosts, own := loopback(nodes)
	all := make([][]endpoint, nodes)
	for i, host := range hosts {
		for _, p := range ports {
			preferred := 0
			if own {
				preferred = p.Number
			}
			l, err := listenOn(host, preferred)
			if err != nil {
				return nil, err
			}
			held = append(held, l)
			all[i] = append(all[i], l.Addr().String())
		}
	}
	return all, nil
}

// shared is one address for all nodes.
func shared(nodes int) []string { return slices.Repeat([]string{"127.0.0.1"}, nodes) }

// listenOn listens on the preferred port of a host, 0 for none, or on one drawn at random: which
// one matters to nothing that is tested.
func listenOn(host string, preferred int) (net.Listener, error) {
	var err error
	for try := range portTries {
		port := preferred
		if try > 0 || port == 0 {
			port = lowPort + rand.IntN(highPort-lowPort)
		}
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) { // EACCES: only root has ports below 1024
			return nil, err
		}
	}
	return nil, fmt.Errorf("every one of %d ports of %s is taken: %w", portTries, host, err)
}

// taken says which port of a node somebody listens on; nil when all are free.
func taken(endpoints []endpoint) error {
	for _, e := range endpoints {
		l, err := net.Listen("tcp", e)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: %s", errPortTaken, e)
		}
		if err != nil {
			return fmt.Errorf("try the address %s: %w", e, err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("try the address %s: %w", e, err)
		}
	}
	return nil
}

// saysTaken reports whether a node's last words are that an address is in use. Whoever used it may
// be gone since.
func saysTaken(words string) bool {
	return strings.Contains(strings.ToLower(words), syscall.EADDRINUSE.Error())
}

// addr implements target.Place. Before Start it is the node's name with the port's own number,
// which leads nowhere.
func (c *Cluster) addr(id harness.NodeID, port string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.ports, func(p target.Port) bool { return p.Name == port })
	switch {
	case i < 0: // the target asks before it has said what ports there are
		return net.JoinHostPort(string(id), port)
	case c.at == nil || len(c.at.of[id]) == 0:
		return net.JoinHostPort(string(id), strconv.Itoa(c.ports[i].Number))
	}
	return c.at.of[id][i]
}

// endpoints are a node's addresses.
func (c *Cluster) endpoints(n *node) []endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.of[n.id]
}

// dial implements target.Place and is what clients connect with. A node that is known to be down
// refuses at once: its port may be somebody else's by now.
func (c *Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := c.started(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	n := c.at.at[address]
	c.mu.Unlock()
	if n == nil {
		return nil, fmt.Errorf("no node has the address %q", address)
	}
	if s := n.status(); s.down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("node %s is %s: %w", n.id, s.why, syscall.ECONNREFUSED)}
	}
	d := net.Dialer{Timeout: dialTime}
	return d.DialContext(ctx, network, address)
}
