package linear

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

// The oracle: Porcupine with a model that knows nothing of ranks, tables or the sweep. Its state is the log itself.

// logEntry is one message of the oracle's log.
type logEntry struct{ offset, value int64 }

// oracleInput is an operation of the oracle.
type oracleInput struct {
	send   bool
	value  int64
	offset int64 // send: where it goes
	refuse bool  // nothing explains it
	read   *histories.Op
	below  []int64 // read that reached the end: every offset below it that anything is known at
}

// oracle judges one partition's history by search over whole logs.
func oracle(h histories.History) porcupine.CheckResult {
	model := porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			in, log := input.(*oracleInput), parseLog(state.(string))
			if in.refuse {
				return false, state
			}
			if in.send {
				if n := len(log); n > 0 && log[n-1].offset >= in.offset {
					return false, state
				}
				return true, state.(string) + fmt.Sprintf("%d=%d,", in.offset, in.value)
			}
			return in.explains(log), state
		},
	}
	return porcupine.CheckOperationsTimeout(model, oracleOps(h), 0)
}

func parseLog(s string) (log []logEntry) {
	for len(s) > 0 {
		var e logEntry
		i := slices.Index([]byte(s), ',')
		if _, err := fmt.Sscanf(s[:i], "%d=%d", &e.offset, &e.value); err != nil {
			panic(err)
		}
		log, s = append(log, e), s[i+1:]
	}
	return log
}

// explains reports whether a read of log can return what it did.
func (in *oracleInput) explains(log []logEntry) bool {
	r := in.read
	var tail []logEntry // what is there at or above From
	for _, e := range log {
		if e.offset >= r.From {
			tail = append(tail, e)
		}
	}
	if len(r.Msgs) > len(tail) {
		return false
	}
	next := r.From
	for i, m := range r.Msgs {
		if tail[i] != (logEntry{m.Offset, m.Value}) {
			return false
		}
		next = m.Offset + 1
	}
	switch {
	case r.HW != histories.Unset && next >= r.HW:
		end := max(r.HW, 0)
		if len(r.Msgs) > 0 {
			end = max(end, next)
		}
		for _, e := range log {
			if e.offset >= end {
				return false
			}
		}
		n := 0
		for _, e := range log {
			if slices.Contains(in.below, e.offset) {
				n++
			}
		}
		return n == len(in.below)
	case r.HW == histories.Unset && len(r.Msgs) == 0:
		return len(tail) == 0
	}
	return true
}

// oracleOps makes operations of h. A send happens where it was acknowledged, within its time, and once more, at any time from its invocation on, wherever
// else a read shows it; an open or weak one only there.
func oracleOps(h histories.History) []porcupine.Operation {
	seen := map[int64][]int64{} // value -> offsets
	known := map[int64]bool{}   // offsets
	for i := range h {
		if op := &h[i]; op.Type == histories.OK && op.F != histories.Send {
			for _, m := range op.Msgs {
				if !slices.Contains(seen[m.Value], m.Offset) {
					seen[m.Value] = append(seen[m.Value], m.Offset)
				}
				known[m.Offset] = true
			}
		} else if op.Type == histories.OK {
			known[op.Offset] = true
		}
	}
	var ops []porcupine.Operation
	for inv, done := range histories.Pairs(h) {
		if inv.F == histories.Send {
			ops = append(ops, oracleSends(inv, done, seen[inv.Value], int64(len(h)))...)
			continue
		}
		if done == nil || done.Type != histories.OK {
			continue
		}
		read := *done
		in := &oracleInput{read: &read}
		end := read.HW
		if n := len(read.Msgs); n > 0 {
			end = max(end, read.Msgs[n-1].Offset+1)
		}
		for o := range known {
			if o < end {
				in.below = append(in.below, o)
			}
		}
		ops = append(ops, porcupine.Operation{Input: in, Call: inv.Index, Return: done.Index})
	}
	return ops
}

func oracleSends(inv, done *histories.Op, seen []int64, never int64) (ops []porcupine.Operation) {
	add := func(in oracleInput, ret int64) {
		in.send, in.value = true, inv.Value
		ops = append(ops, porcupine.Operation{Input: &in, Call: inv.Index, Return: ret})
	}
	acked := int64(histories.Unset)
	if done != nil && done.Type == histories.OK {
		acked = done.Offset
		add(oracleInput{offset: acked}, done.Index)
	}
	for _, o := range seen {
		if o != acked {
			add(oracleInput{offset: o, refuse: done != nil && done.Type == histories.Fail}, never)
		}
	}
	return ops
}

