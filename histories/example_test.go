package histories_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/assay-project/assay/histories"
)

// A Recorder writes a history, and Read reads it back. An op is an invocation and, on a line of its
// own, its completion.
func Example() {
	var file bytes.Buffer
	now := time.Duration(0)
	rec := histories.NewRecorder(&file, func() time.Duration { now += time.Millisecond; return now })

	op := histories.New(histories.Invoke, 1, histories.Send)
	op.Value = 100
	for _, t := range []histories.Type{histories.Invoke, histories.OK} {
		op.Type = t
		if t == histories.OK {
			op.Node, op.Offset = "n1", 0
		}
		if _, err := rec.Record(op); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Print(file.String())

	h, _, err := histories.Read(&file)
	fmt.Println(len(h), "ops", err)
	// Output:
	// {"i":0,"t":1000000,"type":"invoke","p":1,"f":"send","part":0,"value":100}
	// {"i":1,"t":2000000,"type":"ok","p":1,"f":"send","node":"n1","part":0,"value":100,"offset":0}
	// 2 ops <nil>
}

// Pairs puts invocations and completions together. An operation that never ended has no completion,
// and may or may not have happened.
func ExamplePairs() {
	invoke := histories.New(histories.Invoke, 1, histories.Send)
	for inv, done := range histories.Pairs(histories.History{invoke}) {
		fmt.Println(inv.F, done == nil)
	}
	// Output:
	// send true
}

// EventsOf reads what the nemesis did: each strike with its heal, and what it could destroy.
func ExampleEventsOf() {
	h := histories.History{
		histories.NewInject("wipe:leader", histories.Event{Strike: 1, Harm: histories.HarmDisk}, "n1"),
		histories.NewHeal("wipe:leader", 1, "n1"),
	}
	h[1].Index, h[1].Time, h[1].Effect = 1, 2e9, "its disk with 512 bytes deleted"
	for _, s := range histories.EventsOf(h).Strikes {
		fmt.Printf("%s of %v, which can destroy: %s; %s\n", s.Name, s.Nodes, s.Harm, s.Effect)
	}
	// Output:
	// wipe of [n1], which can destroy: disk; its disk with 512 bytes deleted
}
