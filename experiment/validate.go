package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/nemesis"
)

// Bounds of a Spec; what is beyond is a typing error.
const (
	maxRate    = 100_000
	maxClients = 1000
	maxTime    = 24 * time.Hour
)

// prepared is a Spec with everything that follows from it.
type prepared struct {
	Spec
	catalog  Catalog
	env      Environment
	target   *target.Target
	config   target.Config     // for the target: the mode, whether named or not, and its own options in force
	options  map[string]string // all that are in force
	promise  contract.Promise
	kind     Workload
	workload harness.Workload
	faults   *nemesis.Set
	plan     harness.Plan
}

// Validate says what is wrong with a spec, in a sentence that says what to do; nil when it can be
// run.
func (c Catalog) Validate(s Spec) error {
	_, err := c.prepare(s)
	return err
}

// prepare validates the spec and derives what follows from it. Nothing is started or written.
func (c Catalog) prepare(s Spec) (*prepared, error) {
	if err := s.checkPlain(); err != nil {
		return nil, err
	}
	p, err := c.choose(s)
	if err != nil {
		return nil, err
	}
	if p.plan, err = p.makePlan(); err != nil {
		return nil, err
	}
	return p, p.checkAbilities()
}

// choose finds the parts that a spec names, and the options in force. A part that panics is an
// error.
func (c Catalog) choose(s Spec) (p *prepared, err error) {
	defer harness.Guard("a part of the catalog", &err)
	if err := c.check(); err != nil {
		return nil, err
	}
	p = &prepared{Spec: s, catalog: c}
	if p.env, err = c.environment(s.Env); err != nil {
		return nil, err
	}
	if p.target, err = c.target(s.Target); err != nil {
		return nil, err
	}
	if p.kind, err = c.workload(s.Workload); err != nil {
		return nil, err
	}
	if p.faults, err = nemesis.NewSet(c.Faults...); err != nil {
		return nil, err
	}
	p.config = target.Config{Mode: p.Mode, Nodes: p.Nodes, Options: make(map[string]string)}
	if first := p.target.Modes[0].Name; p.Mode == "" || p.Mode == first {
		p.config.Mode, p.Mode = first, "" // what goes without saying is not said in the command that runs it again
	}
	if err := p.setOptions(); err != nil {
		return nil, err
	}
	if p.workload, err = p.kind.New(WorkloadConfig{Options: p.options, NoScans: p.target.NoScans}); err != nil {
		return nil, err
	}
	if p.workload == nil {
		return nil, fmt.Errorf("workload %s: its New returned nothing", p.Workload)
	}
	return p, p.checkFunctions()
}

// checkFunctions refuses a workload that asks for what the target's clients cannot do.
func (p *prepared) checkFunctions() error {
	can := p.target.Functions
	for _, f := range p.workload.Functions() {
		if can != nil && !slices.Contains(can, f.Name) {
			return fmt.Errorf("workload %s needs clients that can do %q, and those of target %s do %s: choose another --workload or --target",
				p.Workload, f.Name, p.target.Name, strings.Join(can, ", "))
		}
	}
	return nil
}

// setOptions deals the options out to target and workload, and finds those in force.
func (p *prepared) setOptions() error {
	p.options = make(map[string]string)
	for _, o := range p.kind.Options {
		p.options[o.Name] = o.Default
	}
	for _, k := range slices.Sorted(maps.Keys(p.Options)) {
		switch {
		case hasOption(p.target.Options, p.config.Mode, k):
			p.config.Options[k] = p.Options[k]
		case hasOption(p.kind.Options, p.config.Mode, k):
			i := slices.IndexFunc(p.kind.Options, func(o harness.Option) bool { return o.Name == k && o.In(p.config.Mode) })
			if err := p.kind.Options[i].Check(p.Options[k]); err != nil {
				return err
			}
			p.options[k] = p.Options[k]
		default:
			return p.unknownOption(k)
		}
	}
	effective, err := p.target.Effective(p.config)
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(effective)) {
		if !hasOption(p.target.Options, p.config.Mode, k) { // the run could not be judged
			return fmt.Errorf("target %s is configured with the option %q, which it does not list for mode %s", p.target.Name, k, p.config.Mode)
		}
	}
	maps.Copy(p.options, effective)
	p.config.Options = effective
	p.promise, err = p.target.Promise(target.Config{Mode: p.config.Mode, Nodes: p.Nodes, Options: p.options})
	return err
}

