// Package judge says what a recorded run is worth: it lets the checkers judge the history, holds
// what they find against the contract, asks whether the history proves anything at all, and makes
// one verdict of it.
//
// It is pure: it knows histories, checkers and contracts, and neither clusters nor workloads nor
// faults. What a workload's history has to show is told it by Rules, what a fault can destroy by
// the history itself.
package judge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// Rules say how the histories of a workload are judged.
type Rules struct {
	Checkers []checker.Checker
	Evidence Evidence
}

// Evidence says what must be in a history for it to count.
type Evidence struct {
	// Load are the functions of the load, whose ops are counted in the summary. nil: all but the
	// final reads and scans.
	Load []string
	// Acknowledged are the functions of which some op must have succeeded. nil: some op of the load
	// must have, whatever its function. Empty but not nil: none need have.
	Acknowledged []string
	// NoEnds: what is judged does not depend on where the partitions end, so that none to which was
	// sent needs final reads and scans.
	NoEnds bool
}

// Input is a recorded run and what it is judged by.
type Input struct {
	History histories.Reader
	// Rules are those of the workload, given what the configuration promises after what happened.
	// nil: nothing judges the history, so that the verdict is unknown.
	Rules func(contract.Terms) Rules
	// Promise is that of the configuration under test. Its zero value permits nothing.
	Promise contract.Promise
	// NoScans: the system cannot be asked what one replica holds, so that missing scans prove
	// nothing.
	NoScans bool
	// Faults are the faults that the run was to have, as on the command line. nil: those that the
	// history names.
	Faults []string
	// Timeout bounds the checkers together; 0: only ctx does.
	Timeout time.Duration
	// Err is the error of the run, or why the history cannot be trusted; nil: none.
	Err error
	// Interrupted: the run ended early. A history that says so itself is believed too.
	Interrupted bool
}

// Judgement is what is said about a run.
type Judgement struct {
	Exit        int
	Interrupted bool
	Unknown     []string // why the run says less than it could, whatever the exit code; an error of the harness is the first
	Anomalies   []AnomalySummary
	Ops         histories.OpCounts // of the load, not of the final reads
	Faults      []FaultRecord
	Contract    contract.Contract
	Report      checker.Report
	Checkers    []checker.Checker // that judged
	CheckTime   time.Duration

	permits *permits
}

// Permits says of one anomaly of the Report whether it is permitted, and why. The Judgement comes
// from Judge.
func (j *Judgement) Permits(a *checker.Anomaly) (bool, string) { return j.permits.anomaly(a) }

// Verdict is the name of the exit code's verdict.
func (j *Judgement) Verdict() string { return VerdictName(j.Exit) }

// Fill puts the judgement into s, and leaves the fields that it does not know.
func (j *Judgement) Fill(s *Summary) {
	s.Verdict, s.Exit, s.Interrupted = j.Verdict(), j.Exit, j.Interrupted
	s.Unknown = append([]string{}, j.Unknown...)
	s.Anomalies = append([]AnomalySummary{}, j.Anomalies...)
	s.Ops, s.CheckMS = j.Ops, j.CheckTime.Milliseconds()
	s.Faults = append([]FaultRecord{}, j.Faults...)
}

// Judge lets the checkers judge a history and says what their findings mean under the contract.
//
// The exit code is 1 with an error of the harness; else 3 with an anomaly that the contract
// excludes; else 2 when a checker could not decide, a final read is missing or the run was
// interrupted, because what was not looked at may be excluded; else 4 with anomalies; else 2 when
// the run proves nothing: idle, without an acknowledgement, or with a fault that had no effect;
// else 0.
func Judge(ctx context.Context, in Input) Judgement {
	start := time.Now()
	if in.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, in.Timeout)
		defer cancel()
	}
	history, view := logview.Cache(in.History) // one view, and with it one end state, for everybody
	k, terms := in.Promise.After(contract.FactsOf(view.Events))
	var rules Rules
	if in.Rules != nil {
		rules = in.Rules(terms)
	}
	ev := collect(view, history, rules.Evidence)
	j := Judgement{
		Contract: k, Checkers: rules.Checkers, Report: checker.Run(ctx, history, rules.Checkers...), Faults: faultRecords(view.Events.Strikes), Ops: ev.ops,
		Interrupted: in.Interrupted || view.Events.Interrupted(),
	}
	excluded := j.sort(newPermits(view, history, &in, &j))
	undecided := j.undecided(&ev)
	empty := ev.emptiness(&in, j.Interrupted)
	j.Unknown = append(append([]string{}, undecided...), empty...)
	j.Exit = ExitValid
	switch {
	case in.Err != nil:
		j.Exit = ExitError
		if ev.invoked == 0 {
			j.Unknown = nil // nothing was tried, so what could not be judged of it says nothing
		}
		j.Unknown = append([]string{OneLine(in.Err)}, j.Unknown...)
	case excluded:
		j.Exit = ExitInvalid
	case len(undecided) > 0:
		j.Exit = ExitUnknown
	case len(j.Anomalies) > 0:
		j.Exit = ExitPermitted
	case len(empty) > 0:
		j.Exit = ExitUnknown
	}
	j.CheckTime = time.Since(start)
	return j
}

// OneLine is the text of an error that may be several joined ones, for a list of reasons.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// sort sums up the anomalies by class and by whether they are permitted, and reports whether some
// are not.
func (j *Judgement) sort(permits *permits) (excluded bool) {
	all := j.Report.Anomalies()
	j.permits = permits
	type key struct {
		class     checker.Class
		permitted bool
	}
	at := make(map[key]int)
	listed := make(map[checker.Class]int64)
	for i := range all {
		a := &all[i]
		ok, why := permits.anomaly(a)
		k := key{a.Class, ok}
		if _, known := at[k]; !known {
			at[k] = len(j.Anomalies)
			j.Anomalies = append(j.Anomalies, AnomalySummary{
				Class: a.Class, Permitted: ok, Witnesses: append([]int64{}, a.Witnesses...), Explanation: sentence(a.Explanation, why),
			})
		}
		j.Anomalies[at[k]].Count++
		listed[a.Class]++
		excluded = excluded || !ok
	}
	// The list of a checker is bounded. What it counts beyond is of the worse kind that it lists.
	for class, n := range listed {
		i, ok := at[key{class, false}]
		if !ok {
			i = at[key{class, true}]
		}
		j.Anomalies[i].Count += max(0, int64(j.Report.Count(class))-n)
	}
	slices.SortStableFunc(j.Anomalies, CompareAnomalies)
	return excluded
}

func sentence(explanation, why string) string {
	if why == "" {
		return explanation
	}
	return fmt.Sprintf("%s. Permitted: %s", explanation, why)
}

// undecided returns why anomalies may have been missed.
func (j *Judgement) undecided(ev *evidence) []string {
	reasons := j.Report.Reasons()
	for i := range j.Report.Results {
		if n := &j.Report.Results[i]; n.Result.Verdict == checker.Invalid && n.Result.Reason != "" {
			reasons = append(reasons, n.Name+": "+n.Result.Reason)
		}
	}
	if len(j.Report.Results) == 0 {
		reasons = append(reasons, "no checker judged the history")
	}
	if j.Interrupted {
		reasons = append(reasons, "the run was interrupted")
	}
	if ev.unwell() != "" && j.Report.Count(checker.Stall) == 0 {
		reasons = append(reasons, "the cluster was not well again after the faults: "+ev.unwell())
	}
	return append(reasons, ev.missing(j.Interrupted)...)
}
