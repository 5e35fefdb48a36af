package experiment

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// Catalog is what can be chosen. Standard returns ours; whoever has parts of his own appends them
// to its lists. It is a value: nothing is registered anywhere.
type Catalog struct {
	// Program is the name of the binary, for commands that people are told to run. "": assay.
	Program      string
	Targets      []*target.Target
	Workloads    []Workload
	Faults       []nemesis.Kind
	Environments []Environment
}

// Workload is something that can be done to a cluster.
type Workload struct {
	Name string
	Doc  string // one line
	// Options are keys of --set that the workload takes beside the target's. Where both have a key,
	// the target says what it may be.
	Options []harness.Option
	// New makes the workload of one run.
	New func(c WorkloadConfig) (harness.Workload, error)
	// Judging says how its histories are judged, given what the configuration promises after what
	// happened.
	Judging func(t contract.Terms) judge.Rules
}

// WorkloadConfig is what a workload is made of.
type WorkloadConfig struct {
	Options map[string]string // all that are in force, the target's and the workload's
	NoScans bool              // the target cannot be asked what one replica holds
}

// Environment is where a cluster can live.
type Environment struct {
	Name string
	Doc  string // one line
	// Virtual environments live in a synctest bubble: a run has a child process of its own, or is
	// within a test.
	Virtual bool
	// New makes a cluster that is not started. The function that it returns closes what it opened;
	// it may be nil.
	New func(c ClusterConfig) (harness.Cluster, func() error, error)
	// Available says why no cluster can be started now. nil: one always can.
	Available func(ctx context.Context) error
	// Clean removes what runs left behind whose process is gone. nil: they leave nothing.
	Clean func(ctx context.Context, opts CleanOptions) ([]Leftover, error)
}

// ClusterConfig is what an environment makes a cluster of.
type ClusterConfig struct {
	Target *target.Target
	Config target.Config
	Seed   uint64
	// Run gets the logs. nil: the cluster is never started, only asked what it can do.
	Run *histories.Run
}

// CleanOptions narrow and widen what Environment.Clean removes.
type CleanOptions struct {
	PID   int  // only what this process made; 0: any process
	Force bool // also what belongs to processes that are alive, or cannot be looked at
}

// Leftover is a thing that a run left behind.
type Leftover struct {
	Kind string // container, directory, ...
	Name string
	Kept bool // it was not removed: its run is going on, or was started elsewhere
}

// Entry is something to choose, for `assay list`.
type Entry struct{ Name, Doc string }

// IsVirtual reports whether an environment lives in a synctest bubble. One that does not exist does
// not.
func (c Catalog) IsVirtual(env string) bool {
	e, err := c.environment(env)
	return err == nil && e.Virtual
}

// EnvironmentNames lists the environments.
func (c Catalog) EnvironmentNames() []string {
	return namesOf(c.Environments, func(e Environment) string { return e.Name })
}

// EnvironmentEntries lists the environments with what they are.
func (c Catalog) EnvironmentEntries() []Entry {
	var all []Entry
	for _, e := range c.Environments {
		all = append(all, Entry{e.Name, e.Doc})
	}
	return all
}

// Modes lists the modes of all targets. Of a target other than the first, the text names it.
func (c Catalog) Modes() []Entry {
	var all []Entry
	for i, t := range c.Targets {
		for _, m := range t.Modes {
			doc := m.Doc
			if i > 0 {
				doc = fmt.Sprintf("target %s: %s", t.Name, doc)
			}
			all = append(all, Entry{m.Name, doc})
		}
	}
	return all
}

// WorkloadEntries lists the workloads.
func (c Catalog) WorkloadEntries() []Entry {
	var all []Entry
	for _, w := range c.Workloads {
		all = append(all, Entry{w.Name, w.Doc})
	}
	return all
}

// TargetEntries lists the systems that can be tested.
func (c Catalog) TargetEntries() []Entry {
	var all []Entry
	for _, t := range c.Targets {
		all = append(all, Entry{t.Name, t.Doc})
	}
	return all
}

