package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
)

// Seeds says how many seeds to run, and how many of them at a time.
type Seeds struct{ N, Jobs int }

// RunSeeds runs an experiment with several seeds, from spec.Seed upwards, and sums them up as DESIGN section 7 says. A seed whose run fails in
// the harness counts with exit 1 and does not stop the others; the end of ctx does. An error means that no seed could be run.
func RunSeeds(ctx context.Context, spec Spec, seeds Seeds, hooks Hooks) (harness.Summary, error) {
	if seeds.N < 1 || seeds.Jobs < 1 {
		return harness.Summary{}, fmt.Errorf("%d seeds on %d jobs: give at least one of each", seeds.N, seeds.Jobs)
	}
	if seeds.N > 1 && spec.Plan.Plan == nil {
		if err := spec.Validate(); err != nil {
			return harness.Summary{}, err
		}
	}
	if err := spec.reachable(ctx); err != nil {
		return harness.Summary{}, err
	}
	start := time.Now()
	all := make([]harness.Summary, seeds.N)
	next := make(chan int)
	var (
		wg   sync.WaitGroup
		turn sync.Mutex // orders Finished
	)
	for range min(seeds.Jobs, seeds.N) {
		wg.Go(func() {
			for i := range next {
				all[i] = runSeed(ctx, spec, i, hooks)
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
	sum := sumUp(&spec, all[:max(done, 0)], spec.Command(extra...))
	sum.WallMS = time.Since(start).Milliseconds()
	if len(sum.Seeds) < seeds.N {
		sum.Interrupted = true
		sum.Unknown = append(sum.Unknown, fmt.Sprintf("interrupted: %d of %d seeds were run", len(sum.Seeds), seeds.N))
		sum.Exit = harness.WorseExit(sum.Exit, harness.ExitUnknown)
		sum.Verdict = harness.VerdictName(sum.Exit)
	}
	return sum, nil
}

// runSeed runs the i-th seed. It does not fail: an error is a summary with exit 1.
func runSeed(ctx context.Context, spec Spec, i int, hooks Hooks) harness.Summary {
	spec.Seed += uint64(i)
	res, err := Run(ctx, spec, Hooks{Version: hooks.Version, Command: hooks.Command, Cluster: hooks.Cluster, Stderr: hooks.Stderr})
	if res == nil {
		if err == nil {
			err = errors.New("no result")
		}
		return harness.Summary{Seed: spec.Seed, Verdict: "error", Exit: harness.ExitError, Unknown: []string{err.Error()}}
	}
	return res.Summary
}

// sumUp adds summaries up: counts are added, the exit is the worst.
func sumUp(spec *Spec, all []harness.Summary, reproduce string) harness.Summary {
	sum := harness.Summary{
		Seed: spec.Seed, Env: spec.Env, Mode: spec.Mode, Workload: spec.Workload, Nemesis: spec.NemesisText(), Exit: harness.ExitValid, Reproduce: reproduce,
	}
	if len(all) == 0 {
		sum.Exit = harness.ExitUnknown
	}
	unknown := make(map[string]bool)
	for i := range all {
		s := &all[i]
		one := harness.SeedSummary{Seed: s.Seed, Run: s.Run, Verdict: s.Verdict, Exit: s.Exit, Ops: s.Ops}
		for j := range s.Anomalies {
			if !slices.Contains(one.Anomalies, s.Anomalies[j].Class) {
				one.Anomalies = append(one.Anomalies, s.Anomalies[j].Class)
			}
			addAnomaly(&sum, &s.Anomalies[j], s.Seed)
		}
		sum.Seeds = append(sum.Seeds, one)
		sum.Exit = harness.WorseExit(sum.Exit, s.Exit)
		sum.Interrupted = sum.Interrupted || s.Interrupted
		sum.Ops.OK += s.Ops.OK
		sum.Ops.Weak += s.Ops.Weak
		sum.Ops.Info += s.Ops.Info
		sum.Ops.Fail += s.Ops.Fail
		sum.VirtualMS += s.VirtualMS
		sum.CheckMS += s.CheckMS
		for _, why := range s.Unknown {
			if !unknown[why] {
				unknown[why] = true
				sum.Unknown = append(sum.Unknown, fmt.Sprintf("seed %d: %s", s.Seed, why))
			}
		}
	}
	slices.SortStableFunc(sum.Anomalies, harness.CompareAnomalies)
	sum.Verdict = harness.VerdictName(sum.Exit)
	return sum
}

// addAnomaly adds the anomalies of a class to those of other seeds. Witnesses and explanation are those of the first seed that has any.
func addAnomaly(sum *harness.Summary, a *harness.AnomalySummary, seed uint64) {
	same := func(b harness.AnomalySummary) bool { return b.Class == a.Class && b.Permitted == a.Permitted }
	if i := slices.IndexFunc(sum.Anomalies, same); i >= 0 {
		sum.Anomalies[i].Count += a.Count
		return
	}
	first := *a
	first.Explanation = fmt.Sprintf("seed %d: %s", seed, a.Explanation)
	sum.Anomalies = append(sum.Anomalies, first)
}
