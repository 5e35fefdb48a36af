package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/assay-project/assay/histories"
)

// maxLatency is the largest latency that the histograms tell apart; longer ones count as this.
const maxLatency = time.Hour

// Quantiles are latencies of the ops that were answered ok or weak, from invocation to completion.
type Quantiles struct {
	P50 time.Duration `json:"p50_ns"`
	P90 time.Duration `json:"p90_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// FunctionStats are the ops of one function: send, poll, final, scan, or whatever else the workload
// has.
type FunctionStats struct {
	F       string             `json:"f"`
	Ops     histories.OpCounts `json:"ops"`
	Latency Quantiles          `json:"latency"` // zero when nothing was answered
	// Gap is the longest time within the load without an ok; zero for functions that are not of the
	// load.
	Gap Gap `json:"gap"`
}

// Gap is a time without an ok.
type Gap struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Length returns how long the gap is.
func (g Gap) Length() time.Duration { return g.To - g.From }

// Second is what completed in one second of the load.
type Second struct {
	Ops      histories.OpCounts
	P50, P99 time.Duration // of the ops answered in it; zero when there were none
}

// Stats are figures about speed and availability, all of them from the history.
type Stats struct {
	Functions []FunctionStats
	// Seconds covers the load by the second of the ops' completion. Ops left open are not in it.
	Seconds []Second
	// LoadFrom and LoadTo are the first invocation and the last line of an op of the load; End is
	// the last line of all.
	LoadFrom, LoadTo, End time.Duration
}

// Measure reads h once.
func Measure(h histories.Reader) Stats {
	m := measure{functions: make(map[string]*functionAcc), load: loadOf(h)}
	for op := range h.Ops() {
		m.stats.End = time.Duration(op.Time)
		if op.Process != histories.NemesisProcess && m.load(op) {
			if !m.loaded {
				m.loaded, m.stats.LoadFrom = true, time.Duration(op.Time)
			}
			m.stats.LoadTo = time.Duration(op.Time)
		}
	}
	for inv, done := range histories.Pairs(h) {
		m.add(inv, done)
	}
	return m.finish()
}

// loadOf returns what tells whether an op is of the load, not of what follows it. Final reads
// follow the recovery, whatever a workload calls them; a history without that note has only their
// usual names.
func loadOf(h histories.Reader) func(op *histories.Op) bool {
	over := histories.EventsOf(h).LoadOver()
	return func(op *histories.Op) bool {
		return op.Index < over && op.F != histories.Final && op.F != histories.Scan
	}
}

type functionAcc struct {
	ops     histories.OpCounts
	load    bool // some op was of the load
	latency *hdrhistogram.Histogram
	lastOK  time.Duration
	gap     Gap
}

type measure struct {
	stats     Stats
	load      func(op *histories.Op) bool
	loaded    bool
	functions map[string]*functionAcc
	answered  []time.Duration // latencies of the second that is being filled
	second    int
}

func (m *measure) add(inv, done *histories.Op) {
	f := m.functions[inv.F]
	if f == nil {
		f = &functionAcc{latency: hdrhistogram.New(1, maxLatency.Microseconds(), 3), lastOK: m.stats.LoadFrom}
		m.functions[inv.F] = f
	}
	load := m.load(inv)
	f.load = f.load || load
	if done == nil {
		f.ops.Info++
		return
	}
	f.ops.Count(done.Type)
	took := time.Duration(done.Time - inv.Time)
	answered := done.Type == histories.OK || done.Type == histories.Weak
	if answered {
		// The value is within the histogram's range, the only thing that RecordValue can refuse.
		_ = f.latency.RecordValue(min(max(took.Microseconds(), 1), maxLatency.Microseconds()))
	}
	if !load {
		return
	}
	at := time.Duration(done.Time)
	if done.Type == histories.OK {
		f.gap = longer(f.gap, Gap{From: f.lastOK, To: at})
		f.lastOK = at
	}
	m.place(at, done.Type, took, answered)
}

// place counts a completion in its second. Completions come in the order of time.
func (m *measure) place(at time.Duration, t histories.Type, took time.Duration, answered bool) {
	s := int(at / time.Second)
	if s != m.second {
		m.closeSecond()
		m.second = s
	}
	for len(m.stats.Seconds) <= s {
		m.stats.Seconds = append(m.stats.Seconds, Second{})
	}
	m.stats.Seconds[s].Ops.Count(t)
	if answered {
		m.answered = append(m.answered, took)
	}
}

func (m *measure) closeSecond() {
	if n := len(m.answered); n > 0 {
		slices.Sort(m.answered)
		s := &m.stats.Seconds[m.second]
		s.P50, s.P99 = m.answered[n/2], m.answered[n*99/100]
		m.answered = m.answered[:0]
	}
}

func (m *measure) finish() Stats {
	m.closeSecond()
	for name, f := range m.functions {
		fs := FunctionStats{F: name, Ops: f.ops}
		if f.latency.TotalCount() > 0 {
			us := func(q float64) time.Duration { return time.Duration(f.latency.ValueAtQuantile(q)) * time.Microsecond }
			fs.Latency = Quantiles{P50: us(50), P90: us(90), P99: us(99), Max: us(100)}
		}
		if f.load {
			fs.Gap = longer(f.gap, Gap{From: f.lastOK, To: m.stats.LoadTo})
		}
		m.stats.Functions = append(m.stats.Functions, fs)
	}
	slices.SortFunc(m.stats.Functions, func(a, b FunctionStats) int {
		return cmp.Or(cmp.Compare(functionRank(a.F), functionRank(b.F)), cmp.Compare(a.F, b.F))
	})
	return m.stats
}

func functionRank(f string) int {
	switch f {
	case histories.Send:
		return 0
	case histories.Poll:
		return 1
	case histories.Final:
		return 3
	case histories.Scan:
		return 4
	}
	return 2
}

func longer(a, b Gap) Gap {
	if b.Length() > a.Length() {
		return b
	}
	return a
}