// generate runs a correct log and clients against it, and then breaks the history in up to two places.
func generate(r *rand.Rand) histories.History {
	g := &simulation{r: r, procs: make([]running, 2+r.IntN(3))}
	for n := 4 + r.IntN(10); n > 0 || g.open(); n-- {
		g.step(n > 0)
	}
	if r.IntN(3) > 0 { // a complete final read, in one chunk or two
		g.final()
	}
	for n := r.IntN(3); n > 0; n-- {
		mutate(r, g.h)
	}
	return g.h
}

// running is what a client is doing. The effect of an operation happens at a step of its own between invocation and completion.
type running struct {
	op      *histories.Op
	applied bool
	retired bool
}

type simulation struct {
	r     *rand.Rand
	procs []running
	log   []histories.Message
	h     histories.History
	sent  int64
	late  []int64 // values whose send is open and not applied
}

func (g *simulation) open() bool {
	return slices.ContainsFunc(g.procs, func(p running) bool { return p.op != nil })
}

func (g *simulation) add(op histories.Op) {
	op.Index, op.Time = int64(len(g.h)), int64(len(g.h))
	g.h = append(g.h, op)
}

func (g *simulation) step(more bool) {
	if len(g.late) > 0 && g.r.IntN(4) == 0 { // an operation that nobody waits for any more happens after all
		g.append(g.late[0])
		g.late = g.late[1:]
	}
	i := g.r.IntN(len(g.procs))
	p := &g.procs[i]
	switch {
	case p.retired:
		g.procs[i] = running{} // a new client; its number is new too
	case p.op == nil && more:
		g.invoke(i)
	case p.op == nil:
	case !p.applied:
		g.apply(p)
	default:
		g.add(*p.op)
		*p = running{}
	}
}

func (g *simulation) append(value int64) int64 {
	o := int64(len(g.log))
	g.log = append(g.log, histories.Message{Offset: o, Value: value})
	return o
}

func (g *simulation) invoke(i int) {
	op := histories.New(histories.Invoke, len(g.h)*10+i, histories.Poll)
	if g.r.IntN(2) == 0 {
		op.F = histories.Send
		g.sent++
		op.Value = 100 + g.sent
	} else {
		op.From = int64(g.r.IntN(len(g.log) + 1))
	}
	g.add(op)
	g.procs[i].op = &op
}

// apply does what an operation does, and decides its completion.
func (g *simulation) apply(p *running) {
	p.applied = true
	op := p.op
	op.Type = histories.OK
	if op.F == histories.Poll {
		g.read(op)
		return
	}
	switch g.r.IntN(10) {
	case 0: // unknown, and it happened or happens later or not at all
		op.Type = histories.Info
		if g.r.IntN(2) == 0 {
			g.late = append(g.late, op.Value)
		}
	case 1:
		op.Type = histories.Weak
		op.Offset = g.append(op.Value)
	case 2:
		op.Type = histories.Fail
	default:
		op.Offset = g.append(op.Value)
	}
}

func (g *simulation) read(op *histories.Op) {
	end := min(int(op.From)+g.r.IntN(4)*g.r.IntN(3), len(g.log))
	if g.r.IntN(3) == 0 {
		end = len(g.log)
	}
	op.Msgs = append([]histories.Message{}, g.log[min(int(op.From), end):end]...)
	switch {
	case end == len(g.log) && g.r.IntN(4) > 0, g.r.IntN(2) == 0:
		op.HW = int64(len(g.log))
	case len(op.Msgs) == 0: // cut short to nothing, or the end, without saying which: only the end may go unsaid
		op.HW = int64(len(g.log))
	}
}

func (g *simulation) final() {
	p, from := 7_000_000, 0
	for from < len(g.log) || from == 0 {
		op := histories.New(histories.Invoke, p, histories.Final)
		op.From = int64(from)
		g.add(op)
		end := len(g.log)
		if g.r.IntN(2) == 0 {
			end = min(end, from+1+g.r.IntN(3))
		}
		op.Type, op.HW = histories.OK, int64(len(g.log))
		op.Msgs = append([]histories.Message{}, g.log[from:end]...)
		g.add(op)
		if from = end; from == 0 {
			return
		}
	}
}

