// Package logserver is a small replicated log, the system that the tests of this module test. The
// first node leads for ever; it copies what it stores to all others, and acknowledges a message
// when every one of them has stored it. It has no failover.
//
// server.go is a node's network side, log.go its messages, replicate.go the copies, and client.go
// the library with which others use it. All of it touches the world only through target.World, so
// that it runs in a simulation as well as by itself (main.go).
package logserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// Port is the name of the one port of a node.
const Port = "log"

// Bugs that can be planted. The empty one is none.
const (
	// BugAckBeforeWrite acknowledges a message when it is in memory, and stores it later.
	BugAckBeforeWrite = "ack-before-write"
	// BugStaleCache answers what the last message is from a cache.
	BugStaleCache = "stale-cache"
)

// Bugs lists the values that Config.Bug may have.
func Bugs() []string { return []string{"none", BugAckBeforeWrite, BugStaleCache} }

// maxLine bounds a request, and maxMessages the messages of one, or of one answer.
const (
	maxLine     = 1 << 20
	maxMessages = 500
)

// Config is what a node has to know of its cluster.
type Config struct {
	Nodes []harness.NodeID // the first one leads
	Bug   string           // one of Bugs; empty: none
}

// Check says what is wrong with a configuration.
func (c Config) Check() error {
	if c.Bug != "" && !slices.Contains(Bugs(), c.Bug) {
		return fmt.Errorf("unknown bug %q (want %s)", c.Bug, strings.Join(Bugs(), " or "))
	}
	return nil
}

// Server is a node.
type Server struct {
	cfg     Config
	world   target.World
	log     *log
	cache   cache // of BugStaleCache
	running sync.WaitGroup
	end     context.CancelFunc
	failed  chan struct{} // closed by fail
	failing sync.Once
	failure string // set before failed is closed
}

var _ target.Node = (*Server)(nil)

// Start starts a node on what its disk holds.
func Start(w target.World, cfg Config) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	stored, err := open(w.FS)
	if err != nil {
		return nil, fmt.Errorf("recovering the log: %w", err)
	}
	stored.early = cfg.Bug == BugAckBeforeWrite
	listener, err := w.Listen("tcp", w.Addr(w.Node, Port))
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, world: w, log: stored, end: end, failed: make(chan struct{})}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	s.running.Go(func() { s.accept(ctx, listener) })
	if s.leads() {
		for _, follower := range cfg.Nodes[1:] {
			s.running.Go(func() { s.copyTo(ctx, follower) })
		}
	}
	if stored.early {
		s.running.Go(func() { s.flushLate(ctx) })
	}
	return s, nil
}

func (s *Server) leads() bool { return s.world.Node == s.cfg.Nodes[0] }

// Stop implements target.Node.
func (s *Server) Stop(context.Context) error {
	s.end()
	s.running.Wait()
	return nil
}

// Failed implements target.Node.
func (s *Server) Failed() <-chan struct{} { return s.failed }

// Failure implements target.Node.
func (s *Server) Failure() string { return s.failure }

// fail ends the node: what its disk holds after an error is not known before the next start.
func (s *Server) fail(err error) error {
	s.failing.Do(func() {
		s.failure = err.Error()
		close(s.failed)
		s.end()
	})
	return err
}

func (s *Server) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // ctx has ended, nothing else closes it
		}
		s.running.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s.serve(ctx, conn)
		})
	}
}

// serve answers the requests of one connection, line by line.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		answer, err := s.do(ctx, strings.Fields(lines.Text()))
		if s.gone() {
			return // the client learns nothing, which is the truth
		}
		if err != nil {
			answer = "no " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if _, err := fmt.Fprintln(conn, answer); err != nil {
			return
		}
	}
}

func (s *Server) gone() bool {
	select {
	case <-s.failed:
		return true
	default:
		return false
	}
}

// do carries out a request. An error means that it was refused, and that nothing was changed.
func (s *Server) do(ctx context.Context, words []string) (answer string, err error) {
	if len(words) == 0 {
		return "", errors.New("an empty request")
	}
	args, err := numbers(words[1:])
	if err != nil {
		return "", err
	}
	switch name := words[0]; {
	case name == "append" && len(args) >= 2:
		return s.append(ctx, args[0], nil, args[1:]) // PARTITION VALUE...: ok OFFSET
	case name == "swap" && len(args) == 3:
		return s.append(ctx, args[0], &args[1], args[2:]) // PARTITION OLD NEW: ok OFFSET
	case name == "read" && len(args) == 2:
		end, values := s.log.read(args[0], args[1]) // PARTITION FROM: ok END VALUE...
		return ok(append([]int64{end}, values...)), nil
	case name == "last" && len(args) == 1:
		return ok([]int64{s.last(args[0])}), nil // PARTITION: ok VALUE, -1 of an empty one
	case name == "status" && len(args) == 0:
		return ok([]int64{btoi(s.leads()), s.log.total()}), nil // ok LEADS MESSAGES
	case name == "resync" && len(args) == 0 && !s.leads():
		n, err := s.log.clear() // ok MESSAGES
		if err != nil {
			return "", s.fail(err)
		}
		return ok([]int64{n}), nil
	case name == "store" && len(args) >= 2 && !s.leads():
		end, err := s.log.store(args[0], args[1], args[2:]) // PARTITION FROM VALUE...: ok END
		if err != nil {
			return "", s.fail(err)
		}
		return ok([]int64{end}), nil
	}
	return "", fmt.Errorf("a bad request: %s with %d arguments", words[0], len(args))
}

func numbers(words []string) ([]int64, error) {
	all := make([]int64, len(words))
	for i, w := range words {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return nil, err
		}
		all[i] = n
	}
	return all, nil
}

func ok(numbers []int64) string { return line("ok", numbers) }

func line(word string, numbers []int64) string {
	var b strings.Builder
	b.WriteString(word)
	for _, n := range numbers {
		fmt.Fprintf(&b, " %d", n)
	}
	return b.String()
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
