package experiment

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/linear"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/report"
)

// Result is a judged run.
type Result struct {
	report.Document
	Stats report.Stats
	// History is what was judged.
	History histories.History
	// Picture is Porcupine's page of a partition that is not linearizable; nil where all are.
	Picture []byte
}

// Why says what the verdict rests on, each reason on a line of its own.
func (r *Result) Why() string {
	s := &r.Summary
	var parts []string
	for i := range s.Anomalies {
		a := &s.Anomalies[i]
		word := "excluded"
		if a.Permitted {
			word = "permitted"
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s): %s", a.Count, a.Class, word, a.Explanation))
	}
	parts = append(parts, s.Unknown...)
	if len(parts) == 0 {
		return "no anomaly"
	}
	return strings.Join(parts, "\n")
}

// JudgeOptions change how a recorded history is judged.
type JudgeOptions struct {
	Timeout time.Duration // 0: that of the run, or else the default
}

// Judge judges a recorded history: that of a run directory by the checkers and the contract that its manifest gives, a bare file by the
// checkers alone, so that any anomaly is excluded. It writes nothing.
func Judge(ctx context.Context, path string, opts JudgeOptions) (*Result, error) {
	run, file, err := open(path)
	if err != nil {
		return nil, err
	}
	var manifest *harness.Manifest
	if run != nil {
		if manifest, err = readManifest(run); err != nil {
			return nil, err
		}
	}
	h, warnings, err := histories.ReadFile(file)
	if err != nil {
		return nil, err
	}
	res, err := judge(ctx, judgeInput{manifest: manifest, history: h, timeout: opts.Timeout})
	if err != nil {
		return nil, err
	}
	if run != nil {
		res.Summary.Run = run.Dir()
	}
	if manifest == nil {
		res.Warnings = append(res.Warnings, "there is no manifest, so there is no contract: any anomaly counts")
	}
	if warnings.Any() {
		res.Warnings = append(res.Warnings, warnings.String())
	}
	return res, nil
}

// judgeInput is what a judgement needs.
type judgeInput struct {
	manifest    *harness.Manifest // nil: unknown
	history     histories.History
	timeout     time.Duration
	err         error // of the run
	interrupted bool
}

// judge lets the harness judge, and gathers what reports show.
func judge(ctx context.Context, in judgeInput) (*Result, error) {
	res := &Result{History: in.history}
	ji := harness.JudgeInput{History: in.history, Timeout: in.timeout, Err: in.err, Interrupted: in.interrupted}
	spec := reference.Spec{Mode: reference.MasterSlave, Nodes: 1}
	name := workloadLog
	if m := in.manifest; m != nil {
		spec = reference.Spec{Mode: m.Mode, Nodes: m.Nodes, Options: given(m.Options)}
		name = m.Workload
		cfg, err := contract.Parse(m.Mode, m.Nodes, m.Options)
		if err != nil {
			return nil, fmt.Errorf("the manifest: %w", err)
		}
		ji.Config, ji.Faults = &cfg, m.Nemesis
		if ji.Timeout == 0 {
			ji.Timeout = m.Load.CheckTimeout
		}
		res.Summary = summaryOf(m)
		res.Settings = settingsOf(m)
	}
	if ji.Timeout == 0 {
		ji.Timeout = Default().CheckTimeout
	}
	settings, err := spec.Settings()
	if err != nil {
		return nil, fmt.Errorf("the manifest: %w", err)
	}
	w, err := judgingWorkload(name, settings, in.history)
	if err != nil {
		return nil, fmt.Errorf("the manifest: %w", err)
	}
	ji.Checkers = w.Checkers()
	j := harness.Judge(ctx, ji)
	j.Fill(&res.Summary)
	res.Findings = findings(&j)
	res.Checkers = checkerNotes(&j.Report)
	res.Stats = report.Measure(in.history)
	res.Picture = picture(ctx, ji.Checkers, in.history, res.Findings)
	return res, nil
}

