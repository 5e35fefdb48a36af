package logview

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
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

func TestSeconds(t *testing.T) {
	for ns, want := range map[int64]string{0: "0.0s", 13_000_000_000: "13.0s", 12_345_000_000: "12.345s", 12_340_400_000: "12.34s", 999_999: "0.001s"} {
		require.Equal(t, want, Seconds(ns))
	}
}
