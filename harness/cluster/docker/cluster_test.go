package docker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

// childVar makes the test binary start a cluster of that run ID and be killed by its parent.
const childVar = "ASSAY_DOCKER_TEST_CHILD"

func TestStartAndStop(t *testing.T) {
	r := newRig(t, 3)
	start := time.Now()
	require.NoError(t, r.c.Start(t.Context()))
	first := time.Since(start)

	again := newRig(t, 3)
	start = time.Now()
	require.NoError(t, again.c.Start(t.Context()))
	ready := time.Since(start)
	require.NotEqual(t, r.addr("n1"), again.addr("n1"), "runs side by side have networks of their own")

	image, err := r.c.engine.api.ImageInspect(t.Context(), r.c.nodes[0].setup.image)
	require.NoError(t, err)
	require.Less(t, image.Size, int64(30<<20))

	require.Error(t, r.c.Start(t.Context()), "a cluster starts once")
	start = time.Now()
	require.NoError(t, again.c.Stop(context.Background()))
	stopped := time.Since(start)
	require.NoError(t, again.c.Stop(context.Background()), "twice")
	require.Empty(t, leftovers(t, again.c.runID))
	t.Logf("first start %v, three nodes ready with the image there %v, teardown %v, image %d bytes", first, ready, stopped, image.Size)

	require.ErrorIs(t, again.c.Start(t.Context()), ErrStopped)
	_, err = again.c.Kill(t.Context(), "n1")
	require.ErrorIs(t, err, ErrStopped)
	_, err = again.c.dial(t.Context(), "tcp", "127.0.0.1:1")
	require.ErrorIs(t, err, ErrStopped)
}

func TestClient(t *testing.T) {
	r := startRig(t, 1)
	c, err := r.c.Open(t.Context(), 0)
	require.NoError(t, err)
	_, err = c.Invoke(t.Context(), histories.Op{Node: "n1"})
	require.NoError(t, err)
}

// TestPublishedPorts: where containers' addresses lead nowhere (macOS, Windows, rootless engines),
// published ports do; they change when a node starts again.
func TestPublishedPorts(t *testing.T) {
	r := newRig(t, 2)
	r.c.publish = true
	require.NoError(t, r.c.Start(t.Context()))
	_, err := r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	r.ask("n1", request{Op: "ping"})
	require.True(t, r.reaches("n2", "n1"))
	_, err = r.c.mapped(t.Context(), r.c.engine, r.c.addr("n1", sparePort))
	require.NoError(t, err, "all ports are published")
}

func TestEngineHost(t *testing.T) {
	for daemon, want := range map[string]string{
		"unix:///var/run/docker.sock": "127.0.0.1", "npipe:////./pipe/docker_engine": "127.0.0.1", "": "127.0.0.1",
		"tcp://10.1.2.3:2375": "10.1.2.3", "ssh://user@build.example": "build.example",
	} {
		require.Equal(t, want, engineHost(daemon), "%q", daemon)
	}
}

func TestLogsAreKeptUpToTheEnd(t *testing.T) {
	r := startRig(t, 1)
	r.ask("n1", request{Op: "write", N: 11})
	_, err := r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	r.ask("n1", request{Op: "write", N: 12})
	require.NoError(t, r.c.Stop(context.Background()))
	log, err := os.ReadFile(filepath.Join(r.c.logDir, "n1.log"))
	require.NoError(t, err)
	for line, times := range map[string]int{"listening on": 2, "wrote 11": 1, "wrote 12": 1} {
		require.Equal(t, times, strings.Count(string(log), line), "%q in %s", line, log)
	}
}

// TestStopDuringStart stops at several moments of a start, from two goroutines.
func TestStopDuringStart(t *testing.T) {
	startRig(t, 1) // the image is there
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			r := newRig(t, 2)
			started := make(chan error, 1)
			go func() { started <- r.c.Start(t.Context()) }()
			<-time.After(after)
			stops := make(chan error, 2)
			for range 2 {
				go func() { stops <- r.c.Stop(context.Background()) }()
			}
			require.NoError(t, <-stops)
			require.NoError(t, <-stops)
			if err := <-started; err == nil {
				t.Log("the start was faster")
			}
			require.Empty(t, leftovers(t, r.c.runID))
		})
	}
}

// TestStopDuringWipe: a wipe makes a new container, which the stop must not miss.
func TestStopDuringWipe(t *testing.T) {
	r := startRig(t, 1)
	wiped := make(chan error, 1)
	go func() {
		_, err := r.c.Wipe(t.Context(), "n1")
		wiped <- err
	}()
	<-time.After(100 * time.Millisecond)
	require.NoError(t, r.c.Stop(context.Background()))
	if err := <-wiped; err != nil {
		require.ErrorIs(t, err, ErrStopped)
	}
	require.Empty(t, leftovers(t, r.c.runID))
}

