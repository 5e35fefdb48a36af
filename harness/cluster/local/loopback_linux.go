// Loopback addresses on Linux.

package local

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// loopback returns a loopback address for each node, and whether they are the nodes' own:
// 127.x.y.1, 127.x.y.2, ... with x and y drawn for the cluster, since the whole of 127.0.0.0/8 is
// this machine. Not 127.0, where other programs listen.
func loopback(nodes int) (hosts []string, own bool) {
	if nodes > 254 {
		return shared(nodes), false
	}
	x, y := 1+rand.IntN(254), rand.IntN(256)
	for i := range nodes {
		hosts = append(hosts, fmt.Sprintf("127.%d.%d.%d", x, y, i+1))
	}
	l, err := net.Listen("tcp", net.JoinHostPort(hosts[0], "0"))
	if err != nil { // a sandbox may have 127.0.0.1 only
		return shared(nodes), false
	}
	_ = l.Close() // nothing came in that could be lost
	return hosts, true
}
