package docker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/agent"
)

func TestRulebook(t *testing.T) {
	addr := func(n harness.NodeID) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n[1] - '0'}) }
	one, two := addr("n1"), addr("n2")
	slow := nodeTo("n1", "n2")
	slow.DelayMin, slow.DelayMax = time.Millisecond, 2*time.Millisecond
	lossy := nodeTo("n1", "n2")
	lossy.Loss = 0.5
	cut := nodeTo("n1", "n2")
	cut.Drop = true
	client := harness.Rule{From: harness.Endpoint{Process: 1}, To: harness.Endpoint{Node: "n2"}, Drop: true}
	for name, tc := range map[string]struct {
		rule     harness.Rule
		frozen   harness.NodeID
		sender   []agent.Rule
		receiver []agent.Rule
	}{
		"the receiver drops": {cut, "", []agent.Rule{}, []agent.Rule{{ID: "s1", Dir: agent.In, Peer: one, Drop: true}}},
		"the receiver loses": {lossy, "", []agent.Rule{}, []agent.Rule{{ID: "s1", Dir: agent.In, Peer: one, Loss: 0.5}}},
		"the sender delays": {slow, "", []agent.Rule{{ID: "s1", Dir: agent.Out, Peer: two, DelayMin: slow.DelayMin, DelayMax: slow.DelayMax}},
			[]agent.Rule{}},
		"a frozen receiver is helped": {cut, "n2", []agent.Rule{{ID: "s1", Dir: agent.Out, Peer: two, Drop: true}},
			[]agent.Rule{{ID: "s1", Dir: agent.In, Peer: one, Drop: true}}},
		"a frozen sender is not": {cut, "n1", []agent.Rule{}, []agent.Rule{{ID: "s1", Dir: agent.In, Peer: one, Drop: true}}},
		"clients are not ours":   {client, "", []agent.Rule{}, []agent.Rule{}},
	} {
		t.Run(name, func(t *testing.T) {
			var b rulebook
			s := b.add([]harness.Rule{tc.rule}, map[harness.NodeID]bool{tc.frozen: true})
			require.Equal(t, tc.sender, b.of("n1", addr).Rules)
			require.Equal(t, tc.receiver, b.of("n2", addr).Rules)
			require.Empty(t, b.of("n3", addr).Rules)
			require.True(t, b.any())
			b.remove(s)
			require.False(t, b.any())
			require.Empty(t, b.of("n1", addr).Rules)
		})
	}
}

// TestCountsOfEndedShapes: a report that another shape's end caused still counts, until the effect has been told.
func TestCountsOfEndedShapes(t *testing.T) {
	var b rulebook
	s := b.add(nil, nil)
	b.remove(s)
	b.count(agent.Report{Counts: map[string]agent.Counts{s.id: {Dropped: 3, Delayed: 2}, "s99": {Dropped: 1}}})
	b.count(agent.Report{Counts: map[string]agent.Counts{s.id: {Dropped: 4}}})
	dropped, delayed := b.effect(s)
	require.Equal(t, int64(7), dropped)
	require.Equal(t, int64(2), delayed)
}

func TestFreeSubnets(t *testing.T) {
	require.Equal(t, "10.176.0.0/24", subnet(0).String())
	require.Equal(t, "10.191.255.0/24", subnet(numSubnets-1).String())
	require.Equal(t, "10.176.0.10", hostIn(subnet(0), firstHost).String())
	require.True(t, overlaps(subnet(0), []netip.Prefix{{}, netip.PrefixFrom(hostIn(subnet(0), 7), 32)}))
	require.False(t, overlaps(subnet(0), []netip.Prefix{subnet(1)}))
	require.True(t, isLocal(netip.AddrFrom4([4]byte{127, 0, 0, 1})))
	require.False(t, isLocal(hostIn(subnet(0), 251)))
}
