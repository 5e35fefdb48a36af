// One run of a node's program, from its start to its end, whoever ends it.

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/osproc"
)

const (
	// groupTime bounds the wait for the rest of a process group, once its first process is gone and
	// the others are killed.
	groupTime = 5 * time.Second
	// pollTime is how often something is looked at that the system does not report.
	pollTime = time.Millisecond
	// wordsSize is how much of the end of a log may be shown.
	wordsSize = 4 << 10
)

// process is one run of a node's program.
type process struct {
	cmd     *exec.Cmd
	pid     int    // and the number of its group
	log     string // what it prints is appended there
	logFrom int64  // from here on

	// asked is set before this package ends it. A process that ends unasked ended by itself.
	asked atomic.Bool

	ended chan struct{} // closed when the process and its group are gone
	exit  exit          // belongs to watch until ended is closed; does not change afterwards
}

// exit is how a process ended.
type exit struct {
	code   int    // 128 and the signal's number when a signal ended it
	how    string // "exit code 3", "signal: killed"
	killed bool   // by SIGKILL
}

// watch waits for the end of a process. What the process started and left behind in its group ends
// with it, as it would with a container.
func (p *process) watch(id harness.NodeID, logger *slog.Logger) {
	err := p.cmd.Wait()
	if state := p.cmd.ProcessState; state != nil {
		p.exit = exitOf(state)
	} else {
		p.exit = exit{code: -1, how: fmt.Sprintf("its exit code is not known: %v", err)}
	}
	if !endGroup(p.pid) {
		logger.Warn("processes of a node's group do not end", "node", id, "group", p.pid)
	}
	if !p.asked.Load() {
		logger.Warn("a node ended by itself", "node", id, "how", p.exit.how, "words", p.lastWords())
	}
	close(p.ended)
}

// endGroup kills what is left of a process group, and reports whether it is gone. The group's
// number is not another one's yet: numbers are given again only after all others were.
func endGroup(group int) bool {
	for end := time.Now().Add(groupTime); time.Now().Before(end); {
		if killGroup(group) != nil || !osproc.GroupAlive(group) { // an error: there is no such group
			return true
		}
		<-time.After(pollTime)
	}
	return false
}

// over reports whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// await waits for the end of the process.
func (p *process) await(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of process %d: %w", p.pid, context.Cause(ctx))
	}
}

// kill kills the process with its group, and returns when they are gone.
func (p *process) kill(ctx context.Context) error {
	if p.over() {
		return nil
	}
	before := p.asked.Swap(true)
	if err := killGroup(p.pid); err != nil && !p.over() && osproc.Alive(p.pid) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	if err := p.await(ctx); err != nil {
		return err
	}
	if !p.exit.killed {
		p.asked.Store(before) // it was faster
	}
	return nil
}

// lastWords are the last lines that the process printed.
func (p *process) lastWords() string {
	text, err := tail(p.log, p.logFrom)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// tail reads the end of a file, nothing before from.
func tail(path string, from int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	from = max(from, info.Size()-wordsSize)
	text, err := io.ReadAll(io.NewSectionReader(f, from, max(0, info.Size()-from)))
	return string(text), err
}

// starter starts processes from one thread that lives until close. On Linux a child can be told to
// die with its parent, and then it dies with the thread that started it: any other thread of this
// process may end long before.
type starter struct {
	jobs   chan job
	closed chan struct{}
	once   sync.Once // closes closed
}

// job is a process to start.
type job struct {
	cmd  *exec.Cmd
	done chan error // has room for the result
}

func newStarter() *starter {
	return &starter{jobs: make(chan job), closed: make(chan struct{})}
}

// run is the thread.
func (s *starter) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // nothing that it started is alive any more, or is about to be killed
	for {
		select {
		case <-s.closed:
			return
		default:
		}
		select {
		case j := <-s.jobs:
			j.done <- j.cmd.Start()
		case <-s.closed:
			return
		}
	}
}

// start starts a process, unless the starter is closed.
func (s *starter) start(cmd *exec.Cmd) error {
	j := job{cmd: cmd, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
		return <-j.done
	case <-s.closed:
		return ErrStopped
	}
}

// close ends the thread. It may be called again.
func (s *starter) close() { s.once.Do(func() { close(s.closed) }) }

// exited is the error of a node whose process ended by itself while it was needed.
func (c *Cluster) exited(n *node, p *process) error {
	words := p.lastWords()
	if err := taken(c.endpoints(n)); errors.Is(err, errPortTaken) {
		return fmt.Errorf("node %s: %w, and it ended with %s: %s", n.id, err, p.exit.how, words)
	}
	err := fmt.Errorf("node %s: %w with %s: %s", n.id, harness.ErrNodeExited, p.exit.how, words)
	if saysTaken(words) { // whoever took it may be gone
		return fmt.Errorf("%w (%w)", err, errPortTaken)
	}
	return err
}
