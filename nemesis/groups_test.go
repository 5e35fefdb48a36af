package nemesis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

// shared is a cluster whose nodes are in several groups, with a role in each, as in a system that
// replicates every partition on its own. What happens to its nodes is fakecluster's to say.
type shared struct {
	*fakecluster.Cluster
	groups [][]harness.NodeID
	// adjust, if not nil, changes what nodes say of themselves.
	adjust func(s *harness.NodeState)

	mu       sync.Mutex // guards what follows
	lead     []harness.NodeID
	promotes []string
}

// groupsOf starts a cluster of n nodes with groups such as "n1 n2 n3", the leader first.
func groupsOf(t *testing.T, n int, groups ...string) *shared {
	t.Helper()
	c := &shared{Cluster: started(t, fakecluster.Options{}, n)}
	for _, text := range groups {
		var members []harness.NodeID
		for _, name := range strings.Fields(text) {
			members = append(members, harness.NodeID(name))
		}
		c.groups, c.lead = append(c.groups, members), append(c.lead, append(members, "")[0])
	}
	return c
}

func (c *shared) Groups() [][]harness.NodeID { return c.groups }

func (c *shared) State(ctx context.Context, group int, n harness.NodeID) (harness.NodeState, error) {
	if !slices.Contains(c.groups[group], n) {
		return harness.NodeState{}, fmt.Errorf("%s is not in group %d", n, group)
	}
	of, err := c.Cluster.State(ctx, 0, n)
	s := harness.NodeState{Node: n, Group: group, Up: of.Up}
	if err != nil || !s.Up {
		return s, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Role, s.CaughtUp = harness.RoleFollower, true
	if c.lead[group] == n {
		s.Role, s.Serving, s.CaughtUp = harness.RoleLeader, true, false
	}
	if c.adjust != nil {
		c.adjust(&s)
	}
	return s, nil
}

func (c *shared) Promote(_ context.Context, group int, n harness.NodeID, force bool) (harness.Promotion, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.promotes = append(c.promotes, strings.TrimSpace(fmt.Sprintf("%d %s", group, n)))
	if n == "" {
		n = c.groups[group][len(c.groups[group])-1]
	}
	c.lead[group] = n
	return harness.Promotion{Group: group, Leader: n, Epoch: 2, Safe: !force, Forced: force}, nil
}

// struckBy returns the nodes that a fault strikes with each of some picks, without repetitions.
func struckBy(t *testing.T, fault string, newCluster func(t *testing.T) harness.Cluster) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	for pick := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			s := strike(fault, time.Second, time.Second)
			s.Pick = pick
			h, err := stage(t.Context(), t, newCluster(t), s)
			require.NoError(t, err)
			seen[strings.Join(strikesOf(h)[0].Nodes, ",")] = true
		})
	}
	return seen
}

func TestRolesInSharedGroups(t *testing.T) {
	for fault, want := range map[string][]string{
		"kill:leader":   {"n1", "n2", "n5"},             // of any group
		"kill:follower": {"n1", "n2", "n3", "n4"},       // n1 follows in another group
		"kill:minority": {"n1", "n2", "n3", "n4", "n5"}, // one node of a group of three
		"kill:majority": {"n1,n2", "n1,n3", "n2,n3", "n2,n4", "n3,n4", "n4,n5", "n1,n5", "n1,n4"},
	} {
		seen := struckBy(t, fault, func(t *testing.T) harness.Cluster { return groupsOf(t, 5, "n1 n2 n3", "n2 n3 n4", "n5 n4 n1") })
		require.Len(t, seen, len(want), "%s: %v", fault, seen)
		for _, nodes := range want {
			require.True(t, seen[nodes], "%s %s", fault, nodes)
		}
	}
}

// A wipe waits for every group of its victim, not for the first only.
func TestWipeWaitsForEveryGroup(t *testing.T) {
	// n1 shares no group with n2, but n3 does
	for down, waits := range map[string]bool{"n1": false, "n3": true} {
		synctest.Test(t, func(t *testing.T) {
			c := groupsOf(t, 4, "n1", "n2 n4", "n3 n2")
			for pick := range uint64(400) {
				kill, wipe := strike("kill", time.Second, 20*time.Second), strike("wipe", 3*time.Second, time.Second)
				kill.Pick, wipe.Pick = pick%20, pick/20
				h, err := stage(t.Context(), t, c, kill, wipe)
				require.NoError(t, err)
				strikes := strikesOf(h)
				victim := strikes[1].Nodes
				if strikes[0].Nodes[0] != down || !waits && (len(victim) == 0 || victim[0] != "n2") {
					continue
				}
				if !waits {
					require.Equal(t, 3*time.Second, time.Duration(strikes[1].From))
					return
				}
				if len(victim) > 0 { // n1 and n4 may be wiped at once
					require.NotEqual(t, "n2", victim[0])
					continue
				}
				require.Contains(t, strikes[1].Err, "n3 of the same group is down")
				return
			}
			t.Fatal("no pick makes it come to that")
		})
	}
}

