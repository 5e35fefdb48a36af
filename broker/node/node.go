// Package node puts one broker together: a replica of its group's log, the protocol server in front of it, and metrics. It is what `assay
// node` runs, and what a simulation runs many times in one process: everything that a node touches is handed to it in an Env.
//
// It decides nothing about replication and knows nothing of the wire.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/broker/replication/masterslave"
)

// Node is one broker. Make it with New, run it with Start.
type Node struct {
	cfg     Config
	env     Env
	opts    masterslave.Options
	group   int32
	brokers []kafka.BrokerView
	logger  *slog.Logger
	metrics *metrics

	replica *masterslave.Replica
	server  *kafka.Server
	http    *http.Server // nil without metrics
	wg      sync.WaitGroup

	// stopping has one token: Start and Stop take it, so that they do not meet.
	stopping chan struct{}
	started  bool // guarded by stopping
	stopped  bool // guarded by stopping
}

// New checks the configuration and recovers the node's log. Nothing runs yet; after an error nothing is open.
func New(cfg Config, env Env) (*Node, error) {
	cfg = cfg.withDefaults()
	opts, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("node: configuration: %w", err)
	}
	n := &Node{cfg: cfg, env: env, opts: opts, stopping: make(chan struct{}, 1)}
	if n.logger = env.Logger; n.logger == nil {
		n.logger = slog.New(slog.DiscardHandler)
	}
	n.logger = n.logger.With("node", cfg.ID)
	if n.brokers, err = brokerViews(cfg.Nodes); err != nil {
		return nil, fmt.Errorf("node: configuration: %w", err)
	}
	for _, m := range cfg.Nodes {
		if m.ID == cfg.ID {
			n.group = m.Group
		}
	}
	n.metrics = newMetrics(n.Status, func() kafka.Stats { return n.server.Stats() })
	n.replica, err = masterslave.Open(masterslave.Config{
		Cluster: cfg.Cluster, Node: cfg.ID, Members: cfg.Members(), Options: opts, FS: env.FS, Dial: env.Dial,
		Rand: split(env.Rand), Logger: n.logger, Observer: n.metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", cfg.ID, err)
	}
	n.server = kafka.NewServer(kafka.Config{
		MaxPartitions: partitions.MaxPartitions, AutoCreateTopics: opts.AutoCreate, Rand: split(env.Rand), BrokerConfigs: n.brokerConfigs(), TopicConfigs: n.topicConfigs(),
	}, &backend{n: n}, n.logger)
	return n, nil
}

// split gives a part of the node a random source of its own, since a source is for one goroutine.
func split(r *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(r.Uint64(), r.Uint64())) }

// brokerConfigs is what DescribeConfigs answers for a broker: the mode and its options.
func (n *Node) brokerConfigs() map[string]string {
	out := n.opts.Values()
	out["mode"] = n.cfg.Mode
	return out
}

// topicConfigs is what DescribeConfigs answers for a topic, apart from what the server knows.
func (n *Node) topicConfigs() map[string]string {
	return map[string]string{"min.insync.replicas": strconv.Itoa(n.opts.Copies)}
}

// Start listens and serves. ctx bounds the start only. After an error the node is stopped.
func (n *Node) Start(ctx context.Context) error {
	n.stopping <- struct{}{}
	defer func() { <-n.stopping }()
	if n.started || n.stopped {
		return errors.New("node: it was started or stopped before")
	}
	var open []net.Listener
	listen := func(what, addr string) (net.Listener, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := n.env.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("node %d: listen for %s at %s: %w", n.cfg.ID, what, addr, err)
		}
		open = append(open, l)
		return l, nil
	}
	peers, err := listen("peers", n.cfg.Peer)
	var clients, scrapes net.Listener
	if err == nil {
		clients, err = listen("clients", n.cfg.Listen)
	}
	if err == nil && n.cfg.Metrics != "" {
		scrapes, err = listen("metrics", n.cfg.Metrics)
	}
	if err != nil {
		for _, l := range open {
			_ = l.Close()
		}
		n.stopped = true
		return errors.Join(err, n.replica.Close())
	}
	n.started = true
	n.replica.Start(peers)
	n.goes("clients", func() error { return n.server.Serve(clients) })
	if scrapes != nil {
		n.http = &http.Server{Handler: n.metrics.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
		n.goes("metrics", func() error { return n.http.Serve(scrapes) })
	}
	n.logger.Info("node started", "cluster", n.cfg.Cluster, "group", n.group, "mode", n.cfg.Mode, "options", n.cfg.Options,
		"listen", n.cfg.Listen, "peer", n.cfg.Peer, "metrics", n.cfg.Metrics)
	return nil
}

func (n *Node) goes(what string, serve func() error) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, kafka.ErrServerClosed) {
			n.logger.Error("listener failed", "what", what, "err", err)
		}
	}()
}

// Stop stops serving, waits for every goroutine, and flushes and closes the log. ctx bounds only the wait for metrics requests
// under way: a disk that answers no more holds Stop up. A second call does nothing.
func (n *Node) Stop(ctx context.Context) error {
	n.stopping <- struct{}{}
	defer func() { <-n.stopping }()
	if n.stopped {
		return nil
	}
	n.stopped = true
	var errs []error
	if n.started {
		n.logger.Info("node stops")
		errs = append(errs, n.server.Close())
		if n.http != nil {
			if err := n.http.Shutdown(ctx); err != nil {
				errs = append(errs, err, n.http.Close())
			}
		}
	}
	errs = append(errs, n.replica.Close())
	n.wg.Wait()
	return errors.Join(errs...)
}

// Failed returns a channel that is closed when the node's disk has failed. The node then takes no more writes, and goes on
// serving what was committed.
func (n *Node) Failed() <-chan struct{} { return n.replica.Failed() }

// Status returns what the node says of itself.
func (n *Node) Status() masterslave.Status { return n.replica.Status() }
