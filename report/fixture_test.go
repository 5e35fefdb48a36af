package report

import (
	"math/rand/v2"
	"time"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// small is a history of one lost message, 4, and of one that is kept, 5.
func small() histories.History {
	var h histories.History
	add := func(at time.Duration, op histories.Op) {
		op.Index, op.Time = int64(len(h)), int64(at)
		h = append(h, op)
	}
	op := func(t histories.Type, p int, f string, set func(*histories.Op)) histories.Op {
		o := histories.New(t, p, f)
		o.Node = "n1"
		set(&o)
		return o
	}
	value := func(v, offset int64) func(*histories.Op) {
		return func(o *histories.Op) { o.Value, o.Offset = v, offset }
	}
	readOf := func(node string, from, hw int64, msgs ...histories.Message) func(*histories.Op) {
		return func(o *histories.Op) { o.Node, o.From, o.HW, o.Msgs = node, from, hw, msgs }
	}
	from := func(o *histories.Op) { o.From = 0 }
	add(100*time.Millisecond, op(histories.Invoke, 0, histories.Send, value(4, histories.Unset)))
	add(102*time.Millisecond, op(histories.OK, 0, histories.Send, value(4, 0)))
	add(500*time.Millisecond, op(histories.Invoke, 1, histories.Poll, from))
	add(510*time.Millisecond, op(histories.OK, 1, histories.Poll, readOf("n1", 0, 1, histories.Message{Offset: 0, Value: 4})))
	fault := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
	fault.Node, fault.Fault, fault.Effect = "n1", "wipe:leader", "1 process killed, 420 bytes deleted"
	add(time.Second, fault)
	add(1100*time.Millisecond, op(histories.Invoke, 2, histories.Send, value(6, histories.Unset)))
	add(2*time.Second, op(histories.Info, 2, histories.Send, func(o *histories.Op) { o.Value, o.Err = 6, "no answer" }))
	heal := fault
	heal.F, heal.Effect = histories.Heal, ""
	add(2500*time.Millisecond, heal)
	add(3*time.Second, op(histories.Invoke, 0, histories.Send, value(5, histories.Unset)))
	add(3020*time.Millisecond, op(histories.OK, 0, histories.Send, value(5, 0)))
	add(4*time.Second, op(histories.Invoke, 1, histories.Final, from))
	add(4010*time.Millisecond, op(histories.OK, 1, histories.Final, readOf("n2", 0, 1, histories.Message{Offset: 0, Value: 5})))
	add(4020*time.Millisecond, op(histories.Invoke, 1, histories.Scan, from))
	add(4030*time.Millisecond, op(histories.OK, 1, histories.Scan, readOf("n1", 0, 1, histories.Message{Offset: 0, Value: 5})))
	return h
}

// permitted is the document of small.
func permitted() *Document {
	lost := checker.Anomaly{
		Class: checker.LostWrite, Part: 0, Values: []int64{4}, Offsets: []int64{0}, Witnesses: []int64{1, 11},
		Explanation: "message 4 was acknowledged by n1 at 0.102 s and is in no final read",
	}
	return &Document{
		Summary: judge.Summary{
			Run: "runs/r1", Seed: 42, Env: "sim", Mode: "master-slave", Workload: "log", Nemesis: "wipe:leader", Verdict: "permitted", Exit: 4,
			Reproduce: "assay run --nodes 2 --nemesis wipe:leader --seed 42",
			Anomalies: []judge.AnomalySummary{{
				Class: checker.LostWrite, Count: 1, Permitted: true, Witnesses: lost.Witnesses, Explanation: lost.Explanation,
			}},
			Ops: histories.OpCounts{OK: 5, Info: 1},
			Faults: []judge.FaultRecord{{
				Name: "wipe", Target: "leader", Nodes: []string{"n1"}, AtMS: 1000, HealedMS: 2500, Effect: "1 process killed, 420 bytes deleted",
			}},
			VirtualMS: 4030, WallMS: 20, CheckMS: 3,
		},
		Findings: []Finding{{Anomaly: lost, Permitted: true, Why: "replication=async acknowledges on the leader alone (VMS-02)"}},
		Checkers: []CheckerNote{{Name: "delivery", Verdict: checker.Invalid, TookMS: 1.5, Figures: map[string]float64{"lost-write": 1}}},
		Settings: []Setting{{"replication", "async"}},
	}
}

// busy is a minute of load with faults, for a page with something on it.
func busy() (histories.History, []judge.FaultRecord) {
	r := rand.New(rand.NewPCG(1, 2))
	var h histories.History
	add := func(at time.Duration, op histories.Op) {
		op.Index, op.Time = int64(len(h)), int64(at)
		h = append(h, op)
	}
	var faults []judge.FaultRecord
	for i := range 6 {
		at := int64(5000 + 9000*i)
		faults = append(faults, judge.FaultRecord{
			Name: []string{"slow", "kill", "partition"}[i%3], Target: "leader", Nodes: []string{"n1", "n2"}, AtMS: at, HealedMS: at + 6000, Effect: "231 packets",
		})
		faults = append(faults, judge.FaultRecord{Name: "promote", Target: "one", Nodes: []string{"n2"}, AtMS: at + 3000, HealedMS: at + 3000})
	}
	process, now := 0, time.Duration(0)
	for now < time.Minute {
		f := histories.Send
		if r.IntN(2) == 0 {
			f = histories.Poll
		}
		inv := histories.New(histories.Invoke, process, f)
		inv.Value = int64(len(h))
		add(now, inv)
		done, took := inv, time.Duration(500+r.ExpFloat64()*3000)*time.Microsecond
		done.Type, done.Offset = histories.OK, int64(len(h))
		if s := int(now.Seconds()); s%9 > 5 && r.IntN(3) == 0 {
			took *= 200
			done.Type = []histories.Type{histories.Info, histories.Fail, histories.Weak}[r.IntN(3)]
		}
		now += took
		add(now, done)
		if done.Type == histories.Info {
			process++
		}
	}
	return h, faults
}
