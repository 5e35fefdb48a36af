package docker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

const (
	// firstHost is the last byte of the first node's address; what is below is the gateway's and
	// Docker's.
	firstHost = 10
	// maxNodes is how many nodes fit into a subnet.
	maxNodes = 254 - firstHost
	// subnetTries bounds how often another subnet is taken when somebody else took the same one
	// first.
	subnetTries = 20
)

// subnets are where runs' networks lie: 10.176.0.0 to 10.191.255.255 in pieces of 256 addresses.
// Docker's own pools lie elsewhere.
func subnet(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(176 + n/256%16), byte(n % 256), 0}), 24)
}

// numSubnets is how many subnets there are.
const numSubnets = 16 * 256

// hostIn is the address of the given number in a subnet.
func hostIn(p netip.Prefix, host int) netip.Addr {
	a := p.Addr().As4()
	a[3] = byte(host)
	return netip.AddrFrom4(a)
}

// createNetwork makes a network in a subnet that nothing on the machine uses.
func createNetwork(ctx context.Context, e *engine, name string, marks map[string]string) (id string, p netip.Prefix, err error) {
	for range subnetTries {
		p, err = freeSubnet(ctx, e)
		if err != nil {
			return "", p, err
		}
		created, err := e.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{
			Driver: "bridge", Labels: marks,
			IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: p, Gateway: hostIn(p, 1)}}},
		})
		if err == nil {
			return created.ID, p, nil
		}
		if !strings.Contains(err.Error(), "overlaps") {
			return "", p, fmt.Errorf("create network %s: %w", name, err)
		}
	}
	return "", p, fmt.Errorf("create network %s: every one of %d subnets was taken by somebody else", name, subnetTries)
}

// freeSubnet draws a subnet that overlaps with no network of the engine and no address of this
// machine.
func freeSubnet(ctx context.Context, e *engine) (netip.Prefix, error) {
	taken := localPrefixes()
	list, err := e.api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range list.Items {
		for _, c := range n.IPAM.Config {
			taken = append(taken, c.Subnet)
		}
	}
	first := rand.IntN(numSubnets) // which one matters to nothing that is tested
	for i := range numSubnets {
		p := subnet((first + i) % numSubnets)
		if !overlaps(p, taken) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("no subnet is free within 10.176.0.0/12: remove networks that are not needed (assay clean)")
}

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.IsValid() && t.Overlaps(p) {
			return true
		}
	}
	return false
}

// localPrefixes are the networks that this machine's interfaces are in.
func localPrefixes() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// isLocal says whether an interface of this machine has the address. The gateway of a bridge
// network is one where the engine runs on this machine itself, and only then do containers'
// addresses lead anywhere.
func isLocal(addr netip.Addr) bool {
	for _, p := range localPrefixes() {
		if p.Addr() == addr {
			return true
		}
	}
	return false
}