// A node has caught up when it has in every group.
func TestCaughtUpInEveryGroup(t *testing.T) {
	for _, last := range []int{0, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			c := groupsOf(t, 4, "n1 n2", "n3 n2", "n2 n4") // n2 leads the third
			start := time.Now()
			c.adjust = func(s *harness.NodeState) {
				if s.Group != last || time.Since(start) >= 9*time.Second {
					return
				}
				if s.Node == "n2" && s.Role == harness.RoleFollower {
					s.CaughtUp, s.Role = false, harness.RoleJoining
				}
				s.Serving = s.Serving && s.Node != "n2"
			}
			h, err := stage(t.Context(), t, c, victimOf(t, c, "power", "n2"), strike("kill", 30*time.Second, time.Second))
			require.NoError(t, err)
			require.GreaterOrEqual(t, caughtUpAt(t, h, "n2"), 9*time.Second)
		})
	}
}

// What a node has to reach is what each leader had when the node came back, not what it has when
// the other groups are done.
func TestCaughtUpWithEachLeaderAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := groupsOf(t, 3, "n1 n2", "n3 n2")
		start := time.Now()
		c.adjust = func(s *harness.NodeState) {
			at := time.Since(start)
			s.CaughtUp = s.Group == 0 && at > 9*time.Second
			switch {
			case s.Group == 0 && s.Serving:
				s.End = 1000
			case s.Group == 1 && s.Serving:
				s.End = 100 + int64(at/time.Second)
			case s.Group == 1:
				s.End = 100 + int64(at/time.Second) - 5 // always some seconds behind
			}
		}
		h, err := stage(t.Context(), t, c, victimOf(t, c, "power", "n2"), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		require.InDelta(t, 9, caughtUpAt(t, h, "n2").Seconds(), 0.5)
	})
}

// A node that is in no group is never noted to have caught up: nothing tells.
func TestCaughtUpWithoutGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := groupsOf(t, 3, "n1 n2")
		h, err := stage(t.Context(), t, c, victimOf(t, c, "power", "n3"), strike("kill", 30*time.Second, time.Second))
		require.NoError(t, err)
		require.Empty(t, notesOf(h, histories.NoteCaughtUp))
	})
}

// victimOf returns a strike at 1s for 1s that hits a node.
func victimOf(t *testing.T, c harness.Cluster, fault string, n harness.NodeID) harness.Strike {
	t.Helper()
	faults, err := stock(t).Faults(fault)
	require.NoError(t, err)
	for pick := range uint64(1000) {
		s := strike(fault, time.Second, time.Second)
		s.Pick = pick
		nodes, err := faults[0].Draw(t.Context(), c, s)
		require.NoError(t, err)
		if slices.Equal(nodes, []harness.NodeID{n}) {
			return s
		}
	}
	t.Fatalf("%s never hits %s", fault, n)
	return harness.Strike{}
}

// Groups that overlap are one set of nodes, which a split divides in two. Groups that do not are
// divided each on its own, as ever.
func TestHalvesOfSharedGroups(t *testing.T) {
	for pick := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			c := groupsOf(t, 8, "n1 n2 n3", "n4 n5", "n3 n6 n7", "n8 n4")
			s := strike("partition:leader", time.Second, time.Second)
			s.Pick = pick
			h, err := stage(t.Context(), t, c, s)
			require.NoError(t, err)
			side := strikesOf(h)[0].Nodes
			large, small := []string{"n1", "n2", "n3", "n6", "n7"}, []string{"n4", "n5", "n8"}
			switch {
			case slices.Contains(large, side[0]):
				require.Len(t, side, 2)
				require.Subset(t, large, side)
				require.True(t, slices.Contains(side, "n1") || slices.Contains(side, "n3"), "with a leader")
			default:
				require.Len(t, side, 1)
				require.Subset(t, small, side)
			}
			require.Len(t, c.Rules(), 2*len(side)*(8-len(side)))
		})
		synctest.Test(t, func(t *testing.T) {
			s := strike("partition:all", time.Second, time.Second)
			s.Pick = pick
			h, err := stage(t.Context(), t, groupsOf(t, 8, "n1 n2 n3", "n4 n5", "n3 n6 n7", "n8 n4"), s)
			require.NoError(t, err)
			side := strikesOf(h)[0].Nodes
			require.Len(t, side, 5/2+3/2)
			require.True(t, slices.IsSorted(side))
		})
	}
}

// A group that joins two others makes one set of all three.
func TestRingOfSharedGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := stage(t.Context(), t, groupsOf(t, 5, "n1 n2", "n3 n4", "n2 n5 n3"), strike("partition/ring", time.Second, time.Second))
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"n1", "n2", "n3", "n4", "n5"}, strikesOf(h)[0].Nodes)
	})
	faults, err := stock(t).Faults("partition/ring")
	require.NoError(t, err)
	require.ErrorContains(t, faults[0].Supports(groupsOf(t, 6, "n1 n2 n3", "n4 n5", "n6 n5")), "in a ring of 3 nodes")
}

