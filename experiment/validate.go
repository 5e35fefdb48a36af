package experiment

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/nemesis"
)

// TargetReference is the name of the reference broker as a target.
const TargetReference = "reference"

// workloadLog is the name of the log workload.
const workloadLog = "log"

// Bounds of a Spec; what is beyond is a typing error.
const (
	maxRate    = 100_000
	maxClients = 1000
	maxTime    = 24 * time.Hour
)

// prepared is a Spec with everything that follows from it.
type prepared struct {
	Spec
	settings reference.Settings
	contract contract.Config
	plan     harness.Plan
	workload harness.Workload
}

// Validate says what is wrong with the spec, in a sentence that says what to do; nil when it can be run.
func (s *Spec) Validate() error {
	_, err := s.prepare()
	return err
}

// prepare validates the spec and derives what follows from it. Nothing is started or written.
func (s *Spec) prepare() (*prepared, error) {
	p := &prepared{Spec: *s}
	if err := s.checkPlain(); err != nil {
		return nil, err
	}
	var err error
	if p.settings, err = s.target().Settings(); err != nil {
		return nil, err
	}
	if p.contract, err = contract.Parse(s.Mode, s.Nodes, p.settings.Effective()); err != nil {
		return nil, err
	}
	if p.workload, err = newWorkload(s.Workload, p.settings); err != nil {
		return nil, err
	}
	if p.plan, err = s.makePlan(); err != nil {
		return nil, err
	}
	return p, s.checkAbilities(p.plan)
}

// target is the cluster that the spec asks for.
func (s *Spec) target() reference.Spec {
	return reference.Spec{Mode: s.Mode, Nodes: s.Nodes, Options: s.Options}
}

// checkPlain checks what needs no other package.
func (s *Spec) checkPlain() error {
	switch {
	case !slices.Contains(Environments(), s.Env):
		return fmt.Errorf("--env %q: there is %s", s.Env, strings.Join(Environments(), ", "))
	case s.Workload != workloadLog:
		return fmt.Errorf("--workload %q: there is %s", s.Workload, workloadLog)
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
func (s *Spec) makePlan() (harness.Plan, error) {
	if s.Plan.Plan == nil {
		return nemesis.MakePlan(nemesis.PlanConfig{Seed: s.Seed, Faults: s.Nemesis, Time: s.Time, Interval: s.Interval})
	}
	if len(s.Nemesis) > 0 {
		return harness.Plan{}, errors.New("--plan and --nemesis: the plan says which faults strike, so leave --nemesis out")
	}
	if err := nemesis.Check(*s.Plan.Plan, s.Time); err != nil {
		return harness.Plan{}, fmt.Errorf("--plan %s: %w", s.Plan.File, err)
	}
	return *s.Plan.Plan, nil
}

// checkAbilities refuses faults that the environment has no ability for.
func (s *Spec) checkAbilities(plan harness.Plan) error {
	if len(plan.Strikes) == 0 {
		return nil
	}
	c, err := s.idleCluster()
	if err != nil {
		return err
	}
	n, err := nemesis.New(plan)
	if err != nil {
		return err
	}
	if err := n.Supports(c); err != nil {
		return fmt.Errorf("--env %s: %w (assay list faults --env %s lists what it can do)", s.Env, err, s.Env)
	}
	return nil
}
