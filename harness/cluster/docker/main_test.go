package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

// request and reply are those of testdata/node.
type request struct {
	Op      string
	Addr    string
	N       int
	Timeout time.Duration
}

type reply struct {
	Err   string
	RTT   []time.Duration
	Count map[string]int
	Size  int64
	N     int
	Boot  string
}

// program builds testdata/node once per test binary run.
func program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("assay-docker-test-%d", os.Getpid()), "node")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./testdata/node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		childMain()
		return
	}
	code := m.Run()
	_ = os.RemoveAll(filepath.Join(os.TempDir(), fmt.Sprintf("assay-docker-test-%d", os.Getpid())))
	os.Exit(code)
}

// probes is a system of testdata/node.
type probes struct {
	count int
	m     *machine
}

var _ system = (*probes)(nil)

func (p *probes) Nodes() []harness.NodeID {
	var all []harness.NodeID
	for i := range p.count {
		all = append(all, harness.NodeID("n"+strconv.Itoa(i+1)))
	}
	return all
}

func (p *probes) Configs(addr func(harness.NodeID) netip.Addr) (map[harness.NodeID][]byte, error) {
	var peers []string
	for _, n := range p.Nodes() {
		peers = append(peers, net.JoinHostPort(addr(n).String(), kafkaPort))
	}
	all := make(map[harness.NodeID][]byte)
	for i, n := range p.Nodes() {
		data, err := json.Marshal(map[string]any{"Listen": peers[i], "Peers": peers})
		if err != nil {
			return nil, err
		}
		all[n] = data
	}
	return all, nil
}

func (p *probes) Ready(ctx context.Context, admin DialFunc) error {
	for _, n := range p.Nodes() {
		if _, err := ask(ctx, admin, p.addr(n), request{Op: "ping"}); err != nil {
			return err
		}
	}
	return nil
}

func (p *probes) addr(n harness.NodeID) string {
	return net.JoinHostPort(p.m.address(n).String(), kafkaPort)
}

func (p *probes) Open(_ context.Context, process int, dial DialFunc) (harness.Client, error) {
	return probeClient{p, dial}, nil
}

// probeClient pings the node that an op names.
type probeClient struct {
	p    *probes
	dial DialFunc
}

func (c probeClient) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	_, err := ask(ctx, c.dial, c.p.addr(harness.NodeID(op.Node)), request{Op: "ping"})
	return op, err
}

func (c probeClient) Close() error { return nil }

// ask sends a request, again until the node listens or ctx is done.
func ask(ctx context.Context, dial DialFunc, addr string, q request) (reply, error) {
	for {
		r, err := askOnce(ctx, dial, addr, q)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return r, err
		}
	}
}

func askOnce(ctx context.Context, dial DialFunc, addr string, q request) (reply, error) {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return reply{}, err
		}
	}
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return reply{}, err
	}
	var r reply
	err = json.NewDecoder(conn).Decode(&r)
	return r, err
}

// rig is a running cluster of probes.
type rig struct {
	t testing.TB
	m *machine
	p *probes
}

func newRig(t testing.TB, nodes int) *rig {
	t.Helper()
	dockertest.Need(t)
	p := &probes{count: nodes}
	m, err := newMachine(settings{
		runID: fmt.Sprintf("test-%d-%d", os.Getpid(), time.Now().UnixNano()%1e9), logDir: t.TempDir(), program: program(t),
		logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}, p)
	require.NoError(t, err)
	p.m = m
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, m.Stop(ctx))
		require.Empty(t, leftovers(t, m.runID))
	})
	return &rig{t, m, p}
}

// startRig returns a cluster that serves.
func startRig(t testing.TB, nodes int) *rig {
	t.Helper()
	r := newRig(t, nodes)
	require.NoError(t, r.m.Start(t.Context()))
	return r
}

func (r *rig) addr(n harness.NodeID) string { return r.p.addr(n) }

// ask asks a node, which must answer within 10 s.
func (r *rig) ask(n harness.NodeID, q request) reply {
	r.t.Helper()
	got, err := r.tryAsk(n, q)
	require.NoError(r.t, err)
	return got
}

// tryAsk is ask for goroutines that must not end the test.
func (r *rig) tryAsk(n harness.NodeID, q request) (reply, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	return ask(ctx, r.m.dial, r.addr(n), q)
}

// reaches says whether a ping and its answer get from a node to another within 400 ms.
func (r *rig) reaches(from, to harness.NodeID) bool {
	r.t.Helper()
	got := r.ask(from, request{Op: "rtt", Addr: r.addr(to), N: 1, Timeout: 400 * time.Millisecond})
	return got.Err == ""
}

// hears says how many of 1000 datagrams get from a node to another.
func (r *rig) hears(from, to harness.NodeID) int {
	r.t.Helper()
	r.ask(to, request{Op: "heard"})
	r.ask(from, request{Op: "udp", Addr: r.addr(to), N: 1000})
	count, failed := 0, error(nil)
	require.Eventually(r.t, func() bool { // until no more come
		got, err := r.tryAsk(to, request{Op: "heard"})
		more := got.Count[r.m.address(from).String()]
		count, failed = count+more, err
		return err != nil || more == 0
	}, 10*time.Second, 100*time.Millisecond)
	require.NoError(r.t, failed)
	return count
}

// leftovers is everything with a run's label.
func leftovers(t testing.TB, runID string) []dockertest.Thing {
	t.Helper()
	return dockertest.Leftovers(t, LabelRun, runID)
}
