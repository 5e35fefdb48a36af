//go:build unix

package local

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

func TestStartAndStop(t *testing.T) {
	p := newProbes(3)
	r := newRig(t, p)
	require.Equal(t, "n2:7471", p.at.Addr("n2", "client"), "before the start an address leads nowhere")
	_, err := p.at.Dial(t.Context(), "tcp", "n2:7471")
	require.ErrorContains(t, err, "has not been started")
	_, err = r.c.Open(t.Context(), 0)
	require.ErrorContains(t, err, "has not been started")

	require.NoError(t, r.c.Start(t.Context()))
	require.Equal(t, []harness.NodeID{"n1", "n2", "n3"}, r.c.Nodes())
	client, err := r.c.Open(t.Context(), 0)
	require.NoError(t, err)
	for _, n := range r.c.Nodes() {
		_, err = client.Invoke(t.Context(), histories.Op{Node: string(n)})
		require.NoError(t, err)
		require.Equal(t, string(n), r.ask(n, request{Op: "ping"}).Node, "each has its own address")
	}
	if runtime.GOOS == "linux" {
		host, port, err := net.SplitHostPort(p.at.Addr("n2", "peer"))
		require.NoError(t, err)
		require.Equal(t, "7472", port)
		require.Regexp(t, `^127\.\d+\.\d+\.2$`, host)
	}
	require.ErrorContains(t, r.c.Start(t.Context()), "started before")

	again := startRig(t, 3)
	require.NotEqual(t, p.addr("n1"), again.p.addr("n1"), "runs side by side do not share addresses")

	require.NoError(t, r.c.Stop(context.Background()))
	r.nothingLeft()
	require.NoError(t, r.c.Stop(context.Background()), "twice")
	require.ErrorIs(t, r.c.starter.start(exec.Command("true")), ErrStopped, "the thread that starts nodes has ended")
	require.ErrorIs(t, r.c.Start(t.Context()), ErrStopped)
	_, err = r.c.Kill(t.Context(), "n1")
	require.ErrorIs(t, err, ErrStopped)
	_, err = r.c.Open(t.Context(), 0)
	require.ErrorIs(t, err, ErrStopped)
	_, err = p.at.Dial(t.Context(), "tcp", p.addr("n1"))
	require.ErrorIs(t, err, ErrStopped)
}

func TestWhatANodeFinds(t *testing.T) {
	t.Setenv("ASSAY_SUPERVISED", "1")
	t.Setenv("SOMETHING", "else")
	r := startRig(t, 1)
	got := r.ask("n1", request{Op: "ping"})
	require.Equal(t, filepath.Join(r.c.home.root, "n1"), got.Dir)
	require.Contains(t, got.Env, "PROBE=n1")
	require.Contains(t, got.Env, "SOMETHING=else")
	require.NotContains(t, got.Env, "ASSAY_SUPERVISED=1", "what assay tells itself is not the node's")
}

func TestOwnProgram(t *testing.T) {
	p := newProbes(2)
	p.change = func(_ harness.NodeID, proc *target.Process, _ *config) { proc.Program = "" }
	r := newRig(t, p)
	asked := 0
	r.c.own = func(context.Context) (string, error) {
		asked++
		return os.Getenv(programVar), nil
	}
	require.NoError(t, r.c.Start(t.Context()))
	r.kill("n1")
	r.boot("n1")
	require.Equal(t, 1, asked, "all nodes run the same for all their lives")
}

func TestAbilities(t *testing.T) {
	r := newRig(t, newProbes(1))
	for name, has := range map[string]bool{
		"kill": can[harness.Killer](r.c), "wipe": can[harness.Wiper](r.c), "pause": can[harness.Pauser](r.c),
		"groups": can[harness.Groups](r.c), "promote": can[harness.Promoter](r.c),
	} {
		require.True(t, has, name)
	}
	for name, has := range map[string]bool{
		"network": can[harness.Network](r.c), "power": can[harness.PowerCutter](r.c), "disks": can[harness.Disks](r.c),
		"topics": can[harness.TopicMaker](r.c), // the operator makes none
	} {
		require.False(t, has, name)
	}
}

func can[T any](c harness.Cluster) bool {
	_, ok := harness.Can[T](c)
	return ok
}

