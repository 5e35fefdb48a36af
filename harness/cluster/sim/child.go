package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// childEnv tells a process that it is the child of Spawn.
const childEnv = "ASSAY_SIM_CHILD"

// resultFD is the descriptor on which the child answers; standard output belongs to package testing there.
const resultFD = 3

const (
	defaultStall = 10 * time.Second
	defaultLimit = 24 * time.Hour
	bubbleTick   = 100 * time.Millisecond // virtual: how often the bubble shows that it lives, and looks for a stop request
	guardTicks   = 40                     // looks of the guard within Request.Stall
	stopGrace    = time.Minute            // wall: from a stop request to the child's end
	childGC      = 400                    // GC percent: the child is short-lived and small, its speed counts
)

// Handler does one request inside a synctest bubble. ctx was made inside it and ends when the parent asks to stop; progress sends a JSON value
// to the parent's onMessage; the result is a JSON value. The process exits when the handler returns: nothing has to be closed for its sake.
type Handler func(ctx context.Context, request json.RawMessage, progress func(json.RawMessage)) (json.RawMessage, error)

// line is one line of the child's answer. Exactly one field is set.
type line struct {
	Message json.RawMessage `json:"message,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   string          `json:"error,omitempty"`
	Beat    int64           `json:"beat,omitempty"` // virtual ns so far
}

// envelope is the one line of the child's standard input; whatever follows, its end included, is a request to stop.
type envelope struct {
	Handler string          `json:"handler"`
	Stall   time.Duration   `json:"stall_ns"`
	Limit   time.Duration   `json:"limit_ns"`
	Body    json.RawMessage `json:"body"`
}

// ChildMain returns at once in an ordinary process. In the child of Spawn it carries out the request in a synctest bubble and ends the
// process. main calls it first, before it looks at its arguments; a test binary calls it first in TestMain.
func ChildMain(handlers map[string]Handler) {
	if os.Getenv(childEnv) == "" {
		return
	}
	_ = os.Unsetenv(childEnv)
	c := &child{out: os.NewFile(resultFD, "results")}
	// Ctrl-C in a terminal reaches the child as well as its parent.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	in := bufio.NewReader(os.Stdin)
	first, err := in.ReadBytes('\n')
	if err != nil {
		c.fail(fmt.Errorf("no request on standard input: %w", err))
	}
	if err := json.Unmarshal(first, &c.req); err != nil {
		c.fail(fmt.Errorf("the request on standard input: %w", err))
	}
	handler := handlers[c.req.Handler]
	if handler == nil {
		c.fail(fmt.Errorf("this program has no handler %q", c.req.Handler))
	}
	go c.awaitSignal(signals)
	go c.awaitStop(in)
	go c.guard()
	debug.SetGCPercent(childGC)
	runtime.MemProfileRate = 0 // nobody reads it
	// Package testing is the only way to a bubble. It parses os.Args, prints on standard output and exits.
	os.Args = []string{os.Args[0], "-test.timeout=0"}
	testing.Main(func(_, _ string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "sim", F: func(t *testing.T) {
			synctest.Test(t, func(*testing.T) { c.inBubble(handler) })
		}}}, nil, nil)
}

// child is the state of a child process. What both sides of the bubble's wall touch is atomic, or behind a lock that is held for one write.
type child struct {
	req     envelope
	virtual atomic.Int64 // ns since the bubble began, as of its last tick; 0 before
	stop    atomic.Bool

	mu  sync.Mutex // one line at a time
	out io.Writer
}

func (c *child) send(l line) {
	b, err := json.Marshal(l)
	if err != nil {
		b, _ = json.Marshal(line{Error: fmt.Sprintf("the simulation's answer cannot be encoded: %v", err)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.out.Write(append(b, '\n')) // without a parent there is nobody to tell
}

// fail ends the process with an error.
func (c *child) fail(err error) {
	c.send(line{Error: err.Error()})
	os.Exit(1)
}

// die ends the process with an error and every goroutine's stack on standard error.
func (c *child) die(format string, args ...any) {
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
	c.fail(fmt.Errorf(format, args...))
}

// inBubble is the bubble's main goroutine.
func (c *child) inBubble(handler Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := time.Now()
	go func() {
		for {
			time.Sleep(bubbleTick)
			c.virtual.Store(int64(time.Since(start)))
			if c.stop.Load() {
				cancel()
			}
			if took := time.Since(start); took > c.req.Limit {
				c.die("the simulation was not over after %v of its own time; the stacks of its goroutines are on standard error", took)
			}
		}
	}()
	result, err := handler(ctx, c.req.Body, func(m json.RawMessage) { c.send(line{Message: m}) })
	if err != nil {
		c.fail(err)
	}
	if result == nil {
		result = json.RawMessage("null")
	}
	c.send(line{Result: result})
	os.Exit(0)
}

// awaitStop runs outside the bubble. The end of the input is also the parent's end.
func (c *child) awaitStop(in io.Reader) {
	_, _ = in.Read(make([]byte, 1))
	c.stop.Store(true)
	time.Sleep(stopGrace)
	c.die("the simulation did not stop within %v of being asked to", stopGrace)
}

// awaitSignal runs outside the bubble.
func (c *child) awaitSignal(signals <-chan os.Signal) {
	for range signals {
		c.stop.Store(true)
	}
}

// guard runs outside the bubble and watches virtual time. It counts its own looks, not wall time: a suspended machine is no stall.
func (c *child) guard() {
	seen, still, unsaid := int64(-1), 0, 0
	for {
		time.Sleep(c.req.Stall / guardTicks)
		if now := c.virtual.Load(); now != seen {
			seen, still = now, 0
		} else if still++; still > guardTicks {
			c.die("virtual time has stood still at %v for %v: something in the simulation waits for what no bubble can give it, or spins; "+
				"the stacks of its goroutines are on standard error", time.Duration(seen), c.req.Stall)
		}
		if unsaid++; unsaid >= guardTicks/10 {
			unsaid = 0
			c.send(line{Beat: max(1, seen)})
		}
	}
}
