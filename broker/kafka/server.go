package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrServerClosed is returned by Serve when Close was called before it.
var ErrServerClosed = errors.New("kafka: server closed")

// Config says what a Server allows. The zero value of every field but Rand is a usable default.
type Config struct {
	MaxConnections  int           // connections served at once, the next ones are closed at once; default 1000
	MaxRequestBytes int           // a Produce request's size without its length; default 16 MiB. Other requests: at most 1 MiB.
	MaxMessageBytes int           // a record batch's size (Kafka's message.max.bytes); default 1 MiB + 12
	MaxFetchBytes   int           // record batches in one Fetch response, the first batch excepted; default 16 MiB
	MaxPartitions   int           // of one topic; default 4096
	MaxInFlight     int           // Produce requests of one connection that wait at once; default 256
	IdleTimeout     time.Duration // a connection without a request is closed after it; default 10 min
	IOTimeout       time.Duration // to receive the rest of a request whose length has come, or to send a response; default 30 s
	// AutoCreateTopics lets Metadata create the topics that it is asked for when the client allows it (auto.create.topics.enable).
	AutoCreateTopics bool
	// Rand gives the producer ids; it is the server's from here on, and must be set.
	Rand *rand.Rand
	// BrokerConfigs and TopicConfigs are what DescribeConfigs answers besides what the server itself knows.
	BrokerConfigs map[string]string
	TopicConfigs  map[string]string
}

// The defaults of Config.
const (
	DefaultMaxConnections  = 1000
	DefaultMaxRequestBytes = 16 << 20
	DefaultMaxMessageBytes = 1<<20 + 12 // Kafka's message.max.bytes
	DefaultMaxFetchBytes   = 16 << 20
	DefaultMaxPartitions   = 4096
	DefaultMaxInFlight     = 256
	DefaultIdleTimeout     = 10 * time.Minute
	DefaultIOTimeout       = 30 * time.Second
)

func (c Config) withDefaults() Config {
	c.MaxConnections = orDefault(c.MaxConnections, DefaultMaxConnections)
	c.MaxRequestBytes = orDefault(c.MaxRequestBytes, DefaultMaxRequestBytes)
	c.MaxMessageBytes = orDefault(c.MaxMessageBytes, DefaultMaxMessageBytes)
	c.MaxFetchBytes = orDefault(c.MaxFetchBytes, DefaultMaxFetchBytes)
	c.MaxPartitions = orDefault(c.MaxPartitions, DefaultMaxPartitions)
	c.MaxInFlight = orDefault(c.MaxInFlight, DefaultMaxInFlight)
	c.IdleTimeout = orDefault(c.IdleTimeout, DefaultIdleTimeout)
	c.IOTimeout = orDefault(c.IOTimeout, DefaultIOTimeout)
	return c
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Stats counts what a Server has done since it was made.
type Stats struct {
	Connections int64 // open now
	Refused     int64 // connections closed because there were MaxConnections already
	Requests    int64 // requests started
	Malformed   int64 // connections closed because of what they sent
	BytesIn     int64 // of requests, lengths included
	BytesOut    int64 // of responses, lengths included
}

type counters struct {
	refused, requests, malformed, bytesIn, bytesOut atomic.Int64
}

// Server serves the Kafka protocol over any number of listeners. Its methods may be called from any number of goroutines.
type Server struct {
	cfg     Config
	backend Backend
	log     *slog.Logger
	count   counters
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // every goroutine that serves a connection, and every Serve

	randMu sync.Mutex // guards cfg.Rand

	mu        sync.Mutex // guards what follows; never held across a wait
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
}

// NewServer returns a server that has no listener yet. It panics when cfg.Rand is nil, which is a programmer's error: there
// is no default source of randomness here.
func NewServer(cfg Config, backend Backend, logger *slog.Logger) *Server {
	if cfg.Rand == nil {
		panic("kafka: NewServer without Config.Rand")
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg.withDefaults(), backend: backend, log: logger, ctx: ctx, cancel: cancel,
		listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{},
	}
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Connections: int64(open),
		Refused:     s.count.refused.Load(),
		Requests:    s.count.requests.Load(),
		Malformed:   s.count.malformed.Load(),
		BytesIn:     s.count.bytesIn.Load(),
		BytesOut:    s.count.bytesOut.Load(),
	}
}

// Serve accepts connections until Close, and then returns nil. It closes the listener on every way out. An error means that the
// listener failed for good; connections that are open then go on.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.addListener(l) {
		return ErrServerClosed
	}
	defer s.removeListener(l)
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.accept(nc)
		case s.ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("kafka: listener %s was closed: %w", l.Addr(), err)
		default: // out of file descriptors, a connection reset before it was accepted: what passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed, trying again", "listener", l.Addr().String(), "err", err, "pause", pause)
			if !s.sleep(pause) {
				return nil
			}
		}
	}
}

func (s *Server) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	s.wg.Done()
}

// accept starts serving a connection, or closes it when there are too many.
func (s *Server) accept(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.MaxConnections
	if s.closed || full {
		s.mu.Unlock()
		c.close()
		if full {
			s.count.refused.Add(1)
			s.log.Warn("connection refused: too many are open", "client", nc.RemoteAddr().String(), "max", s.cfg.MaxConnections)
		}
		return
	}
	s.wg.Add(1)
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// Close closes all listeners and connections and returns when every goroutine of the server has ended. What waited for
// an acknowledgement gets no answer. It may be called again.
func (s *Server) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	listeners := make([]net.Listener, 0, len(s.listeners))
	for l := range s.listeners {
		listeners = append(listeners, l)
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("kafka: close listener %s: %w", l.Addr(), err))
		}
	}
	for _, c := range conns {
		c.close()
	}
	s.wg.Wait()
	return errors.Join(errs...)
}
