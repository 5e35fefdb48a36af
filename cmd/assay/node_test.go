package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/broker/replication/masterslave"
)

// writeConfig writes the configuration of a cluster of one node and returns the file and the node's peer address.
func writeConfig(t *testing.T) (file, peer string) {
	t.Helper()
	addrs, err := freeAddresses(2)
	require.NoError(t, err)
	dir := t.TempDir()
	file = filepath.Join(dir, "n1.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
id: 1
data: %q
listen: %q
peer: %q
nodes: [{id: 1, kafka: %q, peer: %q}]
`, filepath.Join(dir, "data"), addrs[0], addrs[1], addrs[0], addrs[1]), 0o644))
	return file, addrs[1]
}

// TestNode: a node runs until it is told to stop, and an operator can promote it meanwhile.
func TestNode(t *testing.T) {
	file, peer := writeConfig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan result, 1)
	go func() { ended <- runCLIContext(ctx, "node", "--config", file) }()
	var d net.Dialer
	require.Eventually(t, func() bool {
		s, err := masterslave.QueryStatus(t.Context(), d.DialContext, peer)
		return err == nil && s.Role == masterslave.RoleLeader
	}, 20*time.Second, 10*time.Millisecond)

	r := runCLI(t, "admin", "promote", "--config", file)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "node 1 leads group 0 in epoch 2 (safe)")
	r = runCLI(t, "admin", "promote", "--config", file, "--group", "1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "group 1 has no nodes")
	second := runCLI(t, "node", "--config", file)
	require.Equal(t, 1, second.code)
	require.Contains(t, second.stderr, "is in use by another process")

	cancel()
	r = <-ended
	require.Zero(t, r.code, r.stderr)
	first, _, _ := strings.Cut(r.stderr, "\n")
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(first), &line), "logs are JSON lines: %s", first)
	require.Contains(t, line, "msg")
}

// TestPromoteWithoutNodes: nobody answers, so nothing is safe.
func TestPromoteWithoutNodes(t *testing.T) {
	file, _ := writeConfig(t)
	r := runCLI(t, "admin", "promote", "--config", file)
	require.Equal(t, 1, r.code)
	require.NotEmpty(t, r.stderr)
}

// TestBenchShape: the object of DESIGN section 7.
func TestBenchShape(t *testing.T) {
	r := runCLI(t, "bench", "broker", "--flush", "async", "--in-flight", "2", "--time", "300ms", "--dir", t.TempDir(), "--json")
	require.Zero(t, r.code, r.stderr)
	var got struct {
		Bench string
		Rows  []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got), r.stdout)
	require.Equal(t, "broker", got.Bench)
	require.Len(t, got.Rows, 1)
	require.ElementsMatch(t, []string{"mode", "flush", "in_flight", "records_per_request", "msgs_per_s", "p50_us", "p99_us", "floor_msgs_per_s", "ratio"}, keys(got.Rows[0]))
	require.Positive(t, got.Rows[0]["msgs_per_s"])
}
