// One node: what is known of it, and how its process is made ready, started and waited for.

package local

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// listenTime is how long a start waits for a node to listen.
const listenTime = 30 * time.Second

// node is one node, whether it runs or not. id and dir never change, log not after Start has begun;
// fields after turn belong to whoever holds it.
type node struct {
	id  harness.NodeID
	dir string // its disk, and its program's working directory
	log string

	proc atomic.Pointer[process] // the latest; nil: there was none; changed by whoever holds turn

	// turn is a lock of size 1 that can be waited for with a context: operations on one node are
	// serial.
	turn   chan struct{}
	files  map[string][]byte // written before the latest start
	freeze *freeze           // of the process that runs; nil: it is not frozen
}

func (n *node) lock(ctx context.Context) error {
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for what is being done to node %s: %w", n.id, context.Cause(ctx))
	}
}

func (n *node) unlock() { <-n.turn }

// status is what is known of a node without asking it.
type status struct {
	down   bool
	failed bool   // it ended by itself
	why    string // it is down
}

func (n *node) status() status {
	p := n.proc.Load()
	switch {
	case p == nil:
		return status{down: true, why: "down, not started"}
	case !p.over():
		return status{}
	case p.asked.Load():
		return status{down: true, why: "down, ended on request: " + p.exit.how}
	}
	return status{down: true, failed: true, why: "down, ended by itself: " + p.exit.how}
}

// running returns the process that runs; nil when the node is down.
func (n *node) running() *process {
	if p := n.proc.Load(); p != nil && !p.over() {
		return p
	}
	return nil
}

// boot starts a node that is down, and returns when it listens.
func (c *Cluster) boot(ctx context.Context, n *node) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	spec, err := c.sys.Process(n.id)
	if err != nil {
		return fmt.Errorf("configure node %s: %w", n.id, err)
	}
	program, err := c.program(ctx, spec.Program)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.id, err)
	}
	if err := n.write(spec.Files); err != nil {
		return err
	}
	// The port may have gone to another process since it was chosen, or since the node ended. That
	// is not the node's doing.
	if err := taken(c.endpoints(n)); err != nil {
		return fmt.Errorf("node %s: %w", n.id, err)
	}
	p, err := c.spawn(n, program, spec)
	if err != nil {
		return fmt.Errorf("start node %s: %w", n.id, err)
	}
	n.freeze = nil
	n.proc.Store(p)
	go p.watch(n.id, c.cfg.Logger)
	return c.listens(ctx, n, p)
}

// program is the path of what runs.
func (c *Cluster) program(ctx context.Context, path string) (string, error) {
	switch {
	case path == "":
		return c.ownProgram(ctx)
	case strings.ContainsRune(path, filepath.Separator):
		return filepath.Abs(path) // from this process's working directory, not from the node's
	}
	return path, nil
}

// ownProgram is the executable of assay. It is looked for once, so that all nodes run the same for
// all their lives.
func (c *Cluster) ownProgram(ctx context.Context) (_ string, err error) {
	select {
	case c.ownTurn <- struct{}{}:
		defer func() { <-c.ownTurn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if c.ownPath == "" {
		c.ownPath, err = c.own(ctx)
	}
	return c.ownPath, err
}

// write makes the node's directory and writes files into it.
func (n *node) write(files map[string][]byte) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of node %s: %w", n.id, err)
	}
	for name, data := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("file %q of node %s lies outside of its directory", name, n.id)
		}
		path := filepath.Join(n.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write %s of node %s: %w", name, n.id, err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("write %s of node %s: %w", name, n.id, err)
		}
	}
	n.files = files
	return nil
}

// spawn starts the process of a node.
func (c *Cluster) spawn(n *node, program string, spec target.Process) (*process, error) {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	defer log.Close() // the process has its own
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	cmd := exec.Command(program, spec.Args...)
	cmd.Dir, cmd.Env = n.dir, append(c.home.environment(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	if err := c.starter.start(cmd); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, pid: cmd.Process.Pid, log: n.log, logFrom: from, ended: make(chan struct{})}, nil
}

// listens returns when the node accepts connections on its first port, or has had listenTime to do
// so: a long recovery is no error. A node that ends instead is harness.ErrNodeExited.
func (c *Cluster) listens(ctx context.Context, n *node, p *process) error {
	limit := time.NewTimer(listenTime)
	defer limit.Stop()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	d := net.Dialer{Timeout: dialTime}
	first := c.endpoints(n)[0]
	for {
		conn, err := d.DialContext(ctx, "tcp", first)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-retry.C:
		case <-limit.C:
			return nil
		case <-p.ended:
			return c.exited(n, p)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// erase kills a node and deletes its disk.
func (c *Cluster) erase(ctx context.Context, n *node) error {
	if p := n.running(); p != nil {
		if err := p.kill(ctx); err != nil {
			return fmt.Errorf("node %s: %w", n.id, err)
		}
	}
	if err := os.RemoveAll(n.dir); err != nil {
		return fmt.Errorf("wipe node %s: %w", n.id, err)
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		return fmt.Errorf("wipe node %s: %w", n.id, err)
	}
	return nil
}
