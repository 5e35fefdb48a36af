package histtest

import (
	"math/rand/v2"

	"github.com/assay-project/assay/histories"
)

// firstValue is the first value of Load: great, as those of a run.
const firstValue = 120_000_000

// Load returns a correct history of n ops (invocations and completions, the final reads not counted) as a busy run makes it: clients that send to
// and poll all of parts partitions, half each, and a final read of each. It is the same for the same arguments.
func Load(n, parts, clients int) histories.History {
	r := rand.New(rand.NewPCG(uint64(n), uint64(parts)))
	l := &load{logs: make([][]histories.Message, parts), h: make(histories.History, 0, n+2*parts)}
	pending := make([]*histories.Op, clients)
	for sent := int64(firstValue); len(l.h)+clients < n; {
		p := r.IntN(clients)
		if op := pending[p]; op != nil {
			l.complete(op)
			pending[p] = nil
			continue
		}
		op := histories.New(histories.Invoke, p, histories.Poll)
		op.Part, op.Node = int32(r.IntN(parts)), "n1"
		if r.IntN(2) == 0 {
			op.F, op.Value = histories.Send, sent
			sent++
		} else {
			op.From = max(0, int64(len(l.logs[op.Part])-r.IntN(10)))
		}
		l.add(op)
		pending[p] = &op
	}
	for part, log := range l.logs {
		op := histories.New(histories.Invoke, clients+part, histories.Final)
		op.Part, op.From = int32(part), 0
		l.add(op)
		op.Type, op.HW, op.Msgs = histories.OK, int64(len(log)), log
		l.add(op)
	}
	return l.h
}

type load struct {
	logs [][]histories.Message
	h    histories.History
}

func (l *load) add(op histories.Op) {
	op.Index, op.Time = int64(len(l.h)), int64(len(l.h))*2_500_000
	l.h = append(l.h, op)
}

// complete does what op asks for, and records that.
func (l *load) complete(op *histories.Op) {
	log := &l.logs[op.Part]
	op.Type = histories.OK
	if op.F == histories.Send {
		op.Offset = int64(len(*log))
		*log = append(*log, histories.Message{Offset: op.Offset, Value: op.Value})
	} else {
		op.HW = int64(len(*log))
		op.Msgs = append([]histories.Message{}, (*log)[op.From:]...)
	}
	l.add(*op)
}
