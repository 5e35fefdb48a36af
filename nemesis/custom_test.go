package nemesis_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// This file is a third party's: an ability that the harness does not know, a cluster that has it,
// and faults of its own.

// forgetter is an ability of some clusters.
type forgetter interface {
	Forget(ctx context.Context, n harness.NodeID) (harness.Effect, error)
}

// forgetful is a cluster that has it.
type forgetful struct{ *fakecluster.Cluster }

// Forget makes a node lose all that it stored, while it runs on.
func (c forgetful) Forget(ctx context.Context, n harness.NodeID) (harness.Effect, error) {
	if _, err := c.Wipe(ctx, n); err != nil {
		return harness.Effect{}, err
	}
	return harness.Effect{Count: 1, Text: "forgot everything"}, c.Boot(ctx, n)
}

// forget destroys what a node stored.
type forget struct{ nemesis.Victims }

func (f forget) Supports(c harness.Cluster) error {
	if _, ok := harness.Can[forgetter](c); !ok {
		return nemesis.Unsupported(f.Spec, "make a node forget")
	}
	return f.Victims.Supports(c)
}

func (f forget) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	able, ok := harness.Can[forgetter](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(f.Spec, "make a node forget")
	}
	effect, err := nemesis.Each(nodes, func(n harness.NodeID) (harness.Effect, error) { return able.Forget(ctx, n) })
	return func(context.Context) (harness.Effect, error) { return effect, nil }, err
}

func forgetKind() nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{Name: "forget", Kind: nemesis.Instant, Roles: []string{nemesis.RoleFollower, nemesis.RoleOne}, Doc: "lose all"},
		Harm: histories.HarmDisk,
		Build: func(s nemesis.Spec, n *nemesis.Nodes) harness.Fault {
			return forget{nemesis.Victims{Spec: s, Nodes: n}}
		},
	}
}

// stall destroys nothing: it pauses nodes, in one of two shapes.
type stall struct{ nemesis.Victims }

func (f stall) Inject(ctx context.Context, s harness.Stage, _ harness.Strike, nodes []harness.NodeID) (harness.Undo, error) {
	able, ok := harness.Can[harness.Pauser](s.Cluster)
	if !ok {
		return nil, nemesis.Unsupported(f.Spec, "stall a node")
	}
	return nemesis.InjectEach(ctx, nodes, able.Pause)
}

func stallKind() nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{Name: "stall", Kind: nemesis.Lasting, Roles: nemesis.Roles(), Shapes: []string{"all-at-once"}, Doc: "pause"},
		Harm: histories.HarmNone, Downs: true,
		Build: func(s nemesis.Spec, n *nemesis.Nodes) harness.Fault {
			return stall{nemesis.Victims{Spec: s, Nodes: n}}
		},
	}
}

// Faults of a third party are planned, drawn, recorded and healed as the stock ones are.
func TestThirdPartyFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := stock(t, forgetKind(), stallKind())
		specs, err := set.ParseList("forget,stall:minority/all-at-once")
		require.NoError(t, err)
		plan, err := set.MakePlan(nemesis.PlanConfig{Seed: 1, Faults: specs, Time: time.Minute, Interval: 15 * time.Second})
		require.NoError(t, err)
		require.Len(t, plan.Strikes, 8)
		require.NoError(t, set.Check(plan, time.Minute))

		c := forgetful{started(t, fakecluster.Options{}, 5)}
		h, err := stageOf(t.Context(), t, set, c, plan.Strikes...)
		require.NoError(t, err)
		require.Empty(t, c.Hurt())
		for _, s := range strikesOf(h) {
			require.True(t, s.Healed())
			require.False(t, s.Missed, s.Err)
			switch s.Fault {
			case "forget":
				require.Equal(t, histories.HarmDisk, s.Harm)
				require.True(t, s.Instant)
				require.Len(t, s.Nodes, 1)
				require.Equal(t, "forgot everything", s.Effect)
			case "stall:minority/all-at-once":
				require.Equal(t, histories.HarmNone, s.Harm)
				require.False(t, s.Instant)
				require.Len(t, s.Nodes, 2)
				require.Contains(t, s.Effect, s.Nodes[0]+": pause "+s.Nodes[0])
			default:
				t.Fatal(s.Fault)
			}
		}
	})
}

