package histories

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// told makes a history of what the nemesis and the harness did, one op per second from 1 on.
func told(ops ...Op) History {
	for i := range ops {
		ops[i].Index, ops[i].Time = int64(i), int64(i+1)*1e9
	}
	return ops
}

// old returns an op of the nemesis as format 1 had it.
func old(f, fault, nodes, effect string) Op {
	op := New(Info, NemesisProcess, f)
	op.Fault, op.Node, op.Effect = fault, nodes, effect
	return op
}

// failed is op with the reason why it did not take place.
func failed(op Op, why string) Op {
	op.Err = why
	return op
}

// heals returns, for each strike of a history, the index of its heal.
func heals(h History) []int64 {
	var all []int64
	for _, s := range EventsOf(h).Strikes {
		all = append(all, s.Heal)
	}
	return all
}

func TestSplitFault(t *testing.T) {
	for spec, want := range map[string][3]string{
		"kill": {"kill", "one", ""}, "kill:one": {"kill", "one", ""}, "wipe:leader": {"wipe", "leader", ""}, "partition/ring": {"partition", "one", "ring"},
		"partition:leader/alone/with-clients": {"partition", "leader", "alone/with-clients"}, "partition/a:b": {"partition", "one", "a:b"}, "": {"", "one", ""},
	} {
		name, role, shape := SplitFault(spec)
		require.Equal(t, want, [3]string{name, role, shape}, spec)
	}
}

// A strike is what its injection and its heal say together.
func TestStrike(t *testing.T) {
	got := EventsOf(told(
		NewInject("partition:minority/oneway", Event{Strike: 7, Harm: HarmNone}, "n1", "n2"),
		NewInject("corrupt", Event{Strike: 8, Harm: HarmBits, Instant: true}, "n3"),
		func() Op {
			op := NewHeal("partition:minority/oneway", 7, "n1", "n2")
			op.Effect = "9 packets dropped"
			return op
		}(),
		NewInject("pause", Event{Strike: 9, Harm: HarmNone}, "n3"),
		failed(NewHeal("pause", 9, "n3"), "no such process"),
		NewInject("kill", Event{Strike: 10, Harm: HarmNone}),
	)).Strikes
	require.Equal(t, []Strike{
		{Fault: "partition:minority/oneway", Name: "partition", Role: "minority", Shape: "oneway", Nodes: []string{"n1", "n2"}, Harm: HarmNone, Number: 7,
			Inject: 0, Heal: 2, From: 1e9, To: 3e9, Effect: "9 packets dropped"},
		{Fault: "corrupt", Name: "corrupt", Role: "one", Nodes: []string{"n3"}, Harm: HarmBits, Instant: true, Number: 8, Inject: 1, Heal: Unset, From: 2e9, To: 2e9},
		{Fault: "pause", Name: "pause", Role: "one", Nodes: []string{"n3"}, Harm: HarmNone, Number: 9, Inject: 3, Heal: 4, From: 4e9, To: 5e9, Err: "no such process"},
		{Fault: "kill", Name: "kill", Role: "one", Harm: HarmNone, Number: 10, Inject: 5, Heal: Unset, From: 6e9, To: Never},
	}, got)
	require.True(t, got[0].Healed())
	require.False(t, got[1].Healed())
	require.Equal(t, "partition n1,n2 at 1.0s", got[0].String())
	require.Equal(t, "kill at 6.0s", got[3].String())
}

