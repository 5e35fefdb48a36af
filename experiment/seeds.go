package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/assay-project/assay/checker/judge"
)

// Seeds says how many seeds to run, and how many of them at a time.
type Seeds struct{ N, Jobs int }

// RunSeeds runs an experiment with several seeds, from spec.Seed upwards, and sums them up: the
// exit code is that of the worst seed. A seed whose run fails in the harness counts with exit 1 and
// does not stop the others; the end of ctx does. An error means that no seed could be run.
func (c Catalog) RunSeeds(ctx context.Context, spec Spec, seeds Seeds, hooks Hooks) (judge.Summary, error) {
	if seeds.N < 1 || seeds.Jobs < 1 {
		return judge.Summary{}, fmt.Errorf("%d seeds on %d jobs: give at least one of each", seeds.N, seeds.Jobs)
	}
	p, err := c.prepare(spec)
	if err != nil {
		return judge.Summary{}, err
	}
	if err := p.env.reachable(ctx); err != nil {
		return judge.Summary{}, err
	}
	start := time.Now()
	all := make([]judge.Summary, seeds.N)
	next := make(chan int)
	var (
		wg   sync.WaitGroup
		turn sync.Mutex // orders Finished
	)
	for range min(seeds.Jobs, seeds.N) {
		wg.Go(func() {
			for i := range next {
				all[i] = c.runSeed(ctx, spec, i, hooks)
				if hooks.Finished != nil {
					turn.Lock()
					hooks.Finished(all[i])
					turn.Unlock()
				}
			}
		})
	}
	done := 0
	for ; done < seeds.N && ctx.Err() == nil; done++ {
		select {
		case next <- done:
		case <-ctx.Done():
			done--
		}
	}
	close(next)
	wg.Wait()
	extra := []string{"--seeds", strconv.Itoa(seeds.N), "--jobs", strconv.Itoa(seeds.Jobs)}
	sum := sumUp(&p.Spec, all[:max(done, 0)], p.command(p.catalog, extra...))
	sum.Mode = p.config.Mode
	sum.WallMS = time.Since(start).Milliseconds()
	if len(sum.Seeds) < seeds.N {
		sum.Interrupted = true
		sum.Unknown = append(sum.Unknown, fmt.Sprintf("interrupted: %d of %d seeds were run", len(sum.Seeds), seeds.N))
		sum.Exit = judge.WorseExit(sum.Exit, judge.ExitUnknown)
		sum.Verdict = judge.VerdictName(sum.Exit)
	}
	return sum, nil
}

// runSeed runs the i-th seed. It does not fail: an error is a summary with exit 1.
func (c Catalog) runSeed(ctx context.Context, spec Spec, i int, hooks Hooks) judge.Summary {
	spec.Seed += uint64(i)
	res, err := c.Run(ctx, spec, Hooks{Version: hooks.Version, Command: hooks.Command, Cluster: hooks.Cluster, Stderr: hooks.Stderr})
	if res == nil {
		if err == nil {
			err = errors.New("no result")
		}
		return judge.Summary{Seed: spec.Seed, Verdict: "error", Exit: judge.ExitError, Unknown: []string{err.Error()}}
	}
	return res.Summary
}

// sumUp adds summaries up: counts are added, the exit is the worst.
func sumUp(spec *Spec, all []judge.Summary, reproduce string) judge.Summary {
	sum := judge.Summary{
		Seed: spec.Seed, Env: spec.Env, Mode: spec.Mode, Workload: spec.Workload, Nemesis: spec.NemesisText(), Exit: judge.ExitValid, Reproduce: reproduce,
	}
	if len(all) == 0 {
		sum.Exit = judge.ExitUnknown
	}
	unknown := make(map[string]bool)
	for i := range all {
		s := &all[i]
		one := judge.SeedSummary{Seed: s.Seed, Run: s.Run, Verdict: s.Verdict, Exit: s.Exit, Ops: s.Ops}
		for j := range s.Anomalies {
			if !slices.Contains(one.Anomalies, s.Anomalies[j].Class) {
				one.Anomalies = append(one.Anomalies, s.Anomalies[j].Class)
			}
			addAnomaly(&sum, &s.Anomalies[j], s.Seed)
		}
		sum.Seeds = append(sum.Seeds, one)
		sum.Exit = judge.WorseExit(sum.Exit, s.Exit)
		sum.Interrupted = sum.Interrupted || s.Interrupted
		sum.Ops.Add(s.Ops)
		sum.VirtualMS += s.VirtualMS
		sum.CheckMS += s.CheckMS
		for _, why := range s.Unknown {
			if !unknown[why] {
				unknown[why] = true
				sum.Unknown = append(sum.Unknown, fmt.Sprintf("seed %d: %s", s.Seed, why))
			}
		}
	}
	slices.SortStableFunc(sum.Anomalies, judge.CompareAnomalies)
	sum.Verdict = judge.VerdictName(sum.Exit)
	return sum
}

// addAnomaly adds the anomalies of a class to those of other seeds. Witnesses and explanation are
// those of the first seed that has any.
func addAnomaly(sum *judge.Summary, a *judge.AnomalySummary, seed uint64) {
	same := func(b judge.AnomalySummary) bool { return b.Class == a.Class && b.Permitted == a.Permitted }
	if i := slices.IndexFunc(sum.Anomalies, same); i >= 0 {
		sum.Anomalies[i].Count += a.Count
		return
	}
	first := *a
	first.Explanation = fmt.Sprintf("seed %d: %s", seed, a.Explanation)
	sum.Anomalies = append(sum.Anomalies, first)
}
