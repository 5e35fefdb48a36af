package logview

import (
	"slices"

	"github.com/assay-project/assay/histories"
)

// Never is the Return of what did not return, or returned without saying what happened.
const Never = histories.Never

// Between returns the strikes that were on at some time within [from, to], ns.
func (v *View) Between(from, to int64) []histories.Strike {
	return slices.DeleteFunc(slices.Clone(v.Strikes), func(s histories.Strike) bool { return s.From > to || s.To < from })
}

// Recovered reports whether the harness noted last that the cluster was well again.
func (v *View) Recovered() bool {
	n := v.Events.Recovery()
	return n != nil && n.Err == ""
}

// Seconds writes a time in ns as seconds: "13.0s", "12.345s".
func Seconds(ns int64) string { return histories.Seconds(ns) }