// Two strikes of one fault at the same nodes overlap: each heal ends the strike of its number,
// whatever the order.
func TestHealsAreTiedByNumber(t *testing.T) {
	slow := func(n int) Op { return NewInject("slow", Event{Strike: n, Harm: HarmNone}, "n1") }
	heal := func(n int) Op { return NewHeal("slow", n, "n1") }
	require.Equal(t, []int64{3, 2}, heals(told(slow(1), slow(2), heal(2), heal(1))), "the later one first")
	require.Equal(t, []int64{2, 3}, heals(told(slow(1), slow(2), heal(1), heal(2))), "the earlier one first")
	require.Equal(t, []int64{2, Unset}, heals(told(slow(1), slow(2), heal(1), heal(1))), "a heal after the heal ends nothing else")
	require.Equal(t, []int64{Unset, Unset}, heals(told(slow(1), slow(2), heal(3))), "nor does that of a strike that nobody saw")
	require.Equal(t, []int64{1, Unset}, heals(told(slow(1), NewHeal("", 1), slow(2), NewHeal("", 3))), "the number alone counts")
	require.Equal(t, []int64{1, 3}, heals(told(slow(1), heal(1), slow(1), heal(1))), "a number that comes again")
	require.Equal(t, []int64{2, 3}, heals(told(slow(1), slow(1), heal(1), heal(1))), "also before the first is healed")
}

// Format 1 had no numbers: names and nodes tie a heal to the earliest open strike.
func TestHealsOfFormat1(t *testing.T) {
	kill := func(nodes string) Op { return old(Inject, "kill", nodes, "") }
	wipe := func(nodes string) Op { return old(Inject, "wipe", nodes, "") }
	heal := func(fault, nodes string) Op { return old(Heal, fault, nodes, "") }
	for _, c := range []struct {
		what string
		h    History
		want []int64
	}{
		{"fault and nodes, first in first out", told(kill("n1"), kill("n1"), heal("kill", "n1"), heal("kill", "n1")), []int64{2, 3}},
		{"the nodes decide", told(kill("n1"), kill("n2"), heal("kill", "n2"), heal("kill", "n1")), []int64{3, 2}},
		{"the fault decides", told(kill("n1"), wipe("n1"), heal("wipe", "n1"), heal("kill", "n1")), []int64{3, 2}},
		{"a role makes another fault", told(old(Inject, "kill:leader", "n1", ""), kill("n1"), heal("kill", "n1")), []int64{Unset, 2}},
		{"the fault alone: the earliest", told(kill("n1"), wipe("n3"), kill("n2"), heal("kill", "")), []int64{3, Unset, Unset}},
		{"other nodes: the earliest of the fault", told(wipe("n3"), kill("n1"), kill("n2"), heal("kill", "n9")), []int64{Unset, 3, Unset}},
		{"without a fault: all", told(kill("n1"), wipe("n2"), kill("n3"), heal("kill", "n1"), heal("", "")), []int64{3, 4, 4}},
		{"without a fault, but with nodes: all", told(kill("n1"), wipe("n2"), heal("", "n1")), []int64{2, 2}},
		{"after the heal", told(kill("n1"), heal("kill", "n1"), heal("kill", "n1"), heal("", "")), []int64{1}},
		{"of what never struck", told(kill("n1"), heal("wipe", "n1")), []int64{Unset}},
		{"before the injection", told(heal("kill", "n1"), kill("n1")), []int64{Unset}},
	} {
		require.Equal(t, c.want, heals(c.h), c.what)
	}
	early := EventsOf(told(old(Inject, "kill", "n1", "struck"), old(Heal, "kill", "n1", "killed"), failed(old(Heal, "kill", "n1", "again"), "late"))).Strikes
	require.Equal(t, "killed", early[0].Effect, "a heal after the heal says nothing")
	require.Empty(t, early[0].Err)
	late := EventsOf(told(failed(old(Inject, "kill", "n1", "struck"), "half of it"), old(Heal, "kill", "n1", ""))).Strikes
	require.Equal(t, "struck", late[0].Effect, "nor does a heal that has nothing to say")
	require.Equal(t, "half of it", late[0].Err)
	require.EqualValues(t, 2e9, early[0].To)
}