// unknownOption is the error of a key that neither the target nor the workload has. A bad mode is
// the better reason.
func (p *prepared) unknownOption(key string) error {
	if _, err := p.target.Effective(target.Config{Mode: p.config.Mode, Nodes: p.Nodes}); err != nil {
		return err
	}
	return unknownOption(p.target, p.kind, p.config.Mode, key)
}

// unknownOption names the options that there are.
func unknownOption(t *target.Target, w Workload, mode, key string) error {
	var names []string
	for _, o := range slices.Concat(t.Options, w.Options) {
		if o.In(mode) && !slices.Contains(names, o.Name) {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return fmt.Errorf("mode %s has no option %q; it has %s", mode, key, strings.Join(names, ", "))
}

func hasOption(all []harness.Option, mode, name string) bool {
	return slices.ContainsFunc(all, func(o harness.Option) bool { return o.Name == name && o.In(mode) })
}

// checkPlain checks what needs no other package.
func (s *Spec) checkPlain() error {
	switch {
	case s.Time < time.Second || s.Time > maxTime:
		return fmt.Errorf("--time %v: give 1s to %v", s.Time, maxTime)
	case s.Rate < 1 || s.Rate > maxRate:
		return fmt.Errorf("--rate %d: give 1 to %d operations per second", s.Rate, maxRate)
	case s.Clients < 1 || s.Clients > maxClients:
		return fmt.Errorf("--clients %d: give 1 to %d", s.Clients, maxClients)
	case s.Interval <= 0:
		return fmt.Errorf("--interval %v: give a positive duration, such as 10s", s.Interval)
	case s.CheckTimeout <= 0:
		return fmt.Errorf("--check-timeout %v: give a positive duration, such as 30s", s.CheckTimeout)
	case s.Keep != KeepOnFailure && s.Keep != KeepAlways:
		return fmt.Errorf("--keep %q: give %s or %s", s.Keep, KeepOnFailure, KeepAlways)
	case s.Store == "":
		return errors.New("--store is empty: give a directory, such as runs")
	}
	return nil
}

// makePlan draws the plan, or takes the one that was given.
func (p *prepared) makePlan() (harness.Plan, error) {
	if p.Plan.Plan == nil {
		return p.faults.MakePlan(nemesis.PlanConfig{Seed: p.Seed, Faults: p.Nemesis, Time: p.Time, Interval: p.Interval})
	}
	if len(p.Nemesis) > 0 {
		return harness.Plan{}, errors.New("--plan and --nemesis: the plan says which faults strike, so leave --nemesis out")
	}
	if err := p.faults.Check(*p.Plan.Plan, p.Time); err != nil {
		return harness.Plan{}, fmt.Errorf("--plan %s: %w", p.Plan.File, err)
	}
	return *p.Plan.Plan, nil
}

// checkAbilities refuses what the environment cannot do: the target itself, and faults that it has
// no ability for.
func (p *prepared) checkAbilities() error {
	c, err := p.idleCluster()
	if err != nil {
		return fmt.Errorf("--env %s: %w", p.Env, err)
	}
	if len(p.plan.Strikes) == 0 {
		return nil
	}
	n, err := p.faults.New(p.plan)
	if err != nil {
		return err
	}
	if err := n.Supports(c); err != nil {
		return fmt.Errorf("--env %s: %w (%s list faults --env %s lists what it can do)", p.Env, err, cmp.Or(p.catalog.Program, "assay"), p.Env)
	}
	return nil
}