// Harm decides what the engine does: it watches until a node that lost its disk has caught up, and
// a stock wipe of another node waits for that.
func TestThirdPartyHarm(t *testing.T) {
	for _, harm := range []histories.Harm{histories.HarmDisk, histories.HarmUnsynced, histories.HarmNone} {
		synctest.Test(t, func(t *testing.T) {
			k := forgetKind()
			k.Harm = harm
			start := time.Now()
			c := forgetful{started(t, fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
				if s.Role == harness.RoleFollower && time.Since(start) < 9*time.Second {
					s.Role = harness.RoleJoining
				}
				return s
			}}, 2)}
			h, err := stageOf(t.Context(), t, stock(t, k), c,
				strike("forget", time.Second, time.Second), strike("wipe:leader", 4*time.Second, time.Second), strike("kill", 30*time.Second, time.Second))
			require.NoError(t, err)
			strikes := strikesOf(h)
			require.False(t, strikes[1].Missed)
			if harm == histories.HarmNone {
				require.Equal(t, 4*time.Second, time.Duration(strikes[1].From))
				for _, n := range notesOf(h, histories.NoteCaughtUp) {
					require.Equal(t, "n1", n.Node(), "only the wiped node lost something")
				}
				return
			}
			require.GreaterOrEqual(t, time.Duration(strikes[1].From), 9*time.Second)
			require.GreaterOrEqual(t, caughtUpAt(t, h, "n2"), 9*time.Second)
		})
	}
}

// A node that a stock fault keeps down is not drawn, and a node that a third party's fault keeps
// down is not drawn by a stock one.
func TestThirdPartyDowns(t *testing.T) {
	for pick := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			c := forgetful{started(t, fakecluster.Options{}, 3)}
			strikes := []harness.Strike{
				strike("kill", time.Second, 9*time.Second), strike("stall", 2*time.Second, 7*time.Second), strike("power", 3*time.Second, time.Second),
				strike("slow:all", 100*time.Millisecond, 100*time.Millisecond), // downs nobody
			}
			for i := range strikes {
				strikes[i].Pick = pick + uint64(i)
			}
			h, err := stageOf(t.Context(), t, stock(t, stallKind()), c, strikes...)
			require.NoError(t, err)
			seen := make(map[string]bool)
			for _, s := range strikesOf(h)[1:] {
				seen[s.Nodes[0]] = true
			}
			require.Len(t, seen, 3)
		})
	}
}

// An ability that the cluster lacks is missed before the run.
func TestThirdPartyAbility(t *testing.T) {
	faults, err := stock(t, forgetKind()).Faults("forget")
	require.NoError(t, err)
	c := fakecluster.New(fakecluster.Options{}, 3)
	require.NoError(t, faults[0].Supports(forgetful{c}))
	err = faults[0].Supports(c)
	require.ErrorIs(t, err, harness.ErrUnsupported)
	require.ErrorContains(t, err, "fault forget: neither this environment nor the mode can make a node forget")
	require.ErrorContains(t, faults[0].Supports(forgetful{fakecluster.New(fakecluster.Options{}, 1)}), "no group has a follower")
}

// wrong is a fault with a mistake in every method.
type wrong struct{ nemesis.Victims }

func (wrong) Inject(context.Context, harness.Stage, harness.Strike, []harness.NodeID) (harness.Undo, error) {
	panic("not done yet")
}

// A third party's panic ends the run, with everything else healed.
func TestThirdPartyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := stallKind()
		k.Name = "wrong"
		k.Build = func(s nemesis.Spec, n *nemesis.Nodes) harness.Fault {
			return wrong{nemesis.Victims{Spec: s, Nodes: n}}
		}
		c := started(t, fakecluster.Options{}, 3)
		h, err := stageOf(t.Context(), t, stock(t, k), c, strike("kill", time.Second, time.Minute), strike("wrong", 2*time.Second, time.Second))
		require.ErrorContains(t, err, "fault wrong panicked: not done yet")
		require.Empty(t, c.Hurt())
		require.Equal(t, 2, strings.Count(strings.Join(ops(h), "\n"), "heal "))
	})
}
