package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/netsim"
)

func clientHost(process int) string { return fmt.Sprintf("c%d", process) }

// client is a process's client on a host of its own.
type client struct {
	harness.Client
	cluster *Cluster
	host    *netsim.Host
	closed  atomic.Bool
}

// Open implements harness.Cluster. A process has one client at a time.
func (c *Cluster) Open(ctx context.Context, process int) (harness.Client, error) {
	host := c.net.Host(clientHost(process))
	inner, err := c.system.Open(ctx, process, host.Dial)
	if err != nil {
		host.Close()
		return nil, err
	}
	cl := &client{Client: inner, cluster: c, host: host}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients[cl] = struct{}{}
	return cl, nil
}

// Close implements harness.Client; the process's host goes with it.
func (cl *client) Close() error {
	if cl.closed.Swap(true) {
		return nil
	}
	err := cl.Client.Close()
	cl.host.Close()
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	delete(cl.cluster.clients, cl)
	return err
}

func (c *Cluster) openClients() []*client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.clients))
}
