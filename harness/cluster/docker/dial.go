package docker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// dialTime bounds an attempt to connect.
const dialTime = 5 * time.Second

// address is a node's fixed address, invalid before the network is there.
func (c *Cluster) address(id harness.NodeID) netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addressLocked(id)
}

// addressLocked is address for those who hold mu.
func (c *Cluster) addressLocked(id harness.NodeID) netip.Addr {
	if !c.subnet.IsValid() {
		return netip.Addr{}
	}
	for _, n := range c.nodes {
		if n.id == id {
			return hostIn(c.subnet, n.host)
		}
	}
	return netip.Addr{}
}

// addr is the Addr of target.Place. Before the network is there it names the node, which is enough
// to tell roles and groups; before even the system is there, the port has a name only.
func (c *Cluster) addr(id harness.NodeID, port string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	host := string(id)
	if a := c.addressLocked(id); a.IsValid() {
		host = a.String()
	}
	if c.sys != nil {
		for _, p := range c.sys.Ports {
			if p.Name == port {
				return net.JoinHostPort(host, strconv.Itoa(p.Number))
			}
		}
	}
	return net.JoinHostPort(host, port)
}

// dial is the Dial of target.Place: it opens a connection that no rule shapes. address is one that
// addr gave.
func (c *Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	e, err := c.use()
	if err != nil {
		return nil, err
	}
	n, err := c.nodeAt(address)
	if err != nil {
		return nil, err
	}
	if n.down.Load() != nil {
		// Its address is gone with its container, and whoever calls it hears nothing at all for
		// minutes. Nodes are meant to be processes that died on machines that live, and those
		// refuse.
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("node %s is down: %w", n.id, syscall.ECONNREFUSED)}
	}
	c.mu.Lock()
	direct := c.direct
	c.mu.Unlock()
	if !direct {
		if address, err = c.mapped(ctx, e, address); err != nil {
			return nil, err
		}
	}
	d := net.Dialer{Timeout: dialTime}
	return d.DialContext(ctx, network, address)
}

// dialAs returns the dial function of a client process, whose connections its rules shape.
func (c *Cluster) dialAs(process int) target.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n, err := c.nodeAt(address)
		if err != nil {
			return nil, err
		}
		return c.links.dial(ctx, link{process: process, node: n.id}, func(ctx context.Context) (net.Conn, error) {
			return c.dial(ctx, network, address)
		})
	}
}

func (c *Cluster) nodeAt(address string) (*node, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	for _, n := range c.nodes {
		if c.address(n.id).String() == host {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node has the address %q", address)
}

// mapped is where the engine's machine publishes a node's port. It changes whenever the container
// starts.
func (c *Cluster) mapped(ctx context.Context, e *engine, address string) (string, error) {
	n, err := c.nodeAt(address)
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(address) // nodeAt has parsed it
	info, err := e.api.ContainerInspect(ctx, n.name, client.ContainerInspectOptions{})
	if err != nil {
		return "", fmt.Errorf("find the published port of %s: %w", address, err)
	}
	host := engineHost(e.api.DaemonHost())
	if info.Container.NetworkSettings != nil {
		for p, bindings := range info.Container.NetworkSettings.Ports {
			if p.Port() == port && len(bindings) > 0 {
				return net.JoinHostPort(host, bindings[0].HostPort), nil
			}
		}
	}
	return "", fmt.Errorf("%s is not published: is node %s down?", address, n.id)
}

// engineHost is the machine that publishes the ports of containers, given how its engine is
// reached. testcontainers' own answer is not asked for: where a file /.dockerenv exists it is
// another machine's.
func engineHost(daemon string) string {
	u, err := url.Parse(daemon)
	if err != nil || u.Hostname() == "" || u.Scheme == "unix" || u.Scheme == "npipe" {
		return "127.0.0.1"
	}
	return u.Hostname()
}
