package contract_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/histories"
)

const sec = int64(1e9)

// struck returns the names of the faults that struck.
func struck(h histories.History) []string {
	var all []string
	for _, s := range histories.EventsOf(h).Struck() {
		all = append(all, s.Name)
	}
	return all
}

// told makes a history of events, one per second from 0 on.
func told(ops ...histories.Op) *histories.Events {
	for i := range ops {
		ops[i].Index, ops[i].Time = int64(i), int64(i)*sec
	}
	return histories.EventsOf(histories.History(ops))
}

// The facts come from the nemesis' ops of the history, with the leader as it was at the time.
func TestFactsOf(t *testing.T) {
	var h histories.History
	add := func(at int64, f, fault, nodes, effect string) *histories.Op {
		op := histories.New(histories.Info, histories.NemesisProcess, f)
		op.Index, op.Time, op.Fault, op.Node, op.Effect = int64(len(h)), at*sec, fault, nodes, effect
		h = append(h, op)
		return &h[len(h)-1]
	}
	add(0, histories.Note, histories.NoteGroup, "n1,n2", "led by n1 at epoch 1")
	add(0, histories.Note, histories.NoteGroup, "n4,n3", "led by n4 at epoch 1").Part = 1
	add(1, histories.Inject, "slow:follower", "n2", "")
	add(2, histories.Inject, "wipe:leader", "n1", "")
	add(3, histories.Note, histories.NotePromote, "n2", "epoch 3, leader n2, safe")
	add(4, histories.Heal, "wipe:leader", "n1", "wiped")
	add(5, histories.Note, histories.NoteCaughtUp, "n1", "")
	add(6, histories.Inject, "power:all", "n1,n2,n3,n4", "")
	add(7, histories.Note, histories.NotePromote, "n2", "epoch 5, leader n2, forced")
	add(8, histories.Inject, "wipe", "", "").Err = "not struck"
	add(9, histories.Note, histories.NotePromote, "n1", "").Err = "refused"
	got := contract.FactsOf(histories.EventsOf(h))
	require.Equal(t, []string{"slow", "wipe", "power"}, struck(h))
	require.False(t, got.Operated, "nobody tried a promote by itself")
	require.Equal(t, []contract.Damage{
		{Harm: histories.HarmDisk, Node: "n1", Led: true, From: 2 * sec, Until: 5 * sec},
		{Harm: histories.HarmUnsynced, Node: "n1", From: 6 * sec, Until: math.MaxInt64},
		{Harm: histories.HarmUnsynced, Node: "n2", Led: true, From: 6 * sec, Until: math.MaxInt64},
		{Harm: histories.HarmUnsynced, Node: "n3", Group: 1, From: 6 * sec, Until: math.MaxInt64},
		{Harm: histories.HarmUnsynced, Node: "n4", Group: 1, Led: true, From: 6 * sec, Until: math.MaxInt64},
	}, got.Damages)
	require.Equal(t, []contract.Promotion{
		{Leader: "n2", Epoch: 3, Safe: true, Moved: true, From: 1 * sec, Done: 3 * sec},
		{Leader: "n2", Epoch: 5, Forced: true, From: 1 * sec, Done: 7 * sec},
	}, got.Promotions)
	require.Equal(t, []contract.Strike{
		{From: 1 * sec, Until: math.MaxInt64}, {From: 2 * sec, Until: 4 * sec}, {From: 6 * sec, Until: math.MaxInt64}, {From: 8 * sec, Until: math.MaxInt64},
	}, got.Strikes)
}

// Without notes of who led, every damaged node may have; and a promote whose note cannot be read
// was not safe.
func TestFactsOfLittle(t *testing.T) {
	op := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
	op.Fault, op.Node = "power", "n2"
	note := histories.New(histories.Info, histories.NemesisProcess, histories.Note)
	note.Fault, note.Node, note.Effect = histories.NotePromote, "n2", "?"
	got := contract.FactsOf(histories.EventsOf(histories.History{op, note}))
	require.True(t, got.Damages[0].Led)
	require.Equal(t, contract.AnyGroup, got.Damages[0].Group)
	require.False(t, got.Promotions[0].Safe)
}

// A damage ends when its own node has caught up, once; a strike ends with its own heal; and what
// did not strike did no damage.
func TestFactsOfSeveral(t *testing.T) {
	var h histories.History
	add := func(at int64, f, fault, nodes string) *histories.Op {
		op := histories.New(histories.Info, histories.NemesisProcess, f)
		op.Index, op.Time, op.Fault, op.Node = int64(len(h)), at*sec, fault, nodes
		h = append(h, op)
		return &h[len(h)-1]
	}
	add(0, histories.Note, histories.NoteGroup, "n1,n2")
	add(1, histories.Inject, "power", "n1")
	add(2, histories.Inject, "power", "n1")
	add(3, histories.Heal, "power", "n1")
	add(4, histories.Heal, "power", "n1")
	add(5, histories.Inject, "wipe", "n2").Err = "not struck"
	add(5, histories.Heal, "wipe", "n2").Err = "not struck"
	add(6, histories.Note, histories.NoteCaughtUp, "n2")
	add(7, histories.Note, histories.NoteCaughtUp, "n1")
	add(8, histories.Inject, "power", "n1")
	add(9, histories.Note, histories.NoteCaughtUp, "n1")
	add(10, histories.Note, "leader", "n2")
	got := contract.FactsOf(histories.EventsOf(h))
	require.Equal(t, []string{"power", "power", "power"}, struck(h))
	require.Equal(t, []contract.Damage{
		{Harm: histories.HarmUnsynced, Node: "n1", Led: true, From: 1 * sec, Until: 7 * sec},
		{Harm: histories.HarmUnsynced, Node: "n1", Led: true, From: 2 * sec, Until: 7 * sec},
		{Harm: histories.HarmUnsynced, Node: "n1", Led: true, From: 8 * sec, Until: 9 * sec},
	}, got.Damages)
	require.Empty(t, got.Promotions)
	require.Equal(t, []contract.Strike{
		{From: 1 * sec, Until: 3 * sec}, {From: 2 * sec, Until: 4 * sec}, {From: 5 * sec, Until: 5 * sec}, {From: 8 * sec, Until: math.MaxInt64},
	}, got.Strikes)
}

