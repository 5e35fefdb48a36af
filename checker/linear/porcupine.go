package linear

import (
	"context"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/assay-project/assay/checker/internal/logview"
)

// windowTime bounds the search of one window. Illegal histories are the slow ones, and the sweep has decided already.
const windowTime = 500 * time.Millisecond

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
		Hash: func(state any) uint64 { return uint64(state.(int64)) * 0x9e3779b97f4a7c15 },
	}
}

// search lets Porcupine judge entries.
func search(ctx context.Context, entries []entry) outcome {
	return decide(ctx, compact(ctx), operations(entries))
}

// decide runs a search whose model refuses everything once ctx is done.
func decide(ctx context.Context, model porcupine.Model, ops []porcupine.Operation) outcome {
	res := porcupine.CheckOperationsTimeout(model, ops, 0)
	switch {
	case ctx.Err() != nil:
		return searchUnknown
	case res == porcupine.Ok:
		return searchLegal
	}
	return searchIllegal
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
