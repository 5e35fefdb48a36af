//go:build unix

package local

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

func TestDrawAvoidsPortsThatAreTaken(t *testing.T) {
	everywhere, err := net.Listen("tcp4", "0.0.0.0:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = everywhere.Close() })
	_, port, err := net.SplitHostPort(everywhere.Addr().String())
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	chosen, err := draw(3, []target.Port{{Name: "a", Number: number}, {Name: "b", Number: number}})
	require.NoError(t, err)
	seen := make(map[endpoint]bool)
	for _, of := range chosen {
		require.Len(t, of, 2)
		for _, e := range of {
			require.False(t, seen[e], "%s is chosen twice", e)
			seen[e] = true
			require.NoError(t, taken([]endpoint{e}))
		}
	}
	many, err := draw(300, []target.Port{{Name: "a", Number: 7471}})
	require.NoError(t, err)
	require.Len(t, many, 300)
}

// TestPortTakenBeforeTheFirstStart: another process takes a port between its choice and the start
// of the node.
func TestPortTakenBeforeTheFirstStart(t *testing.T) {
	p := newProbes(3)
	r := newRig(t, p)
	var first []endpoint
	p.change = func(n harness.NodeID, _ *target.Process, c *config) {
		if n == "n2" && first == nil {
			first = c.Listen
			hold(t, first[1])
		}
	}
	require.NoError(t, r.c.Start(t.Context()))
	for _, n := range r.c.Nodes() {
		require.Equal(t, string(n), r.ask(n, request{Op: "ping"}).Node)
	}
	require.NotEqual(t, first[0], p.addr("n2"))
}

// TestPortTakenByTheTimeTheNodeBinds: the node finds out by itself, and whoever took its port may
// be gone when somebody looks.
func TestPortTakenByTheTimeTheNodeBinds(t *testing.T) {
	p := newProbes(3)
	once := filepath.Join(t.TempDir(), "once")
	p.change = func(n harness.NodeID, _ *target.Process, c *config) {
		if n == "n2" {
			c.Once = once
		}
	}
	r := newRig(t, p)
	require.NoError(t, r.c.Start(t.Context()))
	require.FileExists(t, once)
	for _, n := range r.c.Nodes() {
		require.Equal(t, string(n), r.ask(n, request{Op: "ping"}).Node)
	}
}

func TestPortsAlwaysTaken(t *testing.T) {
	p := newProbes(2)
	r := newRig(t, p)
	tries := 0
	p.change = func(n harness.NodeID, _ *target.Process, c *config) {
		if n == "n2" {
			tries++
			hold(t, c.Listen[0])
		}
	}
	require.ErrorIs(t, r.c.Start(t.Context()), errPortTaken)
	require.Equal(t, startTries, tries)
}

// TestPortTakenWhileANodeIsDown is no fault of the node, so that it must not look like one.
func TestPortTakenWhileANodeIsDown(t *testing.T) {
	r := startRig(t, 2)
	address := r.p.addr("n1")
	r.kill("n1")
	hold(t, address)
	err := r.c.Boot(t.Context(), "n1")
	require.ErrorIs(t, err, errPortTaken)
	require.NotErrorIs(t, err, harness.ErrNodeExited)
	require.False(t, r.answers("n1"), "clients are not led to the other process")
	require.Equal(t, address, r.p.addr("n1"))
}