// What a fault can destroy is what its injection says, whatever the fault is called.
func TestDamageIsWhatTheEventSays(t *testing.T) {
	for _, name := range []string{"acid", "wipe", "kill:leader"} {
		for harm, damages := range map[histories.Harm]bool{
			histories.HarmNone: false, histories.HarmLeadership: false,
			histories.HarmDisk: true, histories.HarmUnsynced: true, histories.HarmBits: true, histories.HarmWrites: true,
		} {
			got := contract.FactsOf(told(histories.NewInject(name, histories.Event{Strike: 1, Harm: harm}, "n1")))
			require.Equal(t, harm == histories.HarmLeadership, got.Operated, "%s %s", name, harm)
			if !damages {
				require.Empty(t, got.Damages, "%s %s", name, harm)
				continue
			}
			require.Equal(t, []contract.Damage{{Harm: harm, Node: "n1", Group: contract.AnyGroup, Led: true, Until: math.MaxInt64}}, got.Damages, "%s %s", name, harm)
		}
	}
	missed := histories.NewInject("coup", histories.Event{Strike: 1, Harm: histories.HarmLeadership})
	missed.Err = "nobody to ask"
	require.False(t, contract.FactsOf(told(missed)).Operated)
}

// Of two strikes that overlap, the one that is healed is the one of the heal's number: a promote
// was asked for by the one that is still on.
func TestPromoteBesideOverlappingStrikes(t *testing.T) {
	got := contract.FactsOf(told(
		histories.NewInject("slow", histories.Event{Strike: 1, Harm: histories.HarmNone}, "n1"),
		histories.NewInject("slow", histories.Event{Strike: 2, Harm: histories.HarmNone}, "n1"),
		histories.NewHeal("slow", 1, "n1"),
		histories.NewPromoteNote(0, "n2", histories.Promote{Epoch: 2, Safe: true}),
		histories.NewHeal("slow", 2, "n1"),
		histories.NewPromoteNote(0, "n2", histories.Promote{Epoch: 3, Forced: true}),
	))
	require.Equal(t, []contract.Strike{{From: 0, Until: 2 * sec}, {From: 1 * sec, Until: 4 * sec}}, got.Strikes)
	require.Equal(t, []contract.Promotion{
		{Leader: "n2", Epoch: 2, Safe: true, Moved: true, From: 1 * sec, Done: 3 * sec},
		{Leader: "n2", Epoch: 3, Forced: true, From: 0, Done: 5 * sec},
	}, got.Promotions)
}

// A node may be in several groups, and lead some of them: its disk is damaged for each.
func TestDamageInEveryGroup(t *testing.T) {
	got := contract.FactsOf(told(
		histories.NewGroupNote(0, "n1", "n2", "n3"), histories.NewGroupNote(1, "n2", "n3", "n1"), histories.NewGroupNote(2, "n3", "n4"),
		histories.NewGroupNote(0, "n1", "n2", "n3"),
		histories.NewInject("wipe", histories.Event{Strike: 1, Harm: histories.HarmDisk}, "n1"),
		histories.NewPromoteNote(0, "n2", histories.Promote{Epoch: 2, Safe: true}),
		histories.NewInject("power", histories.Event{Strike: 2, Harm: histories.HarmUnsynced}, "n2"),
		histories.NewNote(histories.NoteCaughtUp, "n1"),
	))
	require.Equal(t, []contract.Damage{
		{Harm: histories.HarmDisk, Node: "n1", Group: 0, Led: true, From: 4 * sec, Until: 7 * sec},
		{Harm: histories.HarmDisk, Node: "n1", Group: 1, Led: false, From: 4 * sec, Until: 7 * sec},
		{Harm: histories.HarmUnsynced, Node: "n2", Group: 0, Led: true, From: 6 * sec, Until: math.MaxInt64},
		{Harm: histories.HarmUnsynced, Node: "n2", Group: 1, Led: true, From: 6 * sec, Until: math.MaxInt64},
	}, got.Damages)
}

// What a promise comes down to depends on what happened.
func TestAfter(t *testing.T) {
	lost := contract.Permission{Span: contract.Always()[0], Class: "lost-write", Rows: "X-1", Reason: "somebody operated"}
	p := contract.Promise{
		Copies: 3, NoAcks: true,
		LinearReads: func(f contract.Facts) bool { return !f.Operated },
		Permits: func(f contract.Facts) []contract.Permission {
			if f.Operated {
				return []contract.Permission{lost}
			}
			return nil
		},
	}
	k, terms := p.After(contract.Facts{})
	require.Equal(t, contract.Terms{Copies: 3, NoAcks: true, LinearReads: true}, terms)
	require.Empty(t, k.Permissions())
	k, terms = p.After(contract.Facts{Operated: true})
	require.Equal(t, contract.Terms{Copies: 3, NoAcks: true}, terms)
	require.Equal(t, []contract.Permission{lost}, k.Permissions())
	ok, why := k.Permits("lost-write")
	require.True(t, ok)
	require.Equal(t, "somebody operated (X-1)", why)
}