// given are the options of a manifest that can be given on the command line. A manifest has what is in force, and copies is in force also where it cannot be set.
func given(effective map[string]string) map[string]string {
	set := make(map[string]string, len(effective))
	for k, v := range effective {
		if k == "copies" && effective["replication"] != "sync" {
			continue
		}
		set[k] = v
	}
	return set
}

// summaryOf is what a manifest says about its run.
func summaryOf(m *harness.Manifest) harness.Summary {
	nemesis := "none"
	if len(m.Nemesis) > 0 {
		nemesis = strings.Join(m.Nemesis, ",")
	}
	return harness.Summary{Seed: m.Seed, Env: m.Env, Mode: m.Mode, Workload: m.Workload, Nemesis: nemesis, Reproduce: m.Reproduce}
}

// settingsOf lists the configuration for people.
func settingsOf(m *harness.Manifest) []report.Setting {
	all := []report.Setting{
		{Name: "nodes", Value: strconv.Itoa(m.Nodes)}, {Name: "time", Value: m.Load.Time.String()},
		{Name: "rate", Value: strconv.FormatFloat(m.Load.Rate, 'g', -1, 64)}, {Name: "clients", Value: strconv.Itoa(m.Load.Clients)},
		{Name: "interval", Value: m.Load.Interval.String()}, {Name: "check-timeout", Value: m.Load.CheckTimeout.String()},
	}
	keys := make([]string, 0, len(m.Options))
	for k := range m.Options {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		all = append(all, report.Setting{Name: k, Value: m.Options[k]})
	}
	return append(all, report.Setting{Name: "target", Value: m.Target}, report.Setting{Name: "assay", Value: m.Versions.Assay},
		report.Setting{Name: "go", Value: m.Versions.Go + " " + m.Versions.OS})
}

// maxFindings is how many anomalies of a class, excluded or permitted, a verdict lists. The summary counts all.
const maxFindings = 1000

// findings are the anomalies with the contract's word, in the order of their classes in the summary.
func findings(j *harness.Judgement) []report.Finding {
	type kind struct {
		class     checker.Class
		permitted bool
	}
	listed := make(map[kind]int)
	var all []report.Finding
	for _, a := range j.Report.Anomalies() {
		ok, why := j.Permits(&a)
		if listed[kind{a.Class, ok}]++; listed[kind{a.Class, ok}] > maxFindings {
			continue
		}
		all = append(all, report.Finding{Anomaly: a, Permitted: ok, Why: why})
	}
	summary := func(f report.Finding) harness.AnomalySummary {
		return harness.AnomalySummary{Class: f.Class, Permitted: f.Permitted}
	}
	slices.SortStableFunc(all, func(a, b report.Finding) int { return harness.CompareAnomalies(summary(a), summary(b)) })
	return all
}

func checkerNotes(r *checker.Report) []report.CheckerNote {
	var notes []report.CheckerNote
	for i := range r.Results {
		n := &r.Results[i]
		notes = append(notes, report.CheckerNote{
			Name: n.Name, Verdict: n.Result.Verdict, Reason: n.Result.Reason, TookMS: float64(n.Took) / 1e6, Figures: n.Result.Figures,
		})
	}
	return notes
}

// picture draws the first partition that is not linearizable. A picture that cannot be drawn is left out: the verdict does not depend on it.
func picture(ctx context.Context, checkers []checker.Checker, h histories.Reader, all []report.Finding) []byte {
	i := slices.IndexFunc(all, func(f report.Finding) bool {
		return f.Part >= 0 && (f.Class == checker.Nonlinearizable || f.Class == checker.StaleRead)
	})
	if i < 0 {
		return nil
	}
	const drawTime = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, drawTime)
	defer cancel()
	for _, c := range checkers {
		l, ok := c.(*linear.Checker)
		if !ok {
			continue
		}
		var b bytes.Buffer
		if err := l.Visualize(ctx, h, all[i].Part, &b); err == nil {
			return b.Bytes()
		}
	}
	return nil
}
