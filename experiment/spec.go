// Package experiment puts one experiment together: environment, target, workload, nemesis, contract
// and report. It is what `assay run`, `assay check` and the assaytest package share.
//
// It decides nothing itself: the harness runs, the checkers judge, the contract permits. It sees to
// the order of things: everything that can be refused is refused before a node starts, the manifest
// is on disk before the run, the history before the judging.
package experiment

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/workloads/log"
)

// What becomes of a run directory.
const (
	KeepOnFailure = "on-failure" // removed when the verdict is valid
	KeepAlways    = "always"
)

// Spec is everything that decides an experiment: what `assay run` takes. Start from Default.
type Spec struct {
	Env          string            `json:"env"`
	Target       string            `json:"target"`
	Mode         string            `json:"mode"`              // "": the first of the target
	Options      map[string]string `json:"options,omitempty"` // --set
	Nodes        int               `json:"nodes"`
	Workload     string            `json:"workload"`
	Nemesis      []string          `json:"nemesis,omitempty"` // faults in the spelling of the command line; empty: none
	Plan         PlanFile          `json:"plan,omitzero"`     // instead of one drawn from the seed
	Time         time.Duration     `json:"time_ns"`           // of the load and the faults
	Rate         int               `json:"rate"`              // ops per second, sends and reads together
	Clients      int               `json:"clients"`
	Seed         uint64            `json:"seed"`
	Interval     time.Duration     `json:"interval_ns"`      // between faults
	CheckTimeout time.Duration     `json:"check_timeout_ns"` // for all judges together
	Keep         string            `json:"keep"`
	Store        string            `json:"store"`
}

// PlanFile is a schedule of faults that somebody wrote or kept, and where it came from.
type PlanFile struct {
	File string        `json:"file,omitempty"`
	Plan *harness.Plan `json:"plan,omitempty"`
}

// Default returns the experiment of `assay run` without flags, with seed 0.
func Default() Spec {
	return Spec{
		Env: EnvSim, Target: reference.Name, Nodes: 3, Workload: log.Name, Time: time.Minute, Rate: 200, Clients: 5, Interval: 10 * time.Second,
		CheckTimeout: 30 * time.Second, Keep: KeepOnFailure, Store: "runs",
	}
}

// Default returns the experiment of the program's `run` without flags: that of the package's
// Default, with the first of the catalog's parts in place of those that it lacks.
func (c Catalog) Default() Spec {
	s := Default()
	if _, err := c.environment(s.Env); err != nil && len(c.Environments) > 0 {
		s.Env = c.Environments[0].Name
	}
	if _, err := c.target(s.Target); err != nil && len(c.Targets) > 0 {
		s.Target = c.Targets[0].Name
	}
	if _, err := c.workload(s.Workload); err != nil && len(c.Workloads) > 0 {
		s.Workload = c.Workloads[0].Name
	}
	return s
}

// NemesisText is the value of --nemesis: the faults, or "none".
func (s *Spec) NemesisText() string {
	if len(s.Nemesis) == 0 {
		return "none"
	}
	return strings.Join(s.Nemesis, ",")
}

// command returns the command that runs the experiment again: the seed, and every flag that is not
// at the default of the program with the catalog. extra are further flags, such as --seeds.
func (s *Spec) command(c Catalog, extra ...string) string {
	d := c.Default()
	args := []string{cmp.Or(c.Program, "assay"), "run"}
	add := func(flag, value, byDefault string) {
		if value != byDefault {
			args = append(args, "--"+flag, quote(value))
		}
	}
	add("env", s.Env, d.Env)
	add("target", s.Target, d.Target)
	add("mode", s.Mode, d.Mode)
	for _, k := range slices.Sorted(maps.Keys(s.Options)) {
		args = append(args, "--set", quote(k+"="+s.Options[k]))
	}
	add("nodes", strconv.Itoa(s.Nodes), strconv.Itoa(d.Nodes))
	add("workload", s.Workload, d.Workload)
	add("nemesis", s.NemesisText(), d.NemesisText())
	add("plan", s.Plan.File, "")
	add("time", duration(s.Time), duration(d.Time))
	add("rate", strconv.Itoa(s.Rate), strconv.Itoa(d.Rate))
	add("clients", strconv.Itoa(s.Clients), strconv.Itoa(d.Clients))
	add("interval", duration(s.Interval), duration(d.Interval))
	add("check-timeout", duration(s.CheckTimeout), duration(d.CheckTimeout))
	add("keep", s.Keep, d.Keep)
	add("store", s.Store, d.Store)
	args = append(args, "--seed", strconv.FormatUint(s.Seed, 10))
	return strings.Join(append(args, extra...), " ")
}

// duration writes whole seconds as such: "90s" is what people type, not "1m30s".
func duration(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}

// quote makes s one word of a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=+,.:/@%", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
