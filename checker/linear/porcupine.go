package linear

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/assay-project/assay/checker/internal/logview"
)

const (
	// maxWindow is how many operations a window around a violation has at most: as many as a picture can show.
	maxWindow = 60
	// windowTime bounds the search of one window. Illegal histories are the slow ones, and the sweep has decided already.
	windowTime = 500 * time.Millisecond
)

// outcome is what a search found.
type outcome uint8

const (
	searchUnknown outcome = iota // out of time
	searchLegal                  // a linearization was found
	searchIllegal                // there is none
)

// compact is the compact model of reference/checkers.md: the state is the length of the log, in ranks.
func compact(ctx context.Context) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(0) },
		Step: func(state, input, _ any) (bool, any) {
			n, e := state.(int64), input.(*entry)
			switch {
			case e.bad || ctx.Err() != nil: // out of time: refuse everything, so that the search ends
				return false, n
			case e.send >= 0:
				return n == e.rank, n + 1
			}
			return e.minLen <= n && n <= e.maxLen, n
		},
		Hash:              func(state any) uint64 { return uint64(state.(int64)) * 0x9e3779b97f4a7c15 },
		DescribeOperation: func(input, _ any) string { return input.(*entry).text },
		DescribeState:     func(state any) string { return fmt.Sprintf("%d messages", state) },
	}
}

// search lets Porcupine judge entries. limit bounds its time beside ctx; 0 is no limit.
func search(ctx context.Context, entries []entry, limit time.Duration) outcome {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	res := porcupine.CheckOperationsTimeout(compact(ctx), operations(entries), 0)
	switch {
	case ctx.Err() != nil:
		return searchUnknown
	case res == porcupine.Ok:
		return searchLegal
	}
	return searchIllegal
}

// draw writes the picture of entries. It is drawn whatever the search finds, and from what it has found by windowTime.
func draw(entries []entry, w io.Writer) error {
	model := compact(context.Background())
	ops := operations(entries)
	lanes(ops)
	_, info := porcupine.CheckOperationsVerbose(model, ops, windowTime)
	if err := porcupine.Visualize(model, info, w); err != nil {
		return fmt.Errorf("drawing a linearization: %w", err)
	}
	return nil
}

// operations puts entries into Porcupine's form. Its time is the index of the op, which orders what the clock cannot.
func operations(entries []entry) []porcupine.Operation {
	last := int64(0)
	for i := range entries {
		last = max(last, entries[i].call)
		if entries[i].ret != logview.Never {
			last = max(last, entries[i].ret)
		}
	}
	ops := make([]porcupine.Operation, len(entries))
	for i := range entries {
		e := &entries[i]
		ops[i] = porcupine.Operation{ClientId: i, Input: e, Call: e.call, Return: min(e.ret, last+1)}
	}
	return ops
}

// lanes gives each operation the first client number that is free at its call: a picture needs few rows, and an open operation keeps its row.
func lanes(ops []porcupine.Operation) {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var busy []int64
	for i := range ops {
		lane := slices.IndexFunc(busy, func(until int64) bool { return until < ops[i].Call })
		if lane < 0 {
			lane = len(busy)
			busy = append(busy, 0)
		}
		busy[lane] = ops[i].Return
		ops[i].ClientId = lane
	}
}

// window returns what a picture of f shows: the operations that f is about and those closest to them, as a history of its own. Leaving operations
// out, and the ranks of those left out with them, keeps what f proves: the order of the ranks that are left is the same.
func (m *model) window(f *violation) []entry {
	chosen := slices.Clone(f.entries)
	from, to := int64(logview.Never), int64(0)
	for _, i := range chosen {
		from = min(from, m.entries[i].call)
		to = max(to, m.entries[i].call)
	}
	near := make([]int, 0, len(m.entries))
	for i := range m.entries {
		if e := &m.entries[i]; e.ret >= from && e.call <= to && !slices.Contains(f.entries, i) {
			near = append(near, i)
		}
	}
	slices.SortFunc(near, func(a, b int) int { return int(m.entries[b].call - m.entries[a].call) })
	chosen = append(chosen, near[:min(len(near), max(0, maxWindow-len(chosen)))]...)
	slices.Sort(chosen)
	var ranks []int64
	for _, i := range chosen {
		if e := &m.entries[i]; e.send >= 0 && !e.bad {
			ranks = append(ranks, e.rank)
		}
	}
	slices.Sort(ranks)
	below := func(rank int64) int64 {
		if rank == unbounded {
			return unbounded
		}
		n, _ := slices.BinarySearch(ranks, rank)
		return int64(n)
	}
	window := make([]entry, len(chosen))
	for k, i := range chosen {
		e := m.entries[i]
		e.rank, e.minLen, e.maxLen = below(e.rank), below(e.minLen), below(e.maxLen)
		window[k] = e
	}
	return window
}
