package contract_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/histories"
)

const sec = int64(1e9)

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

// Without notes of who led, every damaged node may have; and a promote whose note cannot be read was not safe.
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

// A damage ends when its own node has caught up, once; a strike ends with its own heal; and what did not strike did no damage.
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
