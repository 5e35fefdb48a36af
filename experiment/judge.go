package experiment

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
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

// Judge judges a recorded history: that of a run directory by the checkers and the contract that
// its manifest gives, a bare file by the checkers of the default workload alone, so that any
// anomaly is excluded. It writes nothing. A run whose target, mode, option or workload the catalog
// lacks is an error.
func (c Catalog) Judge(ctx context.Context, path string, opts JudgeOptions) (*Result, error) {
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
	res, err := c.judge(ctx, recorded{manifest: manifest, history: h, timeout: opts.Timeout})
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

// recorded is a recorded run.
type recorded struct {
	manifest    *harness.Manifest // nil: unknown
	history     histories.History
	timeout     time.Duration
	err         error // of the run
	interrupted bool
}

// judge lets the judge judge, and gathers what reports show.
func (c Catalog) judge(ctx context.Context, in recorded) (*Result, error) {
	res := &Result{History: in.history}
	ji, err := c.rulesFor(in.manifest)
	if err != nil {
		return nil, err
	}
	ji.History, ji.Err, ji.Interrupted = in.history, in.err, in.interrupted
	if m := in.manifest; m != nil {
		ji.Faults, ji.Timeout = m.Nemesis, m.Load.CheckTimeout
		res.Summary = summaryOf(m)
		res.Settings = settingsOf(m)
	}
	if in.timeout != 0 {
		ji.Timeout = in.timeout
	}
	if ji.Timeout == 0 {
		ji.Timeout = Default().CheckTimeout
	}
	j := judge.Judge(ctx, ji)
	j.Fill(&res.Summary)
	res.Program = c.Program
	res.Findings = findings(&j)
	res.Checkers = checkerNotes(&j.Report)
	res.Stats = report.Measure(in.history)
	res.Picture = picture(ctx, &j, in.history, res.Findings)
	return res, nil
}

// rulesFor finds by what the run of a manifest is judged. Nothing is known of a history without
// one: it is taken for one of the default workload, and promises nothing but that a leader's reads
// are linearizable while nobody was promoted.
func (c Catalog) rulesFor(m *harness.Manifest) (in judge.Input, err error) {
	defer harness.Guard("a part of the catalog", &err)
	if err := c.check(); err != nil {
		return judge.Input{}, err
	}
	if m == nil {
		w, err := c.workload(c.Default().Workload)
		if err != nil {
			return judge.Input{}, err
		}
		bare := contract.Promise{LinearReads: func(f contract.Facts) bool { return len(f.Promotions) == 0 }}
		return judge.Input{Rules: w.Judging, Promise: bare}, nil
	}
	t, err := c.target(m.Target)
	if err != nil {
		return judge.Input{}, missingPart(err)
	}
	w, err := c.workload(m.Workload)
	if err != nil {
		return judge.Input{}, missingPart(err)
	}
	if err := knownTo(t, w, m); err != nil {
		return judge.Input{}, missingPart(err)
	}
	promise, err := t.Promise(target.Config{Mode: m.Mode, Nodes: m.Nodes, Options: m.Options})
	if err != nil {
		return judge.Input{}, fmt.Errorf("the manifest: %w", err)
	}
	return judge.Input{Rules: w.Judging, Promise: promise, NoScans: t.NoScans}, nil
}

// knownTo says which mode or option of a run its target and workload do not have; nil if they have
// all. A promise that was made without one of them would be that of another configuration.
func knownTo(t *target.Target, w Workload, m *harness.Manifest) error {
	if err := t.CheckMode(m.Mode); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(m.Options)) {
		if !hasOption(t.Options, m.Mode, key) && !hasOption(w.Options, m.Mode, key) {
			return unknownOption(t, w, m.Mode, key)
		}
	}
	return nil
}

// missingPart is the error of a run that was made by a program with other parts.
func missingPart(err error) error {
	return fmt.Errorf("the run cannot be judged by this program: %w; judge it with the program that made it", err)
}

// summaryOf is what a manifest says about its run.
func summaryOf(m *harness.Manifest) judge.Summary {
	nemesis := "none"
	if len(m.Nemesis) > 0 {
		nemesis = strings.Join(m.Nemesis, ",")
	}
	return judge.Summary{Seed: m.Seed, Env: m.Env, Mode: m.Mode, Workload: m.Workload, Nemesis: nemesis, Reproduce: m.Reproduce}
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

// maxFindings is how many anomalies of a class, excluded or permitted, a verdict lists. The summary
// counts all.
const maxFindings = 1000

// findings are the anomalies with the contract's word, in the order of their classes in the
// summary.
func findings(j *judge.Judgement) []report.Finding {
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
	summary := func(f report.Finding) judge.AnomalySummary {
		return judge.AnomalySummary{Class: f.Class, Permitted: f.Permitted}
	}
	slices.SortStableFunc(all, func(a, b report.Finding) int { return judge.CompareAnomalies(summary(a), summary(b)) })
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

// picture draws the first finding of a checker that can draw. A picture that cannot be drawn is
// left out: the verdict does not depend on it.
func picture(ctx context.Context, j *judge.Judgement, h histories.Reader, all []report.Finding) []byte {
	const drawTime = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, drawTime)
	defer cancel()
	type drawing struct {
		checker int
		part    int32
	}
	tried := make(map[drawing]bool)
	for i := range all {
		f := &all[i]
		same := func(a checker.Anomaly) bool { return a.Class == f.Class && a.Part == f.Part }
		for n, c := range j.Checkers {
			d, ok := c.(checker.Drawer)
			if !ok || f.Part < 0 || tried[drawing{n, f.Part}] || !slices.ContainsFunc(j.Report.Results[n].Result.Anomalies, same) {
				continue
			}
			tried[drawing{n, f.Part}] = true
			if b, err := draw(ctx, d, h, f.Part); err == nil {
				return b
			}
		}
	}
	return nil
}

func draw(ctx context.Context, d checker.Drawer, h histories.Reader, part int32) (picture []byte, err error) {
	defer harness.Guard("a checker that draws", &err)
	var b bytes.Buffer
	err = d.Visualize(ctx, h, part, &b)
	return b.Bytes(), err
}
