package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// ErrChild is wrapped by every error about the process in which a simulation ran: it said nothing
// about the system under test.
var ErrChild = errors.New("the simulation failed")

// Request is what a child process is to do.
type Request struct {
	Handler string          // a key of the handlers that the program gives to ChildMain
	Body    json.RawMessage // what the handler gets
	Stderr  io.Writer       // gets the child's standard error as it comes, stacks included; nil: only errors quote it
	Stall   time.Duration   // wall time that virtual time may stand still; 0 means 10 s
	Limit   time.Duration   // virtual time after which the simulation is given up; 0 means 24 h
}

// Spawn carries out a request in a synctest bubble in a child process: this program once more,
// whose main must call ChildMain. It is not to be called inside a bubble. onMessage gets what the
// handler sends, one at a time, before Spawn returns; nil drops it.
//
// When ctx ends, the handler's context ends too and Spawn goes on waiting for its result, for a
// minute at most. An error means that there is no result: the handler returned it, or the child
// panicked, stalled or was killed; the text then quotes its standard error.
func Spawn(ctx context.Context, req Request, onMessage func(json.RawMessage)) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if os.Getenv(childEnv) != "" { // ChildMain would have ended this process, or a child would start a child, without end
		return nil, fmt.Errorf("%w: this program is a simulation's child, but its main function does not call ChildMain (or cli.Main) first", ErrChild)
	}
	if req.Stall <= 0 {
		req.Stall = defaultStall
	}
	if req.Limit <= 0 {
		req.Limit = defaultLimit
	}
	stderr := &excerpt{also: req.Stderr}
	p, err := startChild(req, stderr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChild, err)
	}
	watch := p.watch(ctx, req.Stall)
	answer, readErr := p.read(onMessage, watch.heard)
	watch.end()
	waitErr := p.cmd.Wait()
	_ = p.answers.Close()
	switch {
	case answer.Result != nil:
		return answer.Result, nil
	case answer.Error != "":
		return nil, fmt.Errorf("%w: %s", ErrChild, answer.Error)
	}
	why := errors.Join(watch.why, readErr)
	if why == nil {
		why = fmt.Errorf("its process ended without a result (%v)", exitText(waitErr))
	}
	return nil, fmt.Errorf("%w: %w\n%s", ErrChild, why, stderr)
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// childProcess is a running child.
type childProcess struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *os.File
}

func startChild(req Request, stderr io.Writer) (*childProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(envelope{Handler: req.Handler, Stall: req.Stall, Limit: req.Limit, Body: req.Body})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	if os.Getenv("GOMAXPROCS") == "" {
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1") // a bubble's goroutines mostly take turns; one processor hands over faster than two
	}
	cmd.ExtraFiles = []*os.File{w} // descriptor 3
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("start %s: %w", exe, err)
	}
	p := &childProcess{cmd: cmd, stdin: stdin, answers: r}
	if _, err := stdin.Write(append(body, '\n')); err != nil {
		p.kill()
		_ = cmd.Wait()
		_ = r.Close()
		return nil, fmt.Errorf("send the request: %w\n%s", err, stderr)
	}
	return p, nil
}

func (p *childProcess) kill() { _ = p.cmd.Process.Kill() }

// read takes the child's lines to their end, and returns the one that ends it.
func (p *childProcess) read(onMessage func(json.RawMessage), heard func()) (answer line, err error) {
	in := bufio.NewReaderSize(p.answers, 64<<10)
	for {
		b, err := in.ReadBytes('\n')
		if err != nil {
			return answer, nil //nolint:nilerr // the end of the answer, whatever ended it
		}
		heard()
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			p.kill()
			return answer, fmt.Errorf("its process answered %.200q: %w", b, err)
		}
		switch {
		case l.Message != nil && onMessage != nil:
			onMessage(l.Message)
		case l.Result != nil || l.Error != "":
			answer = l
		}
	}
}

// watcher asks the child to stop when ctx ends, and kills it when it does not, or when it falls
// silent.
type watcher struct {
	heard func()
	end   func() // after it, why may be read
	why   error
}

func (p *childProcess) watch(ctx context.Context, stall time.Duration) *watcher {
	news, over, done := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	w := &watcher{
		heard: func() {
			select {
			case news <- struct{}{}:
			default:
			}
		},
		end: func() { close(over); <-done },
	}
	go func() {
		defer close(done)
		// Its own guard speaks first.
		silence := time.NewTimer(3 * stall)
		defer silence.Stop()
		stop, grace := ctx.Done(), (<-chan time.Time)(nil)
		for {
			select {
			case <-over:
				return
			case <-news:
				silence.Reset(3 * stall)
			case <-stop:
				stop, grace = nil, time.After(stopGrace+stall)
				_ = p.stdin.Close()
			case <-grace:
				w.why = fmt.Errorf("its process did not end after it was asked to: %w", ctx.Err())
				p.kill()
				grace = nil
			case <-silence.C:
				w.why = fmt.Errorf("its process was silent for %v", 3*stall)
				p.kill()
			}
		}
	}()
	return w
}

const (
	excerptHead = 30  // lines: where a panic says what it is
	excerptTail = 100 // lines
)

// excerpt is a writer that keeps the first and the last lines.
type excerpt struct {
	also io.Writer

	mu      sync.Mutex // os/exec writes, Spawn reads
	part    []byte     // of a line that has not ended
	head    []string
	tail    []string
	skipped int
}

// Write implements io.Writer.
func (e *excerpt) Write(p []byte) (int, error) {
	if e.also != nil {
		if _, err := e.also.Write(p); err != nil {
			e.also = nil // the excerpt goes on
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			e.part = append(e.part, p...)
			return n, nil
		}
		e.line(string(e.part) + string(p[:i]))
		e.part, p = e.part[:0], p[i+1:]
	}
}

func (e *excerpt) line(s string) {
	if len(e.head) < excerptHead {
		e.head = append(e.head, s)
		return
	}
	if len(e.tail) == excerptTail {
		e.tail = e.tail[1:]
		e.skipped++
	}
	e.tail = append(e.tail, s)
}

// String returns what was kept.
func (e *excerpt) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := append([]string{}, e.head...)
	if e.skipped > 0 {
		lines = append(lines, fmt.Sprintf("... (%d lines) ...", e.skipped))
	}
	lines = append(lines, e.tail...)
	if len(e.part) > 0 {
		lines = append(lines, string(e.part))
	}
	return strings.Join(lines, "\n")
}
