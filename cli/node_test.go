package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/internal/bench"
)

// writeConfig writes the configuration of a cluster of one node and returns the file and the node's
// peer address.
func writeConfig(t *testing.T) (file, peer string) {
	t.Helper()
	addrs, err := bench.FreeAddresses(2)
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

// TestNodeRefuses: what a node cannot start with is one line on standard error that names it, and
// exit code 1.
func TestNodeRefuses(t *testing.T) {
	good, _ := writeConfig(t)
	text, err := os.ReadFile(good)
	require.NoError(t, err)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	changed := func(from, to string) string {
		file := filepath.Join(t.TempDir(), "bad.yaml")
		bad := regexp.MustCompile(from).ReplaceAllLiteralString(string(text), to)
		require.NotEqual(t, string(text), bad)
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o644))
		return file
	}
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"no file named":         {nil, "node needs --config FILE"},
		"no such file":          {[]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, "none.yaml: no such file"},
		"a directory":           {[]string{"--config", t.TempDir()}, "is a directory"},
		"an argument":           {[]string{good}, "takes flags only"},
		"unknown key":           {[]string{"--config", changed("id: 1\n", "id: 1\nclutser: x\n")}, "bad.yaml: configuration: yaml: unmarshal errors: line 3: field clutser not found"},
		"no data directory":     {[]string{"--config", changed("data: .*", "")}, "data: a directory for the log is missing"},
		"data below a file":     {[]string{"--config", changed("data: .*", "data: "+good+"/data")}, "not a directory"},
		"address in use":        {[]string{"--config", changed("listen: .*", "listen: "+taken.Addr().String())}, "listen for clients at " + taken.Addr().String()},
		"metrics' port in use":  {[]string{"--config", changed("listen: ", "metrics: "+taken.Addr().String()+"\nlisten: ")}, "listen for metrics at " + taken.Addr().String()},
		"address of some other": {[]string{"--config", changed("listen: .*", "listen: 192.0.2.1:9092")}, "listen for clients at 192.0.2.1:9092"},
	} {
		r := runCLI(t, append([]string{"node"}, c.args...)...)
		require.Equal(t, 1, r.code, what)
		require.Empty(t, r.stdout, what)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		require.Contains(t, lines[len(lines)-1], "assay: ", what)
		require.Contains(t, lines[len(lines)-1], c.want, what)
		require.NotContains(t, r.stderr, "panic", what)
	}
}

// TestPromoteWithoutNodes: nobody answers, so nothing is safe.
func TestPromoteWithoutNodes(t *testing.T) {
	file, _ := writeConfig(t)
	r := runCLI(t, "admin", "promote", "--config", file)
	require.Equal(t, 1, r.code)
	require.NotEmpty(t, r.stderr)
}

// TestBenchShape: the object that `assay bench --json` prints has fields that scripts rely on.
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
