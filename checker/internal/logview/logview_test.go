package logview

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

// A Grid is a map, whatever the keys.
func TestGridIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Grid[int]
		want := map[int64]int{}
		key := rapid.OneOf(rapid.Int64Range(0, 50), rapid.Int64Range(-5, 1<<18), rapid.Int64())
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			k, v := key.Draw(t, "key"), rapid.IntRange(1, 9).Draw(t, "value")
			*g.At(k) = v
			want[k] = v
		}
		got := map[int64]int{}
		g.Keys(func(k int64, v *int) {
			if *v != 0 {
				got[k] = *v
			}
		})
		require.Equal(t, want, got)
		for k, v := range want {
			require.Equal(t, v, g.Get(k))
		}
		other := key.Draw(t, "other")
		require.Equal(t, want[other], g.Get(other))
	})
}

func TestGridStaysSmall(t *testing.T) {
	var g Grid[int]
	for range 1000 {
		*g.At(rand.Int64N(1 << 40)) = 1
	}
	require.Less(t, len(g.dense), 8*1000+denseSlack+1)
}

// The values of a run count from a great number: they are as dense as those that count from 0.
func TestGridFarFromZero(t *testing.T) {
	var g Grid[int]
	const first = 9_990_000_000
	for i := range int64(10_000) {
		*g.At(first + (i ^ 1) - 1) = 1
	}
	require.Empty(t, g.sparse)
	require.Equal(t, 1, g.Get(first))
	require.Zero(t, g.Get(first-2))
}

// A heal ends the fault that it belongs to, and that of a strike that did not take place ends
// nothing else.
func TestFaults(t *testing.T) {
	b := histtest.New()
	b.Inject("kill", "n1")
	b.Inject("kill", "n2")
	b.Inject("promote", "n3")
	h := b.History()
	missed := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
	missed.Index, missed.Time, missed.Fault, missed.Err = 3, h[2].Time, "kill", "nothing is left to kill"
	undone := missed
	undone.Index, undone.F = 4, histories.Heal
	healed := histories.New(histories.Info, histories.NemesisProcess, histories.Heal)
	healed.Index, healed.Time, healed.Fault, healed.Node = 5, 9e6, "kill", "n1"
	v, err := Build(t.Context(), append(h, missed, undone, healed))
	require.NoError(t, err)
	require.Equal(t, []histories.Strike{
		{Fault: "kill", Name: "kill", Role: "one", Nodes: []string{"n1"}, Harm: histories.HarmNone, Inject: 0, Heal: 5, From: 1e6, To: 9e6, Effect: "seen"},
		{Fault: "kill", Name: "kill", Role: "one", Nodes: []string{"n2"}, Harm: histories.HarmNone, Inject: 1, Heal: histories.Unset, From: 2e6, To: Never, Effect: "seen"},
		{Fault: "promote", Name: "promote", Role: "one", Nodes: []string{"n3"}, Harm: histories.HarmLeadership, Instant: true, Inject: 2, Heal: histories.Unset, From: 3e6, To: 3e6, Effect: "seen"},
	}, v.Strikes)
	require.Len(t, v.Between(10e6, 11e6), 1)
	require.Equal(t, "kill n2 at 0.002s", v.Between(10e6, 11e6)[0].String())
}

// counted counts how often it is read.
type counted struct {
	histories.Reader
	reads *int
}

func (c counted) Ops() iter.Seq[*histories.Op] {
	*c.reads++
	return c.Reader.Ops()
}

// Whoever judges a cached history gets the one view of it, and the history is read for it once.
func TestCache(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Send(1, 0, 10).OK(1)
	b.Whole(0, 10)
	reads := 0
	cached, view := Cache(counted{b.History(), &reads})
	require.Equal(t, 1, reads)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), over} {
		got, err := Build(ctx, cached)
		require.NoError(t, err)
		require.Same(t, view, got)
	}
	_, err := BuildSound(t.Context(), cached)
	require.ErrorContains(t, err, "value 10 was sent twice", "a problem of the history is one for whoever asks")
	again, same := Cache(cached)
	require.Same(t, view, same)
	require.Equal(t, 1, reads)
	require.Equal(t, b.History(), histories.History(slices.Collect(func(yield func(histories.Op) bool) {
		for op := range again.Ops() {
			yield(*op)
		}
	})), "it is still the history")

	other, err := Build(t.Context(), b.History())
	require.NoError(t, err)
	require.NotSame(t, view, other)
	require.Equal(t, view, other)
}

// What is in the truth of a partition is what the chains of it hold, and nothing of a chain that is
// not complete.
func TestTruthIsOfCompleteChains(t *testing.T) {
	b := histtest.New()
	b.Batch(1, 0, 10, 11, 12).OK(0)
	b.Final(5, 0, 0).OK(3, histtest.Msgs(0, 10, 11)...) // one is missing, and the reader never comes back
	b.Final(6, 0, 0).OK(1, histtest.Msgs(0, 10)...)
	v, err := Build(t.Context(), b.History())
	require.NoError(t, err)
	truth := v.Parts[0].Truth
	require.True(t, truth.Known)
	require.Len(t, truth.Chains, 1)
	require.Equal(t, []bool{true, false, false}, []bool{v.InTruth(0), v.InTruth(1), v.InTruth(2)})
	require.Equal(t, []bool{false, true, true}, []bool{v.Lost(0), v.Lost(1), v.Lost(2)})
	require.True(t, v.Strong(11))
	require.EqualValues(t, 1e6, v.SentAt(12))
	require.Zero(t, v.SentAt(99))
	require.False(t, v.Strong(99))
}

func TestSeconds(t *testing.T) {
	for ns, want := range map[int64]string{0: "0.0s", 13_000_000_000: "13.0s", 12_345_000_000: "12.345s", 12_340_400_000: "12.34s", 999_999: "0.001s"} {
		require.Equal(t, want, Seconds(ns))
	}
}