// The names of format 1 and what they meant. The list is closed.
func TestFaultsOfFormat1(t *testing.T) {
	type said struct {
		harm    Harm
		instant bool
	}
	for spec, want := range map[string]said{
		"wipe": {HarmDisk, false}, "wipe:leader": {HarmDisk, false}, "power": {HarmUnsynced, false}, "power:all": {HarmUnsynced, false},
		"fsync": {HarmWrites, false}, "full": {HarmWrites, false}, "corrupt": {HarmBits, true}, "corrupt:follower": {HarmBits, true},
		"promote": {HarmLeadership, true}, "promote:leader": {HarmLeadership, true}, "restart": {HarmNone, true}, "transfer": {HarmNone, true},
		"kill": {HarmNone, false}, "pause": {HarmNone, false}, "partition/halves": {HarmNone, false}, "slow": {HarmNone, false}, "loss": {HarmNone, false},
		"acid": {HarmNone, false}, "wiper": {HarmNone, false}, "": {HarmNone, false},
	} {
		s := EventsOf(told(old(Inject, spec, "n1", ""))).Strikes[0]
		require.Equal(t, want, said{s.Harm, s.Instant}, spec)
		require.Equal(t, map[bool]int64{true: s.From, false: Never}[want.instant], s.To, spec)
		require.Zero(t, s.Number)
	}
}

// What an event says counts, and its name only where it says nothing of the harm.
func TestEventsAreBelievedBeforeNames(t *testing.T) {
	got := EventsOf(told(
		NewInject("acid", Event{Strike: 1, Harm: HarmDisk}, "n1"),
		NewInject("wipe", Event{Strike: 2, Harm: HarmNone}, "n1"),
		NewInject("corrupt", Event{Strike: 3, Harm: HarmBits}, "n1"),
		NewInject("corrupt", Event{Strike: 4}, "n1"),
		NewInject("acid", Event{Strike: 5, Instant: true}, "n1"),
	)).Strikes
	require.Equal(t, []Harm{HarmDisk, HarmNone, HarmBits, HarmBits, HarmNone}, []Harm{got[0].Harm, got[1].Harm, got[2].Harm, got[3].Harm, got[4].Harm})
	require.Equal(t, []bool{false, false, false, true, true}, []bool{got[0].Instant, got[1].Instant, got[2].Instant, got[3].Instant, got[4].Instant})
}

// A promote of format 1 is a text. What cannot be read was not safe.
func TestPromotesOfFormat1(t *testing.T) {
	for text, want := range map[string]*Promote{
		"epoch 3, leader n2, safe":                {Epoch: 3, Safe: true},
		"epoch 12, leader n1, forced":             {Epoch: 12, Forced: true},
		"epoch 4, leader n1, unsafe":              {Epoch: 4},
		"epoch 9223372036854775807, leader, safe": {Epoch: 1<<63 - 1, Safe: true},
		"leader n2, safe":                         {Safe: true},
		"epoch x, leader n2":                      {},
		"?":                                       {},
		"safe":                                    {},
		"epoch 3, leader n2, safe ":               {Epoch: 3},
		"epoch 3, leader n2, as good as safe":     {Epoch: 3},
	} {
		n := EventsOf(told(old(Note, NotePromote, "n2", text))).Notes[0]
		require.Equal(t, want, n.Promote, text)
		require.Equal(t, "n2", n.Node())
	}
	refused := EventsOf(told(failed(old(Note, NotePromote, "n2", ""), "not safe"))).Notes[0]
	require.Nil(t, refused.Promote)
	require.Equal(t, "not safe", refused.Err)
	other := EventsOf(told(old(Note, NoteGroup, "n2", "epoch 3, leader n2, safe"))).Notes[0]
	require.Nil(t, other.Promote, "of a note of a promote only")
}

