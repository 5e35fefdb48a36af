package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/report"
)

// runFlags are the flags of `assay run`.
type runFlags struct {
	spec     experiment.Spec
	set      []string
	nemesis  []string
	seeds    int
	jobs     int
	json     bool
	progress bool
}

func (a *app) runCommand() *cobra.Command {
	f := runFlags{spec: a.catalog.Default()}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run one experiment: a cluster, a load, faults, a verdict",
		Long: `Start a cluster, drive a workload, inject faults, record every operation, heal everything, wait until the cluster is well
again, read everything, and judge the history.

A fault is name[:role][/shape]; assay list faults has them all. Everything that is drawn derives from --seed.`,
		Example: `  assay run --nemesis kill,partition,pause
  assay run --nodes 2 --set replication=async --nemesis slow:follower,wipe:leader,promote
  assay run --nodes 2 --set replication=sync --set copies=2 --nemesis slow:follower,wipe:leader,promote
  assay run --set flush=sync --nemesis power:leader --seeds 200 --jobs 2
  assay run --env docker --nemesis kill,partition:leader/alone --json`,
		Args: exactArgs(0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("plan") && f.spec.Plan.File == "" {
				return errors.New("--plan is empty: give a file, or leave the flag out")
			}
			if err := f.finish(a.catalog, cmd.Flags().Changed("seed")); err != nil {
				return err
			}
			return a.run(cmd.Context(), &f)
		},
	}
	f.bind(cmd, a.catalog.EnvironmentNames())
	return cmd
}

func (f *runFlags) bind(cmd *cobra.Command, environments []string) {
	s, fl := &f.spec, cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&s.Env, "env", s.Env, "where the cluster lives: "+strings.Join(environments, ", ")+"; see assay list environments")
	fl.StringVar(&s.Target, "target", s.Target, "the system to test; see assay list targets")
	fl.StringVar(&s.Mode, "mode", s.Mode, "replication mode (default: the target's first); see assay list modes")
	fl.StringArrayVar(&f.set, "set", nil, "an option of the mode or the workload, key=value; may be repeated; see assay list options")
	fl.IntVar(&s.Nodes, "nodes", s.Nodes, "broker nodes")
	fl.StringVar(&s.Workload, "workload", s.Workload, "what is done to the cluster; see assay list workloads")
	fl.StringSliceVar(&f.nemesis, "nemesis", []string{"none"}, "faults, or none; see assay list faults")
	fl.StringVar(&s.Plan.File, "plan", "", "take the schedule of faults from this file: a plan, a manifest.json or a run directory")
	fl.DurationVar(&s.Time, "time", s.Time, "length of the load and the faults; set-up, recovery and final reads come on top")
	fl.IntVar(&s.Rate, "rate", s.Rate, "operations per second, half of them sends, half reads")
	fl.IntVar(&s.Clients, "clients", s.Clients, "clients at one time")
	fl.Uint64Var(&s.Seed, "seed", 0, "decides every random choice (default: a random one, printed first)")
	fl.IntVar(&f.seeds, "seeds", 1, "run this many seeds, from --seed upwards, and sum them up")
	fl.IntVar(&f.jobs, "jobs", 1, "how many seeds to run at a time")
	fl.DurationVar(&s.Interval, "interval", s.Interval, "time from one fault to the next")
	fl.DurationVar(&s.CheckTimeout, "check-timeout", s.CheckTimeout, "time for judging; what is not decided by then is unknown")
	fl.StringVar(&s.Store, "store", s.Store, "directory of the runs")
	fl.StringVar(&s.Keep, "keep", s.Keep, "keep the run's directory on-failure (unless the verdict is valid) or always")
	fl.BoolVar(&f.json, "json", false, "print one JSON object on standard output")
	fl.BoolVar(&f.progress, "progress", false, "show progress on standard error even if it is no terminal")
}

