package nemesis_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
)

// Every fault is injected, has an effect, and is healed at its time.
func TestEveryFault(t *testing.T) {
	for fault, want := range map[string][]string{
		"kill:leader":    {"kill n1", "boot n1"},
		"power:leader":   {"power n1", "boot n1"},
		"restart:leader": {"shutdown n1", "boot n1"},
		"corrupt:leader": {"corrupt n1"},
		"pause:leader":   {"pause n1 on", "pause n1 off"},
		// 2 nodes, 2 clients with 8 generations each, both ways
		"slow:leader":      {"shape 36 links on", "shape 36 links off"},
		"loss:leader":      {"shape 36 links on", "shape 36 links off"},
		"fsync:leader":     {"fsync n1 on", "fsync n1 off"},
		"full:leader":      {"full n1 on", "full n1 off"},
		"promote":          {"promote 0 n1 safe=true"},
		"promote:leader":   {"promote 0 n1 safe=true"},
		"wipe:leader":      {"wipe n1", "promote 0 refused", "promote 0 n2 safe=false", "boot n1"},
		"partition:leader": {"shape 4 links on", "shape 4 links off"},
	} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, fakecluster.Options{}, 3)
				start := time.Now()
				h, err := stage(t.Context(), t, c, strike(fault, 3*time.Second, 2*time.Second))
				require.NoError(t, err)
				require.Equal(t, append([]string{"start"}, want...), c.Calls())
				require.Empty(t, c.Hurt())
				recs := strikesOf(h)
				require.Len(t, recs, 1)
				require.NotEmpty(t, recs[0].Effect)
				require.Equal(t, 3*time.Second, time.Duration(recs[0].From))
				require.Equal(t, 5*time.Second, time.Duration(recs[0].To))
				require.Equal(t, 5*time.Second, time.Since(start))
			})
		})
	}
}

func TestRoles(t *testing.T) {
	for fault, sizes := range map[string][2]int{ // least and most nodes struck
		"kill": {1, 1}, "kill:leader": {1, 1}, "kill:follower": {1, 1}, "kill:minority": {2, 2}, "kill:majority": {3, 3}, "kill:all": {5, 5},
	} {
		seen := make(map[string]bool)
		for pick := range uint64(40) {
			synctest.Test(t, func(t *testing.T) {
				s := strike(fault, time.Second, time.Second)
				s.Pick = pick
				h, err := stage(t.Context(), t, started(t, fakecluster.Options{}, 5), s)
				require.NoError(t, err)
				nodes := strikesOf(h)[0].Nodes
				require.Len(t, nodes, sizes[0], fault)
				require.True(t, slices.IsSorted(nodes))
				require.Len(t, slices.Compact(slices.Clone(nodes)), sizes[1])
				for _, n := range nodes {
					seen[n] = true
				}
			})
		}
		switch fault {
		case "kill:leader":
			require.Equal(t, map[string]bool{"n1": true}, seen)
		case "kill:follower":
			require.Len(t, seen, 4)
			require.NotContains(t, seen, "n1")
		default:
			require.Len(t, seen, 5, "%s draws anew each time", fault)
		}
	}
}

// The same pick strikes the same nodes.
func TestPickDecides(t *testing.T) {
	for pick := range uint64(10) {
		var nodes [2][]string
		for i := range nodes {
			synctest.Test(t, func(t *testing.T) {
				s := strike("kill:minority", time.Second, time.Second)
				s.Pick = pick
				h, err := stage(t.Context(), t, started(t, fakecluster.Options{}, 5), s)
				require.NoError(t, err)
				nodes[i] = strikesOf(h)[0].Nodes
			})
		}
		require.Equal(t, nodes[0], nodes[1])
	}
}

// Whatever ends the run, everything is healed: at once, with a context that the interruption does
// not reach.
func TestHealedWhenInterrupted(t *testing.T) {
	for _, fault := range []string{"kill:all", "power", "wipe:leader", "restart", "pause:all", "partition", "slow", "loss", "fsync", "full", "promote"} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, fakecluster.Options{}, 3)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			_, err := stage(ctx, t, c, strike(fault, 2*time.Second, time.Hour), strike("kill", 30*time.Minute, time.Second))
			require.NoError(t, err)
			require.Empty(t, c.Hurt(), fault)
			require.Equal(t, 5*time.Second, time.Since(start))
		})
	}
}

// An error of one fault ends the others, healed.
func TestErrorHealsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{BootErr: func(harness.NodeID) error { return errors.New("no engine") }}, 3)
		h, err := stage(t.Context(), t, c, strike("pause:leader", time.Second, time.Hour), strike("kill", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "no engine")
		require.NotContains(t, strings.Join(c.Hurt(), " "), "pause")
		require.Contains(t, strings.Join(ops(h), "\n"), "heal pause:leader n1")
	})
}

