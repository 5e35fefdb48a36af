// Package oracle supports the differential tests of the checkers: it makes small histories of the workload log, broken in a few places, and reads
// from them what the definitions in docs/anomalies.md speak of, in the plainest way and without any code of the checkers or of logview.
// It is for tests, slow, and judges nothing.
package oracle

import (
	"math/rand/v2"
	"slices"

	"github.com/assay-project/assay/histories"
)

const (
	parts    = 2
	clients  = 3
	retiree  = 50  // processes from here on do one send, of unknown outcome
	finalist = 100 // processes from here on read in the end
)

// Generate returns a history of a few operations on two partitions that n1 leads and n2 follows: sends and batches of every outcome, retries that are
// stored twice, gaps in the offsets, logs that lose their end, polls, mostly final reads in chunks, and scans, with faults between that do nothing. In up to four places it is then no longer what happened.
func Generate(r *rand.Rand) histories.History {
	g := &generator{r: r}
	for range 3 + r.IntN(8) {
		g.step()
		if r.IntN(10) == 0 {
			g.strike()
		}
	}
	if r.IntN(3) > 0 {
		g.recovery()
	}
	for p := range int32(parts) {
		if r.IntN(6) > 0 {
			g.note(p)
		}
		for range min(r.IntN(4), 2) {
			g.readAll(histories.Final, "", p, len(g.logs[p]))
		}
	}
	g.step() // after the final read began, for all it knows
	for p := range int32(parts) {
		for _, node := range []string{"n1", "n2"}[:r.IntN(3)] {
			g.readAll(histories.Scan, node, p, len(g.logs[p])-r.IntN(2))
		}
	}
	for range r.IntN(5) {
		g.mutate()
	}
	return g.h
}

type generator struct {
	r     *rand.Rand
	h     histories.History
	logs  [parts][]histories.Message
	value int64
	next  int             // reads of whole logs, each of which has a process
	on    map[string]bool // faults that are not healed, with their nodes
	// retired counts the processes that ended in info.
	retired int
}

func (g *generator) add(op histories.Op) {
	op.Index, op.Time = int64(len(g.h)), int64(len(g.h))
	g.h = append(g.h, op)
}

func (g *generator) note(part int32) {
	op := histories.New(histories.Info, histories.NemesisProcess, histories.Note)
	op.Fault, op.Node, op.Part = "leader", []string{"n1", "n1", "n1", "n2"}[g.r.IntN(4)], part
	g.add(op)
}

// recovery notes that the cluster is well again, or, sometimes, that it is not.
func (g *generator) recovery() {
	op := histories.New(histories.Info, histories.NemesisProcess, histories.Note)
	op.Fault = "recovery"
	if g.r.IntN(4) == 0 {
		op.Err = "not well"
	}
	g.add(op)
}

// strike is a fault, perhaps with a step before its heal, which may be missing; then there is no other such fault.
func (g *generator) strike() {
	op := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
	op.Fault = []string{"wipe:leader", "power", "corrupt", "promote", "kill", "full"}[g.r.IntN(6)]
	op.Node = []string{"n1", "n2", "n3", "n2,n4", ""}[g.r.IntN(5)]
	if g.on == nil {
		g.on = make(map[string]bool)
	}
	if g.on[op.Fault+op.Node] {
		return
	}
	g.add(op)
	if g.r.IntN(2) == 0 {
		g.step()
	}
	if g.on[op.Fault+op.Node] = g.r.IntN(4) == 0; !g.on[op.Fault+op.Node] {
		op.F = histories.Heal
		g.add(op)
	}
}

// step is one operation of a client, or two that overlap, perhaps after a log has lost its end.
func (g *generator) step() {
	if g.r.IntN(8) == 0 {
		log := &g.logs[g.r.IntN(parts)]
		*log = slices.Clone((*log)[:max(0, len(*log)-1-g.r.IntN(2))])
	}
	a, done := g.op(g.r.IntN(clients))
	if g.r.IntN(4) > 0 {
		g.add(a)
		g.add(done)
		return
	}
	b, after := g.op(clients)
	g.add(a)
	g.add(b)
	g.add(after)
	g.add(done)
}

