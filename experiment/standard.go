package experiment

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/docker"
	"github.com/assay-project/assay/harness/cluster/local"
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/nemesis"
	"github.com/assay-project/assay/workloads/log"
)

// Names of the standard environments.
const (
	EnvSim    = "sim"    // in one process, virtual time
	EnvDocker = "docker" // containers
	EnvLocal  = "local"  // processes of this machine
)

// Standard returns the parts that come with assay.
func Standard() Catalog {
	return Catalog{
		Targets:      []*target.Target{reference.Target()},
		Workloads:    []Workload{logWorkload()},
		Faults:       nemesis.Stock(),
		Environments: []Environment{simEnvironment(), dockerEnvironment(), localEnvironment()},
	}
}

// logWorkload is the workload log.
func logWorkload() Workload {
	return Workload{
		Name: log.Name, Options: log.Options(), Judging: log.Judging,
		Doc: "unique values sent to partitions, read from assigned positions, read to the end and scanned on every replica afterwards",
		New: func(c WorkloadConfig) (harness.Workload, error) {
			cfg, err := log.ParseConfig(c.Options)
			if err != nil {
				return nil, err
			}
			cfg.NoScans = c.NoScans
			return log.New(cfg)
		},
	}
}

func simEnvironment() Environment {
	return Environment{
		Name: EnvSim, Doc: "all nodes in one process, in virtual time, with a network and disks that break", Virtual: true,
		New: func(c ClusterConfig) (harness.Cluster, func() error, error) {
			cfg := sim.Config{Target: c.Target, Config: c.Config, Seed: c.Seed}
			if c.Run == nil {
				cluster, err := sim.New(cfg)
				return cluster, nil, err
			}
			logs := newNodeLogs(c.Run)
			cfg.Logs = logs.handler
			cluster, err := sim.New(cfg)
			return cluster, logs.close, err
		},
	}
}

func dockerEnvironment() Environment {
	return Environment{
		Name: EnvDocker, Doc: "every node in a container, with real time, kernel and network",
		New: func(c ClusterConfig) (harness.Cluster, func() error, error) {
			cfg := docker.Config{Target: c.Target, Config: c.Config, RunID: "idle"}
			return realCluster(c, func(log *slog.Logger) (harness.Cluster, error) {
				if c.Run != nil {
					cfg.RunID, cfg.LogDir, cfg.Logger = runID(c.Run), c.Run.NodesDir(), log
				}
				return docker.New(cfg)
			})
		},
		Available: func(ctx context.Context) error {
			if err := docker.Available(ctx); err != nil {
				return fmt.Errorf("--env docker: %w (--env sim needs none)", err)
			}
			return nil
		},
		Clean: cleanDocker,
	}
}

func cleanDocker(ctx context.Context, opts CleanOptions) ([]Leftover, error) {
	clean := func() (docker.Report, error) { return docker.Clean(ctx, opts.Force) }
	if opts.PID != 0 {
		clean = func() (docker.Report, error) { return docker.CleanProcess(ctx, opts.PID) }
	}
	r, err := clean()
	var all []Leftover
	for _, kind := range []struct {
		name  string
		names []string
	}{{"container", r.Containers}, {"volume", r.Volumes}, {"network", r.Networks}, {"image", r.Images}} {
		for _, name := range kind.names {
			all = append(all, Leftover{Kind: kind.name, Name: name})
		}
	}
	for _, name := range r.Kept {
		all = append(all, Leftover{Name: name, Kept: true})
	}
	return all, err
}

func localEnvironment() Environment {
	return Environment{
		Name: EnvLocal, Doc: "every node a process of this machine, on loopback, with real time and kernel",
		New: func(c ClusterConfig) (harness.Cluster, func() error, error) {
			cfg := local.Config{Target: c.Target, Config: c.Config, RunID: "idle"}
			return realCluster(c, func(log *slog.Logger) (harness.Cluster, error) {
				if c.Run != nil {
					cfg.RunID, cfg.LogDir, cfg.Logger = runID(c.Run), c.Run.NodesDir(), log
				}
				return local.New(cfg)
			})
		},
		Clean: func(ctx context.Context, opts CleanOptions) ([]Leftover, error) {
			clean := local.Clean
			if opts.PID != 0 {
				clean = func(ctx context.Context) (removed, kept []string, err error) {
					return local.CleanProcess(ctx, opts.PID)
				}
			}
			removed, kept, err := clean(ctx)
			var all []Leftover
			for _, name := range removed {
				all = append(all, Leftover{Kind: "directory", Name: name})
			}
			for _, name := range kept {
				all = append(all, Leftover{Name: name, Kept: true})
			}
			return all, err
		},
	}
}

// realCluster opens the environment's log for a cluster that will be started.
func realCluster(c ClusterConfig, build func(log *slog.Logger) (harness.Cluster, error)) (harness.Cluster, func() error, error) {
	if c.Run == nil {
		cluster, err := build(nil)
		return cluster, nil, err
	}
	log, closeLog, err := environmentLog(c.Run)
	if err != nil {
		return nil, nil, err
	}
	cluster, err := build(log)
	return cluster, closeLog, err
}