func TestNewRefuses(t *testing.T) {
	system := func(s *target.System, err error) *target.Target {
		if s != nil {
			s.Open = func(context.Context, int, target.DialFunc) (harness.Client, error) { return nil, nil }
		}
		return &target.Target{Name: "x", New: func(target.Config, target.Place) (*target.System, error) { return s, err }}
	}
	process := func(harness.NodeID) (target.Process, error) { return target.Process{}, nil }
	ports := []target.Port{{Name: "client", Number: 1}}
	_, err := New(Config{RunID: "x", Target: system(&target.System{Nodes: target.NodeNames(1), Ports: ports}, nil)})
	require.ErrorIs(t, err, harness.ErrUnsupported)
	require.ErrorContains(t, err, "target x does not run as a process on this machine")
	_, err = New(Config{RunID: "x", Target: system(nil, errors.New("no such mode"))})
	require.ErrorContains(t, err, "no such mode")
	_, err = New(Config{RunID: "x", Target: system(&target.System{Nodes: target.NodeNames(1), Process: process}, nil)})
	require.ErrorContains(t, err, "it names no port")
	_, err = New(Config{RunID: "x", Target: system(&target.System{Nodes: []harness.NodeID{"../n1"}, Ports: ports, Process: process}, nil)})
	require.ErrorContains(t, err, `node "../n1"`)
	for _, bad := range []string{"", "A", "a b", "a/b", "..", strings.Repeat("x", 65)} {
		_, err := New(Config{RunID: bad, Target: newProbes(1).target()})
		require.Error(t, err, "%q", bad)
	}
}

func TestGivenDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // the link is there
	dir := filepath.Join(t.TempDir(), "deep", "nodes")
	r := newRig(t, newProbes(1), func(c *Config) { c.Dir = dir })
	require.NoDirExists(t, dir, "nothing is made before the start")
	require.NoError(t, r.c.Start(t.Context()))
	require.DirExists(t, filepath.Join(dir, "n1"))

	other := newRig(t, newProbes(1), func(c *Config) { c.Dir = dir })
	require.ErrorContains(t, other.c.Start(t.Context()), "must be empty")
	require.NoError(t, other.c.home.remove(), "it was never its own")
	require.NoError(t, r.c.Stop(context.Background()))
	require.DirExists(t, filepath.Dir(dir))
	r.nothingLeft()

	r = newRig(t, newProbes(1), func(c *Config) { c.Dir = dir })
	require.NoError(t, r.c.Start(t.Context()))
	same, err := New(Config{Target: newProbes(1).target(), RunID: r.c.cfg.RunID, Dir: dir + "2"})
	require.NoError(t, err)
	require.ErrorIs(t, same.Start(t.Context()), os.ErrExist, "the link is the other's")
	require.NoError(t, same.Stop(context.Background()))
	require.NoDirExists(t, dir+"2")
	require.FileExists(t, filepath.Join(r.c.home.link, ownerFile))

	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "precious"), nil, 0o600))
	c, err := New(Config{Target: newProbes(1).target(), RunID: "full", Dir: full})
	require.NoError(t, err)
	require.ErrorContains(t, c.Start(t.Context()), `has "precious" in it`)
	require.NoError(t, c.Stop(context.Background()))
	require.FileExists(t, filepath.Join(full, "precious"))
}

func TestOneRunIDTwice(t *testing.T) {
	r := startRig(t, 1)
	c, err := New(Config{Target: newProbes(1).target(), RunID: r.c.cfg.RunID})
	require.NoError(t, err)
	require.ErrorContains(t, c.Start(t.Context()), "must be empty")
	require.NoError(t, c.Stop(context.Background()))
	r.ask("n1", request{Op: "ping"})
}

func TestLogsAreKeptUpToTheEnd(t *testing.T) {
	r := startRig(t, 1)
	r.ask("n1", request{Op: "write", N: 11})
	r.kill("n1")
	r.boot("n1")
	r.ask("n1", request{Op: "write", N: 12})
	require.NoError(t, r.c.Stop(context.Background()))
	log, err := os.ReadFile(filepath.Join(r.c.cfg.LogDir, "n1.log"))
	require.NoError(t, err)
	for line, times := range map[string]int{"listening on": 2, "wrote 11": 1, "wrote 12": 1} {
		require.Equal(t, times, strings.Count(string(log), line), "%q in %s", line, log)
	}
}

func TestStartFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(n harness.NodeID, p *target.Process, cfg *config)
		want   string
		is     error
	}{
		"the program is missing": {
			func(n harness.NodeID, p *target.Process, _ *config) {
				if n == "n2" {
					p.Program = "/nonexistent/program"
				}
			}, "start node n2: fork/exec /nonexistent/program: no such file or directory", os.ErrNotExist,
		},
		"the program ends": {
			func(n harness.NodeID, p *target.Process, _ *config) {
				if n == "n2" {
					p.Args = []string{"too", "many"}
				}
			}, "node n2: the node ended by itself with exit code 2: usage: node FILE", harness.ErrNodeExited,
		},
		"it listens elsewhere": { // and ends while the cluster is awaited
			func(n harness.NodeID, p *target.Process, cfg *config) {
				if n == "n2" {
					cfg.Listen = append(cfg.Listen, cfg.Listen[0])
				}
			}, "node n2: the node ended by itself with exit code 1: listen tcp", harness.ErrNodeExited,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbes(3)
			p.change = c.change
			r := newRig(t, p)
			err := r.c.Start(t.Context())
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), errGivenUp.Error(), "only what went wrong is told")
			require.NoError(t, r.c.Stop(context.Background()))
			r.nothingLeft()
		})
	}
}

// TestStopDuringStart stops from two goroutines while a start is at each of its steps.
func TestStopDuringStart(t *testing.T) {
	for name, at := range map[string]int{"before": 0, "first node": 1, "last node": 3, "ready": 4} {
		t.Run(name, func(t *testing.T) {
			p := newProbes(3)
			reached, seen := make(chan struct{}, 100), make(chan struct{})
			reach := func() {
				select {
				case reached <- struct{}{}:
				default: // enough
				}
			}
			p.change = func(harness.NodeID, *target.Process, *config) { reach() }
			r := newRig(t, p)
			r.c.sys.Ready = func(context.Context) error {
				reach()
				return errors.New("never")
			}
			go func() {
				defer close(seen)
				for range at {
					<-reached
				}
			}()
			started := make(chan error, 1)
			if at > 0 {
				go func() { started <- r.c.Start(t.Context()) }()
			}
			<-seen
			stops := make(chan error, 2)
			for range 2 {
				go func() { stops <- r.c.Stop(context.Background()) }()
			}
			if at == 0 {
				go func() { started <- r.c.Start(t.Context()) }()
			}
			require.NoError(t, <-stops)
			require.NoError(t, <-stops)
			require.ErrorIs(t, <-started, ErrStopped)
			r.nothingLeft()
		})
	}
}

// TestStopEndsWhatIsUnderWay: nobody waits for a node that will not end.
func TestStopEndsWhatIsUnderWay(t *testing.T) {
	p := newProbes(1)
	p.change = func(_ harness.NodeID, _ *target.Process, cfg *config) { cfg.Deaf = true }
	r := newRig(t, p)
	require.NoError(t, r.c.Start(t.Context()))
	r.c.patience = time.Hour
	stopping := make(chan error, 1)
	go func() {
		_, err := r.c.Shutdown(t.Context(), "n1")
		stopping <- err
	}()
	require.Eventually(t, func() bool { return r.process("n1").asked.Load() }, patient, time.Millisecond)
	require.NoError(t, r.c.Stop(context.Background()))
	require.ErrorIs(t, <-stopping, ErrStopped)
}

func TestStopKillsWhatNodesStarted(t *testing.T) {
	r := startRig(t, 1)
	own := r.ask("n1", request{Op: "spawn", N: 1}).PID
	group, err := syscall.Getpgid(own)
	require.NoError(t, err)
	require.Equal(t, own, group, "it left the node's group")
	require.NoError(t, r.c.Stop(context.Background()))
	r.nothingLeft()
}

func TestInterruptedStart(t *testing.T) {
	r := newRig(t, newProbes(2))
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	r.c.sys.Ready = func(context.Context) error {
		if asked++; asked == 2 {
			cancel()
		}
		return errors.New("n2 lags")
	}
	err := r.c.Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "n2 lags")
}