// op returns an operation of process p: it happens at once.
func (g *generator) op(p int) (inv, done histories.Op) {
	part := int32(g.r.IntN(parts))
	if g.r.IntN(3) == 0 {
		inv = histories.New(histories.Invoke, p, histories.Poll)
		inv.Part, inv.From = part, int64(g.r.IntN(len(g.logs[part])+1))
		done = inv
		done.Type, done.Node, done.HW = histories.OK, "n1", g.end(part)
		for _, m := range g.logs[part] {
			if m.Offset >= inv.From && g.r.IntN(8) > 0 {
				done.Msgs = append(done.Msgs, m)
			} else if m.Offset >= inv.From {
				break
			}
		}
		return inv, done
	}
	inv = histories.New(histories.Invoke, p, histories.Send)
	inv.Part = part
	values := 1
	if g.r.IntN(4) == 0 {
		values = 2
	}
	for range values {
		g.value++
		inv.Msgs = append(inv.Msgs, histories.Message{Offset: histories.Unset, Value: g.value})
	}
	done = inv
	done.Msgs = slices.Clone(inv.Msgs)
	done.Type = []histories.Type{histories.OK, histories.OK, histories.OK, histories.OK, histories.Weak, histories.Info, histories.Fail}[g.r.IntN(7)]
	if done.Type == histories.Info { // its process is not used again
		g.retired++
		inv.Process = retiree + g.retired
		done.Process = inv.Process
	}
	stored := done.Type != histories.Fail && (done.Type != histories.Info || g.r.IntN(2) == 0)
	for i := range done.Msgs {
		if stored {
			at := g.store(part, done.Msgs[i].Value)
			if done.Type != histories.Info {
				done.Msgs[i].Offset = at
			}
		}
	}
	if stored && g.r.IntN(12) == 0 { // a retry
		g.store(part, done.Msgs[0].Value)
	}
	if values == 1 {
		inv.Value, done.Value, done.Offset = inv.Msgs[0].Value, inv.Msgs[0].Value, done.Msgs[0].Offset
		inv.Msgs, done.Msgs = nil, nil
	}
	return inv, done
}

func (g *generator) store(part int32, value int64) int64 {
	at := g.end(part)
	if g.r.IntN(10) == 0 {
		at++ // a gap
	}
	g.logs[part] = append(g.logs[part], histories.Message{Offset: at, Value: value})
	return at
}

func (g *generator) end(part int32) int64 {
	if log := g.logs[part]; len(log) > 0 {
		return log[len(log)-1].Offset + 1
	}
	return 0
}

// readAll reads the first n messages of a log in chunks.
func (g *generator) readAll(f, node string, part int32, n int) {
	log := g.logs[part][:max(n, 0)]
	end := int64(0)
	if len(log) > 0 {
		end = log[len(log)-1].Offset + 1
	}
	op := histories.New(histories.Invoke, finalist+g.next, f)
	g.next++
	op.Part, op.Node, op.From = part, node, 0
	for {
		g.add(op)
		done := op
		done.Type, done.HW = histories.OK, end
		k := len(log)
		if g.r.IntN(3) == 0 {
			k = g.r.IntN(k + 1)
		}
		done.Msgs = slices.Clone(log[:k])
		log = log[k:]
		g.add(done)
		if len(done.Msgs) > 0 {
			op.From = done.Msgs[k-1].Offset + 1
		}
		if len(log) == 0 || k == 0 {
			return
		}
	}
}

// mutate changes a completion of a client, so that the history stays one.
func (g *generator) mutate() {
	op := &g.h[g.r.IntN(len(g.h))]
	if op.Process == histories.NemesisProcess || op.Type == histories.Invoke || op.Type == histories.Info {
		return
	}
	op.Msgs = slices.Clone(op.Msgs)
	n := len(op.Msgs)
	if op.F == histories.Send {
		switch g.r.IntN(3) {
		case 0:
			op.Type = []histories.Type{histories.OK, histories.Weak, histories.Fail}[g.r.IntN(3)]
		case 1:
			if n > 0 {
				op.Msgs[g.r.IntN(n)].Offset = int64(g.r.IntN(6))
			} else {
				op.Offset = int64(g.r.IntN(6))
			}
		default:
			if n > 0 {
				op.Msgs[g.r.IntN(n)].Offset = histories.Unset
			} else {
				op.Offset = histories.Unset
			}
		}
		return
	}
	switch k := g.r.IntN(9); {
	case k == 0:
		op.HW = int64(g.r.IntN(8)) - 1
	case k == 1 && g.r.IntN(2) == 0:
		op.Type, op.Msgs = histories.Fail, nil
	case n == 0:
		op.Msgs = append(op.Msgs, histories.Message{Offset: op.From, Value: 1 + g.r.Int64N(g.value+2)})
	case k == 2:
		op.Msgs = op.Msgs[:g.r.IntN(n)]
	case k == 3, k == 4:
		i := g.r.IntN(n)
		op.Msgs = slices.Delete(op.Msgs, i, i+1)
	case k == 5:
		op.Msgs[g.r.IntN(n)].Value = g.r.Int64N(g.value+3) - 1
	case k == 6:
		op.Msgs[g.r.IntN(n)].Offset += int64(g.r.IntN(3) - 1)
	case k == 7:
		op.Msgs = append(op.Msgs, histories.Message{Offset: op.Msgs[n-1].Offset + 1, Value: 1 + g.r.Int64N(g.value+2)})
	default:
		slices.Reverse(op.Msgs)
	}
}