// A node in no group may be connected to any other.
func TestPartitionWithoutGroup(t *testing.T) {
	none := func(t *testing.T) harness.Cluster { return groupsOf(t, 4) }
	some := func(t *testing.T) harness.Cluster { return groupsOf(t, 4, "n1 n2", "n2 n3") }
	for _, newCluster := range []func(t *testing.T) harness.Cluster{none, some} {
		seen := struckBy(t, "partition", newCluster)
		require.Len(t, seen, 6, "every two of four: %v", seen)
	}
}

// A node may lead one group and follow in another: a promote is of the group in which it has the
// role.
func TestPromoteInTheGroupOfTheRole(t *testing.T) {
	for fault, want := range map[string][]string{
		"promote":          {"0", "1"},
		"promote:leader":   {"0 n1", "1 n2"},
		"promote:follower": {"0 n2", "1 n1"},
	} {
		seen := make(map[string]bool)
		for pick := range uint64(40) {
			synctest.Test(t, func(t *testing.T) {
				c := groupsOf(t, 2, "n1 n2", "n2 n1")
				s := strike(fault, time.Second, time.Second)
				s.Pick = pick
				h, err := stage(t.Context(), t, c, s)
				require.NoError(t, err)
				require.Len(t, c.promotes, 1)
				require.Equal(t, c.promotes[0][:1], fmt.Sprint(promotesOf(h)[0].Part))
				seen[c.promotes[0]] = true
			})
		}
		require.Len(t, seen, len(want), "%s: %v", fault, seen)
		for _, call := range want {
			require.True(t, seen[call], "%s: %s", fault, call)
		}
	}
}

// A group that nobody leads has neither a leader nor followers to promote.
func TestPromoteNotInAGroupWithoutLeader(t *testing.T) {
	for pick := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			c := groupsOf(t, 2, "n1 n2", "n2 n1")
			c.adjust = func(s *harness.NodeState) {
				if s.Group == 0 {
					s.Role = harness.RoleFollower
				}
			}
			s := strike("promote:leader", time.Second, time.Second)
			s.Pick = pick
			_, err := stage(t.Context(), t, c, s)
			require.NoError(t, err)
			require.Equal(t, []string{"1 n2"}, c.promotes)
		})
	}
}

// Without a group there is nothing to promote: the strike is missed.
func TestPromoteWithoutGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := stage(t.Context(), t, groupsOf(t, 2), strike("promote", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, strikesOf(h)[0].Err, "there is no group to promote in")
	})
}

// Every group that a wiped node led gets another leader before the node is back.
func TestWipedLeaderOfSeveralGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := groupsOf(t, 3, "n1 n2", "n3 n1", "n1 n3")
		h, err := stage(t.Context(), t, c, victimOf(t, c, "wipe", "n1"), strike("kill", 20*time.Second, time.Second))
		require.NoError(t, err)
		require.Equal(t, []string{"0", "2"}, c.promotes)
		require.Equal(t, []harness.NodeID{"n2", "n3", "n3"}, c.lead)
		require.Contains(t, strikesOf(h)[0].Effect, "then group 0 promoted: epoch 2, leader n2, safe; then group 2 promoted: epoch 2, leader n3, safe")
	})
}

// Topics are made again when all of one group was wiped, and not otherwise.
func TestTopicsOfSharedGroups(t *testing.T) {
	for groups, again := range map[string]bool{"n1 n2,n2 n3": false, "n2,n2 n3": true, "n1 n2,,n2 n3": false} {
		synctest.Test(t, func(t *testing.T) {
			c := groupsOf(t, 3, strings.Split(groups, ",")...)
			_, err := stage(t.Context(), t, c, victimOf(t, c, "wipe", "n2"))
			require.NoError(t, err)
			require.Equal(t, again, slices.Contains(c.Calls(), "topic log 1"), groups)
		})
	}
}

// One group that has nothing left is enough for that, whatever becomes of the others.
func TestNothingIsLeftOfOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := groupsOf(t, 3, "n1 n2", "n1 n3", "n3")
		c.adjust = func(s *harness.NodeState) {
			if s.Node == "n2" {
				s.Role = harness.RoleJoining
			}
		}
		_, err := stage(t.Context(), t, c, victimOf(t, c, "wipe", "n1"), strike("kill:leader", 1500*time.Millisecond, 40*time.Second))
		require.NoError(t, err)
		require.Contains(t, c.Calls(), "kill n3")
		require.Equal(t, []string{"0"}, c.promotes)
		require.Contains(t, c.Calls(), "topic log 1")
	})
}

// A node that has given up its disk in one of its groups only is restarted, once.
func TestFailedInOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := groupsOf(t, 3, "n1 n2", "n2 n3", "n3 n1")
		c.adjust = func(s *harness.NodeState) {
			if s.Node == "n3" && s.Group == 1 {
				s.Role = harness.RoleFailed
			}
		}
		h, err := stage(t.Context(), t, c, strike("fsync:all", time.Second, time.Second))
		require.NoError(t, err)
		require.Equal(t, []string{"shutdown n3", "boot n3"}, c.Calls()[len(c.Calls())-2:])
		require.Contains(t, strikesOf(h)[0].Effect, "restarted n3")
	})
}
