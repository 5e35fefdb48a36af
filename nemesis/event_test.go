package nemesis_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

// format1 are the stock faults that there were in format 1 of the history: a fault that came later
// is in none.
var format1 = []string{"corrupt", "fsync", "full", "kill", "loss", "partition", "pause", "power", "promote", "restart", "slow", "wipe"}

// What a stock fault records of itself is what readers of format 1 take its name for.
func TestRecordedAsFormat1WasRead(t *testing.T) {
	for _, name := range format1 {
		synctest.Test(t, func(t *testing.T) {
			h, err := stage(t.Context(), t, started(t, fakecluster.Options{}, 3), strike(name, time.Second, time.Second))
			require.NoError(t, err)
			got := strikesOf(h)[0]
			for i := range h {
				if h[i].F != histories.Note {
					h[i].Event = nil // as format 1 had it
				}
			}
			require.Equal(t, strikesOf(h)[0].Harm, got.Harm, name)
			require.Equal(t, strikesOf(h)[0].Instant, got.Instant, name)
			require.True(t, got.Healed())
		})
	}
}

// Two strikes of one fault at one node may overlap: each heal ends its own strike.
func TestHealEndsItsOwnStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		h, err := stage(t.Context(), t, c, strike("slow:leader", time.Second, 10*time.Second), strike("slow:leader", 2*time.Second, time.Second))
		require.NoError(t, err)
		strikes := strikesOf(h)
		require.Len(t, strikes, 2)
		require.Equal(t, strikes[0].Nodes, strikes[1].Nodes)
		require.Equal(t, 11*time.Second, time.Duration(strikes[0].To))
		require.Equal(t, 3*time.Second, time.Duration(strikes[1].To))
	})
}

// A strike's number is its place in the plan, whatever its id, and whatever the order in time. A
// strike that was missed has one, too.
func TestStrikeNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 2)
		h, err := stage(t.Context(), t, c,
			strike("pause:leader", 5*time.Second, time.Second), strike("kill:leader", time.Second, 20*time.Second), strike("promote:leader", 2*time.Second, time.Second))
		require.NoError(t, err)
		numbers := make(map[string][]int)
		for _, op := range h {
			if op.F != histories.Note {
				numbers[op.Fault] = append(numbers[op.Fault], op.Event.Strike)
			}
		}
		require.Equal(t, map[string][]int{"pause:leader": {1, 1}, "kill:leader": {2, 2}, "promote:leader": {3, 3}}, numbers)
		for _, s := range strikesOf(h) {
			require.True(t, s.Healed())
			require.Equal(t, s.Fault != "kill:leader", s.Missed)
			require.Equal(t, s.Missed, s.Err != "")
		}
	})
}

// noPromotes is a cluster that refuses every promote.
type noPromotes struct{ *fakecluster.Cluster }

func (noPromotes) Promote(context.Context, int, harness.NodeID, bool) (harness.Promotion, error) {
	return harness.Promotion{}, errors.New("the controller is on holiday")
}

// A refused promote is noted with its group and the reason.
func TestRefusedPromoteIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := noPromotes{started(t, fakecluster.Options{}, 2, 2)}
		h, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, time.Second))
		require.NoError(t, err)
		group := int32(0)
		if strikesOf(h)[0].Nodes[0] == "n3" {
			group = 1
		}
		refused := notesOf(h, histories.NotePromote)
		require.Len(t, refused, 1)
		require.Equal(t, group, refused[0].Part)
		require.Nil(t, refused[0].Promote)
		require.Empty(t, refused[0].Nodes)
		require.Contains(t, refused[0].Err, "the controller is on holiday")
		require.Contains(t, strikesOf(h)[0].Effect, "could not be promoted: the controller is on holiday")
	})
}

// What a recorder wrote can be read back, and says the same.
func TestEventsSurviveTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Copies: 2}, 3)
		h, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, 2*time.Second), strike("fsync", 4*time.Second, 2*time.Second), strike("kill", 20*time.Second, time.Second))
		require.NoError(t, err)
		require.NoError(t, histories.Validate(h))
		var file bytes.Buffer
		require.NoError(t, histories.Write(&file, h))
		read, _, err := histories.Read(&file)
		require.NoError(t, err)
		require.Equal(t, histories.EventsOf(h), histories.EventsOf(read))
	})
}
