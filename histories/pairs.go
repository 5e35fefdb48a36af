package histories

import (
	"iter"
	"slices"
)

// Pairs iterates over the operations of the clients: each invocation with its completion, in the order of the completions. At the end come the
// operations that never completed, in the order of their invocations, with a nil completion: such an operation is to be judged as one that
// completed with info. Ops of the nemesis, and completions without an invocation, are left out.
//
// The pointers are valid for their turn only; copy the ops to keep them.
func Pairs(h Reader) iter.Seq2[*Op, *Op] {
	return func(yield func(invoke, done *Op) bool) {
		open := make(map[int]*Op)
		var free []*Op // copies of invocations whose operation is over
		for op := range h.Ops() {
			if op.Process == NemesisProcess {
				continue
			}
			if op.Type == Invoke {
				var inv *Op
				if n := len(free); n > 0 {
					inv, free = free[n-1], free[:n-1]
				} else {
					inv = new(Op)
				}
				*inv = *op
				open[op.Process] = inv
				continue
			}
			inv := open[op.Process]
			if inv == nil {
				continue
			}
			delete(open, op.Process)
			if !yield(inv, op) {
				return
			}
			free = append(free, inv)
		}
		rest := make([]*Op, 0, len(open))
		for _, inv := range open {
			rest = append(rest, inv)
		}
		slices.SortFunc(rest, func(a, b *Op) int { return int(a.Index - b.Index) })
		for _, inv := range rest {
			if !yield(inv, nil) {
				return
			}
		}
	}
}
