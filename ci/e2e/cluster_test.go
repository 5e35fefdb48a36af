package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// binary builds the assay binary once per test.
func binary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "assay")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/assay-project/assay/cmd/assay").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// processes is a cluster of `assay node` processes.
type processes struct {
	t       *testing.T
	bin     string
	configs []string
	kafka   []string
	procs   []*exec.Cmd
}

// freePorts returns ports that were free a moment ago.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func startProcesses(t *testing.T, n int, options string) *processes {
	t.Helper()
	c := &processes{t: t, bin: binary(t), procs: make([]*exec.Cmd, n)}
	ports := freePorts(t, 2*n)
	var members bytes.Buffer
	for i := range n {
		c.kafka = append(c.kafka, fmt.Sprintf("127.0.0.1:%d", ports[i]))
		fmt.Fprintf(&members, "  - {id: %d, group: 0, kafka: %q, peer: \"127.0.0.1:%d\"}\n", i+1, c.kafka[i], ports[n+i])
	}
	dir := t.TempDir()
	for i := range n {
		file := filepath.Join(dir, fmt.Sprintf("n%d.yaml", i+1))
		text := fmt.Sprintf("cluster: e2e\nid: %d\nmode: master-slave\ndata: %s\nlisten: %s\npeer: \"127.0.0.1:%d\"\nnodes:\n%soptions: {%s}\n",
			i+1, filepath.Join(dir, fmt.Sprintf("data%d", i+1)), c.kafka[i], ports[n+i], members.String(), options)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		c.configs = append(c.configs, file)
	}
	for i := range n {
		c.start(i)
	}
	return c
}

func (c *processes) start(i int) {
	c.t.Helper()
	var log bytes.Buffer
	p := exec.Command(c.bin, "node", "--config", c.configs[i])
	p.Stderr = &log
	require.NoError(c.t, p.Start())
	c.procs[i] = p
	c.t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if c.t.Failed() {
			c.t.Logf("node %d:\n%s", i+1, log.String())
		}
	})
}

// kill is kill -9.
func (c *processes) kill(i int) {
	require.NoError(c.t, c.procs[i].Process.Kill())
	_ = c.procs[i].Wait() // says that it was killed
}

// terminate is SIGTERM; the process must end by itself, without an error.
func (c *processes) terminate(i int) {
	require.NoError(c.t, c.procs[i].Process.Signal(syscall.SIGTERM))
	require.NoError(c.t, c.procs[i].Wait(), "a clean stop exits with 0")
}

// run runs the binary and returns what it printed.
func (c *processes) run(args ...string) (string, error) {
	out, err := exec.Command(c.bin, args...).CombinedOutput()
	return string(out), err
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
