// Package finding collects what a checker finds into a checker.Result, in the form that all checkers share.
package finding

import (
	"slices"

	"github.com/assay-project/assay/checker"
)

// Limit is how many anomalies of one class a result lists of each partition. The true number is the figure of the class's name.
//
// The contract is asked about each that is listed, so the limit bounds memory (a listed anomaly takes about half a kilobyte) and no more:
// with a low one, the losses that one event excuses would hide one that nothing does.
const Limit = 20_000

// Set is what a checker has found so far. The zero value is ready; it is not for concurrent use.
type Set struct {
	anomalies []checker.Anomaly
	counts    map[place]int
	figures   map[string]float64
	reasons   []string
}

// place is what Limit is about.
type place struct {
	class checker.Class
	part  int32
}

// Count counts one more anomaly of a class in a partition, and reports whether it is to be listed with Add: beyond Limit the explanation need
// not be written.
func (s *Set) Count(c checker.Class, part int32) bool {
	if s.counts == nil {
		s.counts = make(map[place]int)
	}
	at := place{c, part}
	s.counts[at]++
	return s.counts[at] <= Limit
}

// Add lists an anomaly that was counted. Its witnesses are sorted, and what is negative or double among them is left out.
func (s *Set) Add(a checker.Anomaly) {
	slices.Sort(a.Witnesses)
	a.Witnesses = slices.Compact(a.Witnesses)
	for len(a.Witnesses) > 0 && a.Witnesses[0] < 0 {
		a.Witnesses = a.Witnesses[1:]
	}
	s.anomalies = append(s.anomalies, a)
}

// Figure sets a measurement.
func (s *Set) Figure(name string, v float64) {
	if s.figures == nil {
		s.figures = make(map[string]float64)
	}
	s.figures[name] = v
}

// Undecided notes why something could not be judged.
func (s *Set) Undecided(reason string) { s.reasons = append(s.reasons, reason) }

// Result returns the result: Invalid if there is an anomaly, else Unknown if something is undecided, else Valid. Anomalies are in the order of
// their partition, class and first witness, whatever order they were found in.
func (s *Set) Result() checker.Result {
	r := checker.Result{Verdict: checker.Valid, Anomalies: s.anomalies, Figures: s.figures}
	slices.SortStableFunc(r.Anomalies, compare)
	for at, n := range s.counts {
		if r.Figures == nil {
			r.Figures = make(map[string]float64)
		}
		r.Figures[string(at.class)] += float64(n)
	}
	for i, reason := range s.reasons {
		if i > 0 {
			r.Reason += "; "
		}
		r.Reason += reason
	}
	switch {
	case len(s.anomalies) > 0:
		r.Verdict = checker.Invalid
	case len(s.reasons) > 0:
		r.Verdict = checker.Unknown
	}
	return r
}

func compare(a, b checker.Anomaly) int {
	switch {
	case a.Part != b.Part:
		return int(a.Part) - int(b.Part)
	case a.Class != b.Class:
		if a.Class < b.Class {
			return -1
		}
		return 1
	}
	return slices.Compare(a.Witnesses, b.Witnesses)
}

// Unknown returns the result of a checker that could judge nothing.
func Unknown(reason string) checker.Result { return checker.Result{Reason: reason} }
