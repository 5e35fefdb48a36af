package judge

import (
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

// FaultRecord is what became of a strike, as the history tells it.
type FaultRecord struct {
	Name     string   `json:"name"`   // kill, partition, ...
	Target   string   `json:"target"` // the role, "one" where none was written, with the shape as written
	Nodes    []string `json:"nodes"`
	AtMS     int64    `json:"at_ms"`     // in the history's time, since the start of the run
	HealedMS int64    `json:"healed_ms"` // -1: it was not healed
	Effect   string   `json:"effect"`    // empty: none
	Err      string   `json:"error,omitempty"`
}

// faultRecords are the strikes of a history for people.
func faultRecords(strikes []histories.Strike) []FaultRecord {
	var all []FaultRecord
	for i := range strikes {
		s := &strikes[i]
		rec := FaultRecord{
			Name: s.Name, Target: s.Role, Nodes: append([]string{}, s.Nodes...), AtMS: ms(s.From), HealedMS: -1, Effect: s.Effect, Err: s.Err,
		}
		if s.Shape != "" {
			rec.Target += "/" + s.Shape
		}
		if s.Healed() {
			rec.HealedMS = ms(s.To)
		}
		all = append(all, rec)
	}
	return all
}

func ms(ns int64) int64 { return ns / int64(time.Millisecond) }

// AnomalySummary sums up the anomalies of one class.
type AnomalySummary struct {
	Class       checker.Class `json:"class"`
	Count       int64         `json:"count"`
	Permitted   bool          `json:"permitted"`
	Witnesses   []int64       `json:"witnesses"` // op indexes of the first one
	Explanation string        `json:"explanation"`
}

// CompareAnomalies orders anomalies as people read them: what the contract excludes first, and
// among those the weightiest class.
func CompareAnomalies(a, b AnomalySummary) int {
	switch {
	case a.Permitted == b.Permitted:
		return a.Class.Weight() - b.Class.Weight()
	case b.Permitted:
		return -1
	}
	return 1
}

// Summary is the JSON object of `assay run --json`.
type Summary struct {
	Run         string             `json:"run"`
	Seed        uint64             `json:"seed"`
	Env         string             `json:"env"`
	Mode        string             `json:"mode"`
	Workload    string             `json:"workload"`
	Nemesis     string             `json:"nemesis"`
	Verdict     string             `json:"verdict"`
	Exit        int                `json:"exit"`
	Interrupted bool               `json:"interrupted"`
	Unknown     []string           `json:"unknown"`
	Reproduce   string             `json:"reproduce"`
	Anomalies   []AnomalySummary   `json:"anomalies"`
	Ops         histories.OpCounts `json:"ops"`
	Faults      []FaultRecord      `json:"faults"`
	VirtualMS   int64              `json:"virtual_ms"`
	WallMS      int64              `json:"wall_ms"`
	CheckMS     int64              `json:"check_ms"`
	Seeds       []SeedSummary      `json:"seeds,omitempty"`
}

// SeedSummary is one run of several (`--seeds`).
type SeedSummary struct {
	Seed      uint64             `json:"seed"`
	Run       string             `json:"run"`
	Verdict   string             `json:"verdict"`
	Exit      int                `json:"exit"`
	Ops       histories.OpCounts `json:"ops"`
	Anomalies []checker.Class    `json:"anomalies"`
}
