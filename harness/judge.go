package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/histories"
)

// Exit codes, and with them verdicts (DESIGN section 6). They are ranked by WorseExit, never by comparing numbers.
const (
	ExitValid     = 0 // no anomaly
	ExitError     = 1 // the harness failed or was used wrongly: nothing is said about the system
	ExitUnknown   = 2 // idle run, fault without effect, checker out of time, run interrupted
	ExitInvalid   = 3 // an anomaly that the contract excludes
	ExitPermitted = 4 // anomalies, all of them permitted
)

// VerdictName returns the name of an exit code's verdict. Any number that is no exit code of a run is an error.
func VerdictName(exit int) string {
	switch exit {
	case ExitValid:
		return "valid"
	case ExitUnknown:
		return "unknown"
	case ExitInvalid:
		return "invalid"
	case ExitPermitted:
		return "permitted"
	}
	return "error"
}

// WorseExit returns the one of two exit codes that decides: 1 over 3 over 2 over 4 over 0. Any other number counts as 1.
func WorseExit(a, b int) int {
	if exitRank(a) >= exitRank(b) {
		return a
	}
	return b
}

func exitRank(exit int) int {
	if i := slices.Index([]int{ExitValid, ExitPermitted, ExitUnknown, ExitInvalid}, exit); i >= 0 {
		return i
	}
	return 4
}

// JudgeInput is a recorded run and what it is judged by.
type JudgeInput struct {
	History  histories.Reader
	Checkers []checker.Checker
	// Config is the configuration under test, from which the contract follows. nil: nothing is known of it, so nothing is
	// permitted.
	Config *contract.Config
	// Faults are the faults that the run was to have, as on the command line. nil: those that the history names.
	Faults []string
	// Timeout bounds the checkers together; 0: only ctx does.
	Timeout time.Duration
	// Err is the error of Run, or why the history cannot be trusted; nil: none.
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
	Ops         OpCounts // sends and polls, not the final reads
	Faults      []FaultRecord
	Contract    contract.Contract
	Report      checker.Report
	CheckTime   time.Duration

	permits *permits
}

// Permits says of one anomaly of the Report whether it is permitted, and why. The Judgement comes from Judge.
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
// The exit code is 1 with an error of the harness; else 3 with an anomaly that the contract excludes; else 2 when a checker could not
// decide, a final read is missing or the run was interrupted, because what was not looked at may be excluded; else 4 with anomalies; else 2
// when the run proves nothing: idle, without an acknowledgement, or with a fault that had no effect; else 0.
func Judge(ctx context.Context, in JudgeInput) Judgement {
	start := time.Now()
	if in.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, in.Timeout)
		defer cancel()
	}
	j := Judgement{Report: checker.Run(ctx, in.History, in.Checkers...)}
	ev := collect(in.History)
	j.Faults, j.Ops, j.Interrupted = ev.faults, ev.ops, in.Interrupted || ev.interrupted
	groups, known := 1, 0
	if in.Config != nil {
		known = in.Config.Groups
		groups = in.Config.Groups
		j.Contract = contract.For(contract.Conditions{Config: *in.Config, Facts: contract.FactsOf(ev.nemesis)})
	}
	excluded := j.sort(in.History, groups)
	undecided := j.undecided(&ev)
	empty := emptiness(&ev, in.Faults, known, j.Interrupted)
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

// sort sums up the anomalies by class and by whether they are permitted, and reports whether some are not.
func (j *Judgement) sort(h histories.Reader, groups int) (excluded bool) {
	all := j.Report.Anomalies()
	permits := newPermits(h, &j.Contract, groups, all)
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

// CompareAnomalies orders anomalies as people read them: what the contract excludes first, and among those the weightiest class.
func CompareAnomalies(a, b AnomalySummary) int {
	switch {
	case a.Permitted == b.Permitted:
		return a.Class.Weight() - b.Class.Weight()
	case b.Permitted:
		return -1
	}
	return 1
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
	if ev.unwell != "" && j.Report.Count(checker.Stall) == 0 {
		reasons = append(reasons, "the cluster was not well again after the faults: "+ev.unwell)
	}
	return append(reasons, ev.missing(j.Interrupted)...)
}