func TestHostFirewallIsUntouched(t *testing.T) {
	r := startRig(t, 2)
	require.NoError(t, r.c.Stop(context.Background()))
	out, err := exec.Command("iptables-save").CombinedOutput()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED, NOT TESTED: iptables-save does not run here: %v", err)
	}
	require.NoError(t, err, "CI needs iptables-save: %s", out)
	require.NotContains(t, string(out), r.c.address("n1").String())
	require.NotContains(t, string(out), "assay")
}

func TestUnreachableEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	c, err := New(Config{Target: probes{}.target(), Config: target.Config{Nodes: 1}, RunID: "x"})
	require.NoError(t, err)
	err = c.Start(t.Context())
	require.ErrorContains(t, err, "cannot reach the Docker engine at tcp://127.0.0.1:1: start it, or set DOCKER_HOST")
	require.NoError(t, c.Stop(context.Background()))
	_, err = Clean(t.Context(), false)
	require.ErrorContains(t, err, "cannot reach the Docker engine")
}

func TestRunID(t *testing.T) {
	for _, bad := range []string{"", "A", "a b", "a/b", strings.Repeat("x", 65)} {
		_, err := New(Config{Target: probes{}.target(), Config: target.Config{Nodes: 1}, RunID: bad})
		require.ErrorContains(t, err, "run ID", "%q", bad)
	}
}

// childMain is the process that TestCleanAfterKill kills.
func childMain() {
	c, err := New(Config{
		Target: probes{}.target(), Config: target.Config{Nodes: 2}, RunID: os.Getenv(childVar), Program: os.Getenv(childVar + "_PROGRAM"),
	})
	if err == nil {
		err = c.Start(context.Background())
	}
	fmt.Println("started:", err)
	select {}
}

func TestCleanAfterKill(t *testing.T) {
	other := startRig(t, 1) // belongs to a process that lives: this one
	run := fmt.Sprintf("child-%d", os.Getpid())
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVar+"="+run, childVar+"_PROGRAM="+nodeProgram(t))
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line := make([]byte, 200)
	n, err := out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "started: <nil>\n", string(line[:n]))

	ours := func(marks map[string]string) bool { // this machine may have leftovers that others still want to look at
		return marks[LabelRun] == run || marks[LabelRun] == other.c.runID
	}
	e := other.c.engine
	report, err := clean(t.Context(), e, false, ours)
	require.NoError(t, err)
	require.NotContains(t, report.Containers, "assay-"+run+"-n1", "its process lives")
	require.Contains(t, report.Kept, "assay-"+run+"-n1")

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	require.Len(t, leftovers(t, run), 5, "two containers, two volumes, a network")
	report, err = clean(t.Context(), e, false, ours)
	require.NoError(t, err)
	require.ElementsMatch(t, report.Containers, []string{"assay-" + run + "-n1", "assay-" + run + "-n2"})
	require.ElementsMatch(t, report.Volumes, []string{"assay-" + run + "-n1", "assay-" + run + "-n2"})
	require.Equal(t, []string{"assay-" + run}, report.Networks)
	require.False(t, report.Empty())
	require.Empty(t, leftovers(t, run))
	require.Len(t, leftovers(t, other.c.runID), 3, "what a living process needs is kept")
	report, err = clean(t.Context(), e, true, ours)
	require.NoError(t, err)
	require.Len(t, report.Containers, 1, "unless it is forced")
}

func TestProgram(t *testing.T) {
	info, err := exec.LookPath("go")
	require.NoError(t, err)
	require.ErrorContains(t, checkStatic("cluster_test.go", "amd64"), "not a Linux executable")
	require.Error(t, checkStatic(info, "s390x"))
	_, err = findProgram(t.Context(), "cluster_test.go", "amd64")
	require.ErrorContains(t, err, "cannot run in a node's container")
	if os.Getenv("CGO_ENABLED") != "0" {
		if cc, err := exec.LookPath("gcc"); err == nil {
			require.Error(t, checkStatic(cc, "amd64"), "gcc is dynamic")
		}
	}
	require.NoError(t, checkStatic(nodeProgram(t), goArch("")))
}

// BenchmarkStart measures how long three nodes take to serve, with the image there, and to be gone.
func BenchmarkStart(b *testing.B) {
	startRig(b, 1)
	var up, down time.Duration
	rounds := 0
	for b.Loop() {
		r := newRig(b, 3)
		begin := time.Now()
		require.NoError(b, r.c.Start(b.Context()))
		up += time.Since(begin)
		begin = time.Now()
		require.NoError(b, r.c.Stop(context.Background()))
		down += time.Since(begin)
		rounds++
	}
	b.ReportMetric(up.Seconds()/float64(rounds), "s/start")
	b.ReportMetric(down.Seconds()/float64(rounds), "s/stop")
}
