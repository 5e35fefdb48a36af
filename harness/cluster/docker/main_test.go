package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/docker/testdata/probe"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

type (
	request = probe.Request
	reply   = probe.Reply
)

const (
	probePort   = "probe"
	sparePort   = "spare" // nobody listens
	probeConfig = "/etc/probe/config.json"
	probeData   = "/data"
)

// tempDir is where the test binary keeps what it builds.
func tempDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("assay-docker-test-%d", os.Getpid()))
}

// nodeProgram builds testdata/node, which stands in for assay, once per test binary run.
func nodeProgram(t testing.TB) string { return built(t, "node") }

// built builds a command of testdata once per test binary run.
func built(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(tempDir(), name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./testdata/"+name)
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
	_ = os.RemoveAll(tempDir())
	os.Exit(code)
}

// probes are a target whose nodes are testdata/probe. The zero value runs in the image that holds
// our program alone.
type probes struct {
	operator any
	data     string // directory of their files; "": probeData
	// container, if not nil, changes how a node is started.
	container func(*target.Container)
}

func (p probes) target() *target.Target {
	return &target.Target{
		Name: "probes", Modes: []target.Mode{{}},
		New: func(c target.Config, at target.Place) (*target.System, error) { return p.system(c.Nodes, at), nil },
	}
}

func (p probes) system(nodes int, at target.Place) *target.System {
	sys := &target.System{
		Nodes: target.NodeNames(nodes), Ports: []target.Port{{Name: probePort, Number: 7000}, {Name: sparePort, Number: 7001}},
		Operator: p.operator,
		Open: func(_ context.Context, _ int, dial target.DialFunc) (harness.Client, error) {
			return probeClient{at, dial}, nil
		},
	}
	sys.Ready = func(ctx context.Context) error {
		for _, n := range sys.Nodes {
			if _, err := askOnce(ctx, at.Dial, at.Addr(n, probePort), request{Op: "ping"}); err != nil {
				return err
			}
		}
		return nil
	}
	sys.Container = func(n harness.NodeID) (target.Container, error) {
		cfg := probe.Config{Listen: at.Addr(n, probePort), Data: cmp.Or(p.data, probeData)}
		for _, n := range sys.Nodes {
			cfg.Peers = append(cfg.Peers, at.Addr(n, probePort))
		}
		file, err := json.Marshal(cfg)
		c := target.Container{
			Command: []string{"/assay", "node", "--config", probeConfig}, Files: map[string][]byte{probeConfig: file}, Data: probeData,
		}
		if p.container != nil {
			p.container(&c)
		}
		return c, err
	}
	return sys
}

// probeClient pings the node that an op names.
type probeClient struct {
	at   target.Place
	dial target.DialFunc
}

func (c probeClient) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	_, err := ask(ctx, c.dial, c.at.Addr(harness.NodeID(op.Node), probePort), request{Op: "ping"})
	return op, err
}

func (c probeClient) Close() error { return nil }

// ask sends a request, again until the node listens or ctx is done.
func ask(ctx context.Context, dial target.DialFunc, addr string, q request) (reply, error) {
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

func askOnce(ctx context.Context, dial target.DialFunc, addr string, q request) (reply, error) {
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

// rig is a cluster of probes.
type rig struct {
	t testing.TB
	c *Cluster
}

func newRig(t testing.TB, nodes int) *rig {
	t.Helper()
	return newRigOf(t, probes{}, nodes)
}

func newRigOf(t testing.TB, p probes, nodes int) *rig {
	t.Helper()
	dockertest.Need(t)
	c, err := New(Config{
		Target: p.target(), Config: target.Config{Nodes: nodes},
		RunID: fmt.Sprintf("test-%d-%d", os.Getpid(), time.Now().UnixNano()%1e9), LogDir: t.TempDir(), Program: nodeProgram(t),
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, c.Stop(ctx))
		require.Empty(t, leftovers(t, c.runID))
	})
	return &rig{t, c}
}

// startRig returns a cluster that serves.
func startRig(t testing.TB, nodes int) *rig {
	t.Helper()
	return startRigOf(t, probes{}, nodes)
}

func startRigOf(t testing.TB, p probes, nodes int) *rig {
	t.Helper()
	r := newRigOf(t, p, nodes)
	require.NoError(t, r.c.Start(t.Context()))
	return r
}

func (r *rig) addr(n harness.NodeID) string { return r.c.addr(n, probePort) }

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
	return ask(ctx, r.c.dial, r.addr(n), q)
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
		more := got.Count[r.c.address(from).String()]
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