// finish turns the flags into a complete and valid spec.
func (f *runFlags) finish(catalog experiment.Catalog, seeded bool) error {
	if f.seeds < 1 {
		return fmt.Errorf("--seeds %d: give at least 1", f.seeds)
	}
	if f.jobs < 1 {
		return fmt.Errorf("--jobs %d: give at least 1", f.jobs)
	}
	options, err := parseSet(f.set)
	if err != nil {
		return err
	}
	f.spec.Options = options
	if f.spec.Nemesis, err = parseNemesis(f.nemesis); err != nil {
		return err
	}
	if f.spec.Plan.File != "" {
		if f.spec.Plan, err = catalog.ReadPlan(f.spec.Plan.File); err != nil {
			return err
		}
	}
	if !seeded {
		if f.spec.Seed, err = randomSeed(); err != nil {
			return err
		}
	}
	return catalog.Validate(f.spec)
}

// parseSet reads the values of --set.
func parseSet(set []string) (map[string]string, error) {
	options := make(map[string]string, len(set))
	for _, kv := range set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--set %q: give key=value, e.g. --set replication=sync", kv)
		}
		if old, twice := options[key]; twice && old != value {
			return nil, fmt.Errorf("--set %s is given twice, as %q and as %q: leave one out", key, old, value)
		}
		options[key] = value
	}
	return options, nil
}

// parseNemesis drops "none", which stands alone. An empty list is more likely an unset variable
// than a wish for no faults.
func parseNemesis(faults []string) ([]string, error) {
	if strings.TrimSpace(strings.Join(faults, "")) == "" {
		return nil, errors.New("--nemesis is empty: give faults, or none")
	}
	var list []string
	for _, f := range faults {
		if f = strings.TrimSpace(f); f != "" && f != "none" {
			list = append(list, f)
		}
	}
	if len(list) > 0 && len(list) < len(faults) {
		return nil, fmt.Errorf("--nemesis %q: none or an empty name among faults; give faults separated by commas, or none alone", strings.Join(faults, ","))
	}
	return list, nil
}

// randomSeed draws a seed that people can read out and every JSON reader keeps exact.
func randomSeed() (uint64, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("drawing a seed: %w; give one with --seed", err)
	}
	return uint64(binary.BigEndian.Uint32(b[:])), nil
}

func (a *app) run(ctx context.Context, f *runFlags) error {
	seedTo := a.stdout
	if f.json {
		seedTo = a.stderr
	}
	fmt.Fprintf(seedTo, "seed %d\n", f.spec.Seed)
	ctx, stop := a.interruptible(ctx, "healing and stopping; what there is will be judged")
	defer stop()
	progress := a.newProgress(f)
	defer progress.stop()
	if f.seeds > 1 {
		return a.runSeeds(ctx, f, progress)
	}
	res, err := a.catalog.Run(ctx, f.spec, experiment.Hooks{
		Started: progress.follow, Cluster: a.clusters.add, Stderr: a.stderr, Version: buildVersion(), Command: os.Args,
	})
	progress.stop()
	if err != nil {
		return a.failed(f, res, err)
	}
	if err := a.result(f, res); err != nil {
		return err
	}
	return exitWith(res.Summary.Exit)
}

// result prints what came of a run.
func (a *app) result(f *runFlags, res *experiment.Result) error {
	if f.json {
		return a.printJSON(complete(res.Summary))
	}
	return report.Text(a.stdout, &res.Document, &res.Stats, a.term)
}

// failed says that the harness failed, and where what there is of the run was left.
func (a *app) failed(f *runFlags, res *experiment.Result, err error) error {
	if res == nil || res.Summary.Run == "" {
		return err
	}
	if perr := a.result(f, res); perr != nil {
		err = errors.Join(err, perr)
	}
	a.complain(oneLine(err))
	return exitError(judge.ExitError)
}

func (a *app) runSeeds(ctx context.Context, f *runFlags, p *progress) error {
	sum, err := a.catalog.RunSeeds(ctx, f.spec, experiment.Seeds{N: f.seeds, Jobs: f.jobs},
		experiment.Hooks{Finished: p.finished, Cluster: a.clusters.add, Stderr: a.stderr, Version: buildVersion(), Command: os.Args})
	p.stop()
	if err != nil {
		return err
	}
	if f.json {
		err = a.printJSON(complete(sum))
	} else {
		err = report.SeedsText(a.stdout, &sum, a.term)
	}
	if err != nil {
		return err
	}
	return exitWith(sum.Exit)
}

// pathExists tells a mistyped path from anything else that can be wrong with it.
func pathExists(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s does not exist: give a run directory (see the store, by default runs/) or a history file", path)
	}
	return nil
}