// A node that ends by itself is the system's doing: recorded, and no error.
func TestNodeThatRefusesToStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{BootErr: func(harness.NodeID) error {
			return errors.Join(harness.ErrNodeExited, errors.New("log.0 is damaged at 4711"))
		}}, 3)
		h, err := stage(t.Context(), t, c, strike("kill:leader", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, strikesOf(h)[0].Effect, "n1 did not come back")
		require.Contains(t, strikesOf(h)[0].Effect, "damaged at 4711")
	})
}

// broken is a cluster whose network panics.
type broken struct{ *fakecluster.Cluster }

func (broken) Shape(context.Context, []harness.Rule) (harness.Undo, error) { panic("wires crossed") }

// Pause is called for several nodes at once, each in a goroutine of its own.
func (b broken) Pause(ctx context.Context, n harness.NodeID) (harness.Undo, error) {
	if n == "n2" {
		panic("frozen stiff")
	}
	return b.Cluster.Pause(ctx, n)
}

func TestPanicHealsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		_, err := stage(t.Context(), t, broken{c}, strike("kill:leader", time.Second, time.Hour), strike("slow", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "wires crossed")
		require.Empty(t, c.Hurt())
	})
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 3)
		_, err := stage(t.Context(), t, broken{c}, strike("kill:leader", time.Second, time.Hour), strike("pause:all", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "n2 panicked: frozen stiff")
		require.Empty(t, c.Hurt())
	})
}

// A fault that did nothing says so.
func TestNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := stage(t.Context(), t, started(t, fakecluster.Options{Idle: true}, 3), strike("slow", time.Second, time.Second))
		require.NoError(t, err)
		require.Empty(t, strikesOf(h)[0].Effect)
		require.Equal(t, "nothing happened", strikesOf(h)[0].Err)
	})
}

// What an environment cannot do is refused before the run, with a sentence.
func TestRefusedBeforeTheRun(t *testing.T) {
	three := fakecluster.New(fakecluster.Options{}, 3)
	for _, info := range stock(t).Infos() {
		faults, err := stock(t).Faults(info.Name)
		require.NoError(t, err)
		require.NoError(t, faults[0].Supports(three), info.Name)
		err = faults[0].Supports(plain{three})
		require.ErrorIs(t, err, harness.ErrUnsupported, info.Name)
		require.ErrorContains(t, err, "fault "+info.Name+": neither this environment nor the mode can ")
	}
	for fault, sizes := range map[string][]int{
		"kill:minority":    {2},
		"kill:follower":    {1, 1},
		"partition":        {1, 1},
		"slow":             {1},
		"partition/ring":   {3},
		"power:minority":   {1, 2},
		"promote:follower": {1},
	} {
		faults, err := stock(t).Faults(fault)
		require.NoError(t, err)
		require.Error(t, faults[0].Supports(fakecluster.New(fakecluster.Options{}, sizes...)), fault)
		require.NoError(t, faults[0].Supports(fakecluster.New(fakecluster.Options{}, 5)), fault)
	}
}

// inMode is a cluster that has some of its abilities from its environment and some from its mode,
// as the stock environments have. This mode has no promotes.
type inMode struct {
	harness.Cluster
	c *fakecluster.Cluster
}

func (m inMode) Parts() []any {
	return []any{
		m.Cluster,
		struct {
			harness.Killer
			harness.Wiper
		}{m.c, m.c},
		operator{m.c},
		struct{ harness.TopicMaker }{m.c},
	}
}

// operator is a mode's view of the groups.
type operator struct{ c *fakecluster.Cluster }

func (o operator) Groups() [][]harness.NodeID { return o.c.Groups() }

func (o operator) State(ctx context.Context, group int, n harness.NodeID) (harness.NodeState, error) {
	return o.c.State(ctx, group, n)
}

// A fault asks for each ability where it is.
func TestAbilitiesOfParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := started(t, fakecluster.Options{}, 3)
		c := inMode{plain{fake}, fake}
		_, err := stage(t.Context(), t, c, strike("wipe:leader", time.Second, time.Second), strike("kill:all", 10*time.Second, time.Second))
		require.NoError(t, err)
		require.Equal(t, []string{"start", "wipe n1", "boot n1"}, fake.Calls()[:3], "nobody is promoted")
		for _, fault := range []string{"promote", "promote:leader", "pause", "partition", "power", "fsync"} {
			faults, err := stock(t).Faults(fault)
			require.NoError(t, err)
			err = faults[0].Supports(c)
			require.ErrorIs(t, err, harness.ErrUnsupported)
			require.ErrorContains(t, err, "fault "+fault+": neither this environment nor the mode can ")
		}
	})
}