// mutate breaks one completion of h, or not really.
func mutate(r *rand.Rand, h histories.History) {
	op := &h[r.IntN(len(h))]
	for op.Type == histories.Invoke {
		op = &h[r.IntN(len(h))] // there is a completion: every operation of the simulation completes
	}
	if op.F == histories.Send {
		switch r.IntN(3) {
		case 0:
			if op.Type == histories.OK {
				op.Offset = max(0, op.Offset+int64(r.IntN(5)-2))
			}
		case 1:
			op.Type, op.Offset = histories.OK, int64(r.IntN(6))
		default:
			op.Type, op.Offset = histories.Fail, histories.Unset
		}
		return
	}
	n := len(op.Msgs)
	switch k := r.IntN(6); {
	case k == 0 && op.HW != histories.Unset:
		op.HW = max(0, op.HW+int64(r.IntN(3)-1))
	case k == 1 && n > 0: // cut the tail
		op.Msgs = op.Msgs[:r.IntN(n)]
		op.HW = op.From + int64(len(op.Msgs))
	case k == 2 && n > 0:
		i := r.IntN(n)
		op.Msgs = slices.Delete(slices.Clone(op.Msgs), i, i+1)
	case k == 3 && n > 0:
		op.Msgs = slices.Clone(op.Msgs)
		op.Msgs[r.IntN(n)].Value = 101 + int64(r.IntN(8))
	case k == 4 && n > 0:
		op.Msgs = slices.Clone(op.Msgs)
		op.Msgs[r.IntN(n)].Offset += int64(r.IntN(3) - 1)
	case k == 5 && n > 1:
		op.Msgs = slices.Clone(op.Msgs)
		slices.Reverse(op.Msgs)
	}
}

// verdict returns what the sweep alone says.
func verdict(t testing.TB, h histories.History, off rules) checker.Result {
	c := New(Config{ReadsUnderLoad: true, PorcupineOps: -1})
	c.off = off
	return c.Check(t.Context(), h)
}

// histories per run of the differential test; fewer under the race detector, which finds nothing here and costs ten times the time.
func differentialRuns() int {
	if testing.Short() || raceEnabled {
		return 10_000
	}
	return 120_000
}

func TestSweepAgreesWithPorcupine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	legal, illegal := 0, 0
	for i := range differentialRuns() {
		h := generate(r)
		require.NoError(t, histories.Validate(h))
		want := checker.Valid
		if oracle(h) == porcupine.Illegal {
			want = checker.Invalid
			illegal++
		} else {
			legal++
		}
		res := verdict(t, h, 0)
		if got := res.Verdict; got != want && (got != checker.Unknown || want == checker.Invalid) {
			t.Fatalf("history %d: sweep says %v, Porcupine says %v\n%+v\n%s", i, got, want, res, text(h))
		}
	}
	require.Greater(t, legal, differentialRuns()/5, "the generator makes too few legal histories")
	require.Greater(t, illegal, differentialRuns()/5, "the generator makes too few illegal histories")
}

// Every rule is needed: without it, some illegal history passes.
func TestEveryRuleMatters(t *testing.T) {
	all := []struct {
		name string
		rule rules
	}{
		{"gone", ruleGone | ruleSweep | ruleContent}, // what it finds, sweep and contents find as well: it only names it
		{"conflict", ruleConflict}, {"stray", ruleStray}, {"content", ruleContent}, {"sweep", ruleSweep}, {"tail", ruleTail},
	}
	for _, rule := range all {
		t.Run(rule.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for range differentialRuns() {
				h := generate(r)
				if verdict(t, h, 0).Verdict == checker.Invalid && verdict(t, h, rule.rule).Verdict != checker.Invalid {
					require.Equal(t, porcupine.Illegal, oracle(h))
					return
				}
			}
			t.Fatal("no history needs this rule")
		})
	}
}

// The window that Porcupine draws proves by itself what it is drawn for.
func TestWindowIsIllegal(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	windows := 0
	for range 10_000 {
		h := generate(r)
		res := New(Config{ReadsUnderLoad: true}).Check(t.Context(), h)
		if res.Verdict != checker.Invalid {
			requirePictures(t, h, searchLegal)
			continue
		}
		n := 0
		for _, class := range []checker.Class{checker.Nonlinearizable, checker.StaleRead} {
			n += int(res.Figures[string(class)])
		}
		require.InDelta(t, min(n, maxConfirmed), res.Figures["porcupine_confirmed"], 0, "%+v\n%s", res, text(h))
		requirePictures(t, h, searchIllegal)
		windows++
	}
	require.Greater(t, windows, 1_000)
}

// text writes h as one line per op, for a failing test.
func text(h histories.History) string {
	var b []byte
	for i := range h {
		b = append(histories.AppendOp(b, &h[i]), '\n')
	}
	return string(b)
}