// What a promote says in fields is what it says in words.
func TestPromoteNote(t *testing.T) {
	for text, p := range map[string]Promote{
		"epoch 3, leader n2, safe": {Epoch: 3, Safe: true}, "epoch 4, leader n2, forced": {Epoch: 4, Forced: true}, "epoch 5, leader n2, unsafe": {Epoch: 5},
	} {
		op := NewPromoteNote(1, "n2", p)
		require.Equal(t, text, op.Effect)
		n := EventsOf(told(op)).Notes[0]
		require.Equal(t, Noted{Note: NotePromote, Time: 1e9, Part: 1, Nodes: []string{"n2"}, Promote: &p}, n)
		op.Event = nil
		require.Equal(t, n, EventsOf(told(op)).Notes[0], "format 1 tells the same")
	}
	op := NewPromoteNote(0, "n2", Promote{Epoch: 3})
	op.Effect = "epoch 3, leader n2, safe"
	require.False(t, EventsOf(told(op)).Notes[0].Promote.Safe, "the fields count, not the words")
}

// What did not take place is a strike, but it did not strike.
func TestMissedStrikes(t *testing.T) {
	e := EventsOf(told(
		old(Inject, "kill", "n1", ""),
		failed(old(Inject, "kill", "", ""), "nothing is left to kill"),
		failed(old(Heal, "kill", "", ""), "nothing is left to kill"),
		failed(NewInject("wipe", Event{Strike: 4, Harm: HarmDisk}), "nobody leads"),
		failed(NewHeal("wipe", 4), "nobody leads"),
		failed(old(Heal, "kill", "n1", ""), "no engine"),
	))
	require.Len(t, e.Strikes, 3)
	require.Equal(t, []bool{false, true, true}, []bool{e.Strikes[0].Missed, e.Strikes[1].Missed, e.Strikes[2].Missed}, "a failed heal is no missed strike")
	require.Equal(t, []int64{5, 2, 4}, []int64{e.Strikes[0].Heal, e.Strikes[1].Heal, e.Strikes[2].Heal})
	require.Equal(t, "nobody leads", e.Strikes[2].Err)
	struck := e.Struck()
	require.Equal(t, e.Strikes[:1], struck)
	struck[0].Name = "mine"
	require.Equal(t, "kill", e.Strikes[0].Name, "a copy")
}

func TestNotes(t *testing.T) {
	leader := func(part int32, node string) Op { op := NewNote(NoteLeader, node); op.Part = part; return op }
	none := EventsOf(told())
	require.Nil(t, none.Recovery())
	require.Empty(t, none.Leader(0))
	require.Empty(t, none.Groups())
	require.False(t, none.Interrupted())

	e := EventsOf(told(
		NewGroupNote(0, "n1", "n2"), NewGroupNote(1, "n4", "n3"), NewGroupNote(0, "n2", "n1", "n5"),
		leader(0, "n1"), leader(1, "n4"), leader(0, "n2"),
		failed(NewNote(NoteRecovery), "not well after 60s"), NewNote(NoteRecovery),
		NewNote(NoteInterrupted), NewNote("of another version", "n1"),
	))
	require.Equal(t, map[int][]string{0: {"n2", "n1", "n5"}, 1: {"n4", "n3"}}, e.Groups(), "as noted last")
	require.Equal(t, []string{"n2", "n4", ""}, []string{e.Leader(0), e.Leader(1), e.Leader(2)})
	require.EqualValues(t, 7, e.Recovery().Index)
	require.EqualValues(t, 6, e.LoadOver(), "the first one")
	require.EqualValues(t, Never, none.LoadOver())
	require.Empty(t, e.Recovery().Err, "the last one counts")
	require.True(t, e.Interrupted())
	require.Len(t, e.Notes, 10, "what this version does not know is kept")
	require.Empty(t, e.Notes[8].Node())
	require.Nil(t, e.Notes[8].Nodes)
	require.Equal(t, "n1", e.Notes[9].Node())
}

