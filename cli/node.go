package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/broker/node"
)

// stopTimeout bounds a node's clean stop; what is not flushed by then is recovered at the next
// start.
const stopTimeout = 20 * time.Second

func (a *app) nodeCommand() *cobra.Command {
	var (
		config  string
		logText bool
	)
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run one broker node on this machine",
		Long: `Run one node of the reference broker until SIGTERM or SIGINT, which stop it cleanly. It ends with exit code 1 when the configuration is
bad or the disk fails: a broker that cannot write any more does not pretend.

The configuration is YAML; an address without a host means 127.0.0.1. Logs are JSON lines on standard error.`,
		Example: `  assay node --config n1.yaml

  # n1.yaml
  cluster: demo
  id: 1
  mode: master-slave
  data: /var/lib/assay/n1
  listen: :9092
  peer: :9192
  metrics: :9292
  nodes:
    - {id: 1, group: 0, kafka: "127.0.0.1:9092", peer: "127.0.0.1:9192"}
    - {id: 2, group: 0, kafka: "127.0.0.1:9093", peer: "127.0.0.1:9193"}
  options: {replication: sync, copies: "2", flush: sync}`,
		Args: exactArgs(0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config == "" {
				return errors.New("node needs --config FILE (see assay node --help for one)")
			}
			return a.node(cmd.Context(), config, logText)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the node's configuration file")
	cmd.Flags().BoolVar(&logText, "log-text", false, "write logs as text instead of JSON")
	return cmd
}

// readConfig reads a node's configuration file.
func readConfig(path string) (node.Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return node.Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	defer file.Close()
	cfg, err := node.LoadConfig(file)
	if err != nil {
		return node.Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

// logger writes structured logs of at least the configured level.
func logger(w io.Writer, level slog.Level, text bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// node runs a node until ctx ends, a signal comes, or its disk fails.
func (a *app) node(ctx context.Context, config string, logText bool) (err error) {
	cfg, err := readConfig(config)
	if err != nil {
		return err
	}
	if cfg.Data == "" {
		return fmt.Errorf("%s: data: a directory for the log is missing", config)
	}
	log := logger(a.stderr, cfg.Level(), logText)
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	unlock, err := lockData(cfg.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", config, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	env, err := node.OSEnv(cfg.Data, log)
	if err != nil {
		return err
	}
	n, err := node.New(cfg, env)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-n.Failed():
		err = fmt.Errorf("node %d: its disk has failed (%s): repair or replace it, and start the node again", cfg.ID, n.Status().Failed)
	}
	cancel() // a second signal ends the process at once
	sctx, done := context.WithTimeout(context.Background(), stopTimeout)
	defer done()
	if serr := n.Stop(sctx); serr != nil && err == nil {
		err = fmt.Errorf("stopping node %d: %w", cfg.ID, serr)
	}
	return err
}
