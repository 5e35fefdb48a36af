package experiment

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// A catalog that somebody put together wrongly is refused with a sentence, and not with a panic in
// the middle of a run.
func TestBadCatalogsAreRefused(t *testing.T) {
	whole := Standard()
	other := func(change func(t *target.Target)) func(*Catalog) {
		return func(c *Catalog) {
			copied := *whole.Targets[0]
			change(&copied)
			c.Targets = []*target.Target{&copied}
		}
	}
	for want, change := range map[string]func(*Catalog){
		`two entries for target "reference"`:    func(c *Catalog) { c.Targets = append(c.Targets, c.Targets[0]) },
		`two entries for workload "log"`:        func(c *Catalog) { c.Workloads = append(c.Workloads, c.Workloads[0]) },
		`two entries for environment "sim"`:     func(c *Catalog) { c.Environments = append(c.Environments, c.Environments[0]) },
		`fault "kill": there are two`:           func(c *Catalog) { c.Faults = append(c.Faults[:1:1], c.Faults[0]) },
		"target 2 of the catalog: it is nil":    func(c *Catalog) { c.Targets = append(c.Targets[:1:1], nil) },
		"workload 2 of the catalog":             func(c *Catalog) { c.Workloads = append(c.Workloads[:1:1], Workload{}) },
		`workload "idle" of the catalog: it`:    func(c *Catalog) { c.Workloads = append(c.Workloads, Workload{Name: "idle", New: logWorkload().New}) },
		`environment "moon" of the catalog: it`: func(c *Catalog) { c.Environments = append(c.Environments, Environment{Name: "moon"}) },
		"workload log: its New returned nothing": func(c *Catalog) {
			c.Workloads = []Workload{logWorkload()}
			c.Workloads[0].New = func(WorkloadConfig) (harness.Workload, error) { return nil, nil }
		},
		"it has no modes":              other(func(t *target.Target) { t.Modes = nil }),
		`its mode "master-slave" has`:  other(func(t *target.Target) { t.Modes = append(t.Modes[:1:1], t.Modes[0]) }),
		"it needs both New and Promis": other(func(t *target.Target) { t.Promise = nil }),
		"its New returned nothing": other(func(t *target.Target) {
			t.New = func(target.Config, target.Place) (*target.System, error) { return nil, nil }
		}),
		"it opens no clients": other(func(t *target.Target) {
			t.New = func(target.Config, target.Place) (*target.System, error) {
				return &target.System{Nodes: target.NodeNames(1), Ports: []target.Port{{Name: "p", Number: 1}}}, nil
			}
		}),
		"panicked: no promise": other(func(t *target.Target) {
			t.Promise = func(target.Config) (contract.Promise, error) { panic("no promise") }
		}),
		"panicked: no system": other(func(t *target.Target) {
			t.New = func(target.Config, target.Place) (*target.System, error) { panic("no system") }
		}),
		"its New returned no cluster": func(c *Catalog) {
			c.Environments = []Environment{{Name: "sim", New: func(ClusterConfig) (harness.Cluster, func() error, error) { return nil, nil, nil }}}
		},
	} {
		t.Run(want, func(t *testing.T) {
			c := Standard()
			change(&c)
			require.ErrorContains(t, c.Validate(Default()), want)
		})
	}
}

// Environments hand back what they opened, also for a cluster that is only asked what it can do.
func TestIdleClustersAreClosed(t *testing.T) {
	c, open := Standard(), 0
	sim := c.Environments[0]
	c.Environments[0].New = func(cfg ClusterConfig) (harness.Cluster, func() error, error) {
		cluster, _, err := sim.New(cfg)
		open++
		return cluster, func() error { open--; return nil }, err
	}
	require.NoError(t, c.Validate(Default()))
	require.Zero(t, open)
}

// An environment in which a target cannot live has no faults for it, and hides nobody else's.
func TestFaultsOfAnEnvironmentThatRefusesTheTarget(t *testing.T) {
	c := Standard()
	c.Environments = append(c.Environments, Environment{
		Name: "moon",
		New: func(ClusterConfig) (harness.Cluster, func() error, error) {
			return nil, nil, harness.ErrUnsupported
		},
		Available: func(context.Context) error { return nil },
	})
	faults, err := c.FaultEntries()
	require.NoError(t, err)
	require.NotEmpty(t, faults)
	for _, f := range faults {
		require.NotContains(t, f.Envs, "moon")
		require.Contains(t, f.Envs, "sim")
	}
}