// Clients cannot say what the nemesis did.
func TestEventsSkipClients(t *testing.T) {
	op := NewInject("wipe", Event{Strike: 1, Harm: HarmDisk}, "n1")
	op.Process = 3
	require.Equal(t, &Events{}, EventsOf(told(op)))
}

// A reader that is given ops one by one tells at any time what EventsOf tells of those so far.
func TestEventReader(t *testing.T) {
	h := told(NewInject("slow", Event{Strike: 1, Harm: HarmNone}, "n1"), NewNote(NoteRecovery), NewHeal("slow", 1, "n1"))
	var r EventReader
	require.Equal(t, &Events{}, r.Events())
	for i := range h {
		r.Add(&h[i])
		require.Equal(t, EventsOf(h[:i+1]), r.Events())
	}
}

// Where names and nodes leave no doubt, a history tells the same without numbers and events as with
// them.
func TestFormat1TellsTheSame(t *testing.T) {
	faults := map[string]Event{
		"wipe:leader": {Harm: HarmDisk}, "power": {Harm: HarmUnsynced}, "full": {Harm: HarmWrites}, "corrupt": {Harm: HarmBits, Instant: true},
		"promote": {Harm: HarmLeadership, Instant: true}, "restart": {Harm: HarmNone, Instant: true}, "partition/ring": {Harm: HarmNone},
	}
	var names []string
	for name := range faults {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		var ops []Op
		open := make(map[string]int)
		for n := range rapid.IntRange(0, 30).Draw(t, "ops") {
			name, node := rapid.SampledFrom(names).Draw(t, "fault"), rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node")
			at := name + node
			if number := open[at]; number > 0 {
				ops = append(ops, NewHeal(name, number, node))
				delete(open, at)
				continue
			}
			e := faults[name]
			e.Strike = n + 1
			open[at] = e.Strike
			ops = append(ops, NewInject(name, e, node))
		}
		h := told(ops...)
		want := EventsOf(h)
		for i := range h {
			h[i].Event = nil
		}
		for i := range want.Strikes {
			want.Strikes[i].Number = 0
		}
		require.Equal(t, want, EventsOf(h))
	})
}

// A history of format 1 is one of format 1 when it is written again, byte for byte.
func TestFormat1IsWrittenAsFormat1(t *testing.T) {
	files, err := filepath.Glob("corpus/*/*.jsonl")
	require.NoError(t, err)
	require.Greater(t, len(files), 30)
	faults := 0
	for _, path := range files {
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		h, _, err := Read(bytes.NewReader(file))
		require.NoError(t, err)
		for _, op := range h {
			require.Nil(t, op.Event)
		}
		faults += len(EventsOf(h).Strikes)
		var b bytes.Buffer
		require.NoError(t, Write(&b, h))
		require.Equal(t, string(file), b.String(), path)
		require.False(t, strings.Contains(b.String(), `"event"`))
	}
	require.Positive(t, faults)
}

func TestHarms(t *testing.T) {
	for _, h := range harms {
		require.True(t, h.Known())
		var got Harm
		require.NoError(t, got.UnmarshalText([]byte(h)))
		require.Equal(t, h, got)
	}
	got := HarmDisk
	require.ErrorContains(t, got.UnmarshalText([]byte("acid")), `unknown harm "acid"`)
	require.Equal(t, HarmDisk, got)
	require.False(t, Harm("").Known(), "nobody said")
}

func TestOpCounts(t *testing.T) {
	var c OpCounts
	for _, typ := range []Type{OK, OK, Weak, Fail, Info, Invoke, Invalid} {
		c.Count(typ)
	}
	require.Equal(t, OpCounts{OK: 2, Weak: 1, Fail: 1, Info: 3}, c, "what is still open counts as info")
	c.Add(OpCounts{OK: 1, Weak: 2, Info: 3, Fail: 4})
	require.Equal(t, OpCounts{OK: 3, Weak: 3, Fail: 5, Info: 6}, c)
	require.EqualValues(t, 17, c.Total())
}
