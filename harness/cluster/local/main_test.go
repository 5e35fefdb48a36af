//go:build unix

package local

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/osproc"
)

// patient bounds whatever a test waits for.
const patient = 20 * time.Second

// request and reply are those of testdata/node, config its file.
type request struct {
	Op string
	N  int
}

type reply struct {
	Err  string
	Node string
	PID  int
	Size int64
	Boot string
	Env  []string
	Dir  string
}

type config struct {
	Node   string
	Listen []string
	Deaf   bool
	Once   string
}

// programDir is where testdata/node is built, once per test binary run.
func programDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("assay-test-local-%d", os.Getpid()))
}

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		childMain()
		return
	}
	dir := programDir()
	path := filepath.Join(dir, "node")
	build := exec.Command("go", "build", "-o", path, "./testdata/node")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		os.Exit(1)
	}
	_ = os.Setenv(programVar, path)
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// programVar holds the path of testdata/node, also for children of the test.
const programVar = "TEST_LOCAL_PROGRAM"

// probes are a system of testdata/node.
type probes struct {
	count  int
	ports  []target.Port
	at     target.Place
	change func(n harness.NodeID, p *target.Process, c *config) // nil: nothing
	asked  chan harness.NodeID                                  // who is asked for its state; nil: nobody counts
}

func newProbes(count int) *probes {
	return &probes{count: count, ports: []target.Port{{Name: "client", Number: 7471}, {Name: "peer", Number: 7472}}}
}

func (p *probes) target() *target.Target {
	return &target.Target{Name: "probes", Modes: []target.Mode{{Name: "only"}}, New: func(_ target.Config, at target.Place) (*target.System, error) {
		p.at = at
		return &target.System{
			Nodes: target.NodeNames(p.count), Ports: p.ports, Process: p.process, Operator: p, Ready: p.ready,
			Open: func(_ context.Context, _ int, dial target.DialFunc) (harness.Client, error) {
				return probeClient{p, dial}, nil
			},
		}, nil
	}}
}

func (p *probes) process(n harness.NodeID) (target.Process, error) {
	cfg := config{Node: string(n)}
	for _, port := range p.ports {
		cfg.Listen = append(cfg.Listen, p.at.Addr(n, port.Name))
	}
	proc := target.Process{Program: os.Getenv(programVar), Args: []string{"etc/node.json"}, Env: []string{"PROBE=" + string(n)}}
	if p.change != nil {
		p.change(n, &proc, &cfg)
	}
	data, err := json.Marshal(cfg)
	proc.Files = map[string][]byte{"etc/node.json": data}
	return proc, err
}

func (p *probes) ready(ctx context.Context) error {
	for _, n := range target.NodeNames(p.count) {
		if _, err := ask(ctx, p.at.Dial, p.addr(n), request{Op: "ping"}); err != nil {
			return err
		}
	}
	return nil
}

func (p *probes) addr(n harness.NodeID) string { return p.at.Addr(n, "client") }

// Groups and State implement harness.Groups; Promote implements harness.Promoter.
func (p *probes) Groups() [][]harness.NodeID { return [][]harness.NodeID{target.NodeNames(p.count)} }

func (p *probes) State(ctx context.Context, _ int, n harness.NodeID) (harness.NodeState, error) {
	if p.asked != nil {
		p.asked <- n
	}
	_, err := ask(ctx, p.at.Dial, p.addr(n), request{Op: "ping"})
	return harness.NodeState{Up: err == nil, Role: harness.RoleFollower}, nil
}

func (p *probes) Promote(context.Context, int, harness.NodeID, bool) (harness.Promotion, error) {
	return harness.Promotion{}, nil
}

// probeClient pings the node that an op names.
type probeClient struct {
	p    *probes
	dial target.DialFunc
}

func (c probeClient) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	_, err := ask(ctx, c.dial, c.p.addr(harness.NodeID(op.Node)), request{Op: "ping"})
	return op, err
}

func (c probeClient) Close() error { return nil }

// ask sends one request.
func ask(ctx context.Context, dial target.DialFunc, addr string, q request) (reply, error) {
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
	p *probes
}

// newRig returns a cluster that is not started. After the test nothing of it may be left.
func newRig(t testing.TB, p *probes, change ...func(*Config)) *rig {
	t.Helper()
	cfg := Config{
		Target: p.target(), Config: target.Config{Mode: "only", Nodes: p.count}, RunID: fmt.Sprintf("test-%d-%d", os.Getpid(), time.Now().UnixNano()),
		LogDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	require.NoError(t, err)
	r := &rig{t, c, p}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		require.NoError(t, c.Stop(ctx))
		r.nothingLeft()
	})
	return r
}

// nothingLeft fails when a process or a directory of the cluster is there.
func (r *rig) nothingLeft() {
	r.t.Helper()
	pids, err := osproc.WithEnv(markVar + "=" + r.c.home.mark)
	require.NoError(r.t, err)
	require.Empty(r.t, pids)
	require.NoDirExists(r.t, r.c.home.root)
	if r.c.home.link != "" {
		_, err := os.Lstat(r.c.home.link)
		require.ErrorIs(r.t, err, os.ErrNotExist)
	}
}

// startRig returns a cluster that serves.
func startRig(t testing.TB, nodes int) *rig {
	t.Helper()
	r := newRig(t, newProbes(nodes))
	require.NoError(t, r.c.Start(t.Context()))
	return r
}

// ask asks a node, which must answer.
func (r *rig) ask(n harness.NodeID, q request) reply {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patient)
	defer cancel()
	got, err := ask(ctx, r.c.dial, r.p.addr(n), q)
	require.NoError(r.t, err)
	require.Empty(r.t, got.Err)
	return got
}

// answers says whether a node answers within 300 ms.
func (r *rig) answers(n harness.NodeID) bool {
	ctx, cancel := context.WithTimeout(r.t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := ask(ctx, r.c.dial, r.p.addr(n), request{Op: "ping"})
	return err == nil
}

// process is what runs a node.
func (r *rig) process(n harness.NodeID) *process {
	r.t.Helper()
	found, err := r.c.node(n)
	require.NoError(r.t, err)
	return found.proc.Load()
}

// exit makes a node end by itself, and waits until that is noticed.
func (r *rig) exit(n harness.NodeID, code int) {
	r.t.Helper()
	p := r.process(n)
	ctx, cancel := context.WithTimeout(r.t.Context(), patient)
	defer cancel()
	_, err := ask(ctx, r.c.dial, r.p.addr(n), request{Op: "exit", N: code})
	require.Error(r.t, err, "it has no time to answer")
	require.NoError(r.t, p.await(ctx))
}

func (r *rig) kill(n harness.NodeID) harness.Effect {
	r.t.Helper()
	effect, err := r.c.Kill(r.t.Context(), n)
	require.NoError(r.t, err)
	return effect
}

func (r *rig) boot(n harness.NodeID) {
	r.t.Helper()
	require.NoError(r.t, r.c.Boot(r.t.Context(), n))
}

func (r *rig) undo(undo harness.Undo) harness.Effect {
	r.t.Helper()
	effect, err := undo(r.t.Context())
	require.NoError(r.t, err)
	return effect
}

func (r *rig) state(n harness.NodeID) harness.NodeState {
	r.t.Helper()
	g, ok := harness.Can[harness.Groups](r.c)
	require.True(r.t, ok)
	s, err := g.State(r.t.Context(), 0, n)
	require.NoError(r.t, err)
	return s
}

// hold listens on an address as another process would.
func hold(t testing.TB, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
}