// Options lists the keys of --set by name: those of the targets, and those of the workloads that no
// target has.
func (c Catalog) Options() []harness.Option {
	var all []harness.Option
	for _, t := range c.Targets {
		for _, o := range t.Options {
			if len(o.Modes) == 0 {
				o.Modes = namesOf(t.Modes, func(m target.Mode) string { return m.Name })
			}
			all = append(all, o)
		}
	}
	for _, w := range c.Workloads {
		for _, o := range w.Options {
			if !slices.ContainsFunc(all, func(known harness.Option) bool { return known.Name == o.Name }) {
				o.Modes = []string{"workload " + w.Name}
				all = append(all, o)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b harness.Option) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// FaultEntry is a fault, and where it can be had.
type FaultEntry struct {
	nemesis.Info
	Envs []string
}

// FaultEntries lists the faults, with the environments that have the abilities for them with any
// target, in any of its modes.
func (c Catalog) FaultEntries() ([]FaultEntry, error) {
	set, err := nemesis.NewSet(c.Faults...)
	if err != nil {
		return nil, err
	}
	clusters := make(map[string][]harness.Cluster)
	for _, env := range c.Environments {
		clusters[env.Name] = c.idleClusters(env)
	}
	var all []FaultEntry
	for _, info := range set.Infos() {
		faults, err := set.Faults(info.Name)
		if err != nil {
			return nil, err
		}
		entry := FaultEntry{Info: spellable(set, info)}
		for _, env := range c.EnvironmentNames() {
			if slices.ContainsFunc(clusters[env], func(cl harness.Cluster) bool { return faults[0].Supports(cl) == nil }) {
				entry.Envs = append(entry.Envs, env)
			}
		}
		all = append(all, entry)
	}
	return all, nil
}

// idleClusters are clusters of all targets and modes that live in an environment. What cannot be
// made there (an environment that this machine lacks, a target that does not run in it) has no
// abilities.
func (c Catalog) idleClusters(env Environment) []harness.Cluster {
	const nodes = 4 // enough for every role and shape
	var all []harness.Cluster
	for _, t := range c.Targets {
		for _, m := range t.Modes {
			p := prepared{env: env, target: t, config: target.Config{Mode: m.Name, Nodes: nodes}}
			var err error
			if p.config.Options, err = t.Effective(p.config); err != nil {
				continue
			}
			if cl, err := p.idleCluster(); err == nil {
				all = append(all, cl)
			}
		}
	}
	return all
}

// spellable leaves what can be written: a role may be there only as the default of a fault without
// one, and a shape may be combined.
func spellable(set *nemesis.Set, info nemesis.Info) nemesis.Info {
	can := func(text string) bool {
		_, err := set.Parse(text)
		return err == nil
	}
	info.Roles = slices.DeleteFunc(slices.Clone(info.Roles), func(role string) bool { return !can(info.Name + ":" + role) })
	const withClients = "with-clients"
	if can(info.Name + "/" + withClients) {
		info.Shapes = append(slices.Clone(info.Shapes), withClients)
	}
	return info
}

func namesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = name(all[i])
	}
	return names
}

// find returns the entry of a name. what is what is looked for, for the error.
func find[T any](all []T, what, wanted string, name func(T) string) (T, error) {
	if i := slices.IndexFunc(all, func(t T) bool { return name(t) == wanted }); i >= 0 {
		return all[i], nil
	}
	var none T
	return none, fmt.Errorf("unknown %s %q (want %s)", what, wanted, strings.Join(namesOf(all, name), " or "))
}

func (c Catalog) target(name string) (*target.Target, error) {
	return find(c.Targets, "target", name, func(t *target.Target) string { return t.Name })
}

func (c Catalog) workload(name string) (Workload, error) {
	return find(c.Workloads, "workload", name, func(w Workload) string { return w.Name })
}

func (c Catalog) environment(name string) (Environment, error) {
	return find(c.Environments, "environment", name, func(e Environment) string { return e.Name })
}
