package nemesis_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
)

// links are the directed links that a fault touches, by their ends.
type links map[[2]string]harness.Rule

func end(e harness.Endpoint) string {
	if e.Node != "" {
		return string(e.Node)
	}
	return fmt.Sprintf("client %d", e.Process)
}

// shaped injects a fault into a cluster of so many nodes, with client processes 4 and 5, and
// returns the links that it touches.
func shaped(t *testing.T, fault string, nodes int, pick uint64) (got links, struck []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, nodes)
		s := strike(fault, time.Second, 2*time.Second)
		s.Pick = pick
		h, err := stage(t.Context(), t, c, s)
		require.NoError(t, err)
		got = make(links)
		for _, r := range c.Rules() {
			k := [2]string{end(r.From), end(r.To)}
			require.NotContains(t, got, k, "a link is shaped once")
			got[k] = r
		}
		struck = strikesOf(h)[0].Nodes
	})
	return got, struck
}

func (l links) both(a, b string) bool {
	_, there := l[[2]string{a, b}]
	_, back := l[[2]string{b, a}]
	return there && back
}

func name(i int) string { return fmt.Sprintf("n%d", i) }

func TestHalves(t *testing.T) {
	for pick := range uint64(20) {
		got, struck := shaped(t, "partition:leader/halves", 5, pick)
		require.Len(t, struck, 2, "the smaller half")
		require.Contains(t, struck, "n1", "with the leader")
		require.Len(t, got, 2*2*3)
		in := map[string]bool{struck[0]: true, struck[1]: true}
		for i := 1; i <= 5; i++ {
			for j := i + 1; j <= 5; j++ {
				require.Equal(t, in[name(i)] != in[name(j)], got.both(name(i), name(j)))
			}
		}
	}
	got, struck := shaped(t, "partition", 2, 1)
	require.Len(t, struck, 1)
	require.True(t, got.both("n1", "n2"))
	_, struck = shaped(t, "partition:all", 5, 1)
	require.Len(t, struck, 2, "all are thinned out to a half")
}

func TestAlone(t *testing.T) {
	got, struck := shaped(t, "partition:minority/alone", 5, 3)
	require.Len(t, struck, 2)
	require.Len(t, got, 2*(2*3+1))
	require.True(t, got.both(struck[0], struck[1]), "the victims are cut off from each other too")
}

func TestOneway(t *testing.T) {
	out, in := 0, 0
	for pick := range uint64(20) {
		got, _ := shaped(t, "partition:leader/oneway", 3, pick)
		require.Len(t, got, 2)
		for k := range got {
			if k[0] == "n1" {
				out++
			} else {
				require.Equal(t, "n1", k[1])
				in++
			}
		}
	}
	require.Positive(t, out)
	require.Positive(t, in)

	got, struck := shaped(t, "partition:all/oneway", 5, 1)
	require.Len(t, struck, 2, "all are thinned out to a half: a split has two sides")
	require.Len(t, got, 2*3)
}

// TestEveryPartitionCuts: whatever the role and the shape, some link between nodes is cut.
func TestEveryPartitionCuts(t *testing.T) {
	for _, role := range []string{"", ":leader", ":follower", ":minority", ":majority", ":all"} {
		for _, shape := range []string{"", "/halves", "/alone", "/oneway", "/ring"} {
			for _, clients := range []string{"", "/with-clients"} {
				got, _ := shaped(t, "partition"+role+shape+clients, 5, 7)
				between := 0
				for k := range got {
					if k[0][0] == 'n' && k[1][0] == 'n' {
						between++
					}
				}
				require.Positive(t, between, "partition%s%s%s", role, shape, clients)
			}
		}
	}
}

func TestRing(t *testing.T) {
	got, struck := shaped(t, "partition/ring", 5, 3)
	require.Len(t, struck, 5)
	require.Len(t, got, 2*5)
	require.True(t, got.both("n1", "n3"))
	require.False(t, got.both("n1", "n2"))
	require.False(t, got.both("n5", "n1"))
}

// With clients, each is on one side: it reaches somebody, and is cut off from somebody.
func TestWithClients(t *testing.T) {
	for _, shape := range []string{"partition/with-clients", "partition:leader/alone/with-clients", "partition/ring/with-clients"} {
		for pick := range uint64(10) {
			got, _ := shaped(t, shape, 5, pick)
			for _, p := range []int{4, 5, 6, 7} { // those in use, and those that replace them
				cut := 0
				for i := 1; i <= 5; i++ {
					if got.both(fmt.Sprintf("client %d", p), name(i)) {
						cut++
					}
				}
				require.Positive(t, cut, "%s %d", shape, p)
				require.Less(t, cut, 5)
			}
			for k := range got {
				require.False(t, k[0][0] == 'c' && k[1][0] == 'c', "clients have no links to each other")
			}
		}
	}
	got, _ := shaped(t, "partition", 5, 1)
	for k := range got {
		require.Equal(t, "nn", k[0][:1]+k[1][:1], "without with-clients every client reaches every node")
	}
}

func TestSlowAndLoss(t *testing.T) {
	got, _ := shaped(t, "slow:leader", 3, 1)
	require.Len(t, got, 4+2*16, "two nodes, and two clients with their successors, both ways")
	for _, r := range got {
		require.Equal(t, 20*time.Millisecond, r.DelayMin)
		require.Equal(t, 100*time.Millisecond, r.DelayMax)
		require.False(t, r.Drop)
	}
	for pick := range uint64(20) {
		got, _ = shaped(t, "loss:all", 3, pick)
		require.Len(t, got, 6+2*3*16)
		for _, r := range got {
			require.GreaterOrEqual(t, r.Loss, 0.05)
			require.LessOrEqual(t, r.Loss, 0.20)
		}
	}
}
