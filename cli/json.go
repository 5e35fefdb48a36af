package cli

import (
	"encoding/json"
	"fmt"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
)

// printJSON writes one object on standard output.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil { // cannot happen: every type that comes here has only encodable fields
		panic(fmt.Sprintf("encoding a result: %v", err))
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}

// printError writes the object of a command that failed before there was a result; commands without
// one print nothing.
func (a *app) printError(command, message string) error {
	s := complete(judge.Summary{Verdict: judge.VerdictName(judge.ExitError), Exit: judge.ExitError, Unknown: []string{message}})
	switch command {
	case "run":
		return a.printJSON(s)
	case "check":
		return a.printJSON(checkResultOf(&s))
	}
	return nil
}

// complete makes every list of s one that is there, so that scripts meet [] and never null.
func complete(s judge.Summary) judge.Summary {
	if s.Unknown == nil {
		s.Unknown = []string{}
	}
	if s.Anomalies == nil {
		s.Anomalies = []judge.AnomalySummary{}
	}
	for i := range s.Anomalies {
		if s.Anomalies[i].Witnesses == nil {
			s.Anomalies[i].Witnesses = []int64{}
		}
	}
	if s.Faults == nil {
		s.Faults = []judge.FaultRecord{}
	}
	for i := range s.Faults {
		if s.Faults[i].Nodes == nil {
			s.Faults[i].Nodes = []string{}
		}
	}
	for i := range s.Seeds {
		if s.Seeds[i].Anomalies == nil {
			s.Seeds[i].Anomalies = []checker.Class{}
		}
	}
	return s
}
