package docker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/agent"
)

// newOf makes an idle cluster of probes whose system is changed.
func newOf(t *testing.T, p probes, change func(*target.System)) (*Cluster, error) {
	t.Helper()
	made := p.target()
	made.New = func(c target.Config, at target.Place) (*target.System, error) {
		sys := p.system(c.Nodes, at)
		change(sys)
		return sys, nil
	}
	return New(Config{Target: made, Config: target.Config{Nodes: 3}, RunID: "idle"})
}

func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(*target.System){
		"target probes: it does not run in containers": func(s *target.System) { s.Container = nil },
		"it has no nodes":              func(s *target.System) { s.Nodes = nil },
		"300 nodes do not fit":         func(s *target.System) { s.Nodes = target.NodeNames(300) },
		`two nodes have the name "n2"`: func(s *target.System) { s.Nodes = []harness.NodeID{"n1", "n2", "n2"} },
		`node "../n1": only a-z, 0-9`:  func(s *target.System) { s.Nodes = []harness.NodeID{"../n1"} },
		"it names no port":             func(s *target.System) { s.Ports = nil },
		`port "x" has the number 0`:    func(s *target.System) { s.Ports = []target.Port{{Name: "x"}} },
		"it opens no clients":          func(s *target.System) { s.Open = nil },
	} {
		_, err := newOf(t, probes{}, change)
		require.ErrorContains(t, err, want)
		require.Equal(t, strings.Contains(want, "does not run in containers"), errors.Is(err, harness.ErrUnsupported), want)
	}
	_, err := New(Config{RunID: "x"})
	require.ErrorContains(t, err, "needs a target")
	wrong := errors.New("no such mode")
	_, err = New(Config{RunID: "x", Target: &target.Target{New: func(target.Config, target.Place) (*target.System, error) { return nil, wrong }}})
	require.ErrorIs(t, err, wrong)
}

func TestSetup(t *testing.T) {
	good := target.Container{Command: []string{"/bin/node", "--config", "f"}, Data: "/data", Env: []string{"A=1", "B="}, Files: map[string][]byte{"/f": []byte("abc")}}
	s, err := newSetup(good)
	require.NoError(t, err)
	require.Equal(t, []string{"agent", "run-node", "--", "/bin/node", "--config", "f"}, s.args)
	require.Equal(t, "/data", s.data)
	require.Equal(t, int64(3), s.files)
	require.Equal(t, "1", s.env["A"])
	require.Contains(t, s.env, "B")
	require.Contains(t, s.env, agent.ContainerEnv)
	for want, change := range map[string]func(*target.Container){
		"its data are at":       func(c *target.Container) { c.Data = "data" },
		`its data are at "/"`:   func(c *target.Container) { c.Data = "/" },
		"want an absolute path": func(c *target.Container) { c.Files = map[string][]byte{"f": nil} },
		`variable "A": want`:    func(c *target.Container) { c.Env = []string{"A"} },
		`variable "=1": want`:   func(c *target.Container) { c.Env = []string{"=1"} },
		"none of assay's own":   func(c *target.Container) { c.Env = []string{agent.FilesEnv + "={}"} },
		"neither an image":      func(c *target.Container) { c.Command = nil },
	} {
		bad := good
		change(&bad)
		_, err := newSetup(bad)
		require.ErrorContains(t, err, want)
	}
}

// TestPlace: what a target is told of its nodes while it is made, of an idle cluster, and of one
// that runs.
func TestPlace(t *testing.T) {
	var place target.Place
	p := probes{}
	made := p.target()
	made.New = func(c target.Config, at target.Place) (*target.System, error) {
		place = at
		require.Equal(t, "n1:probe", at.Addr("n1", probePort), "nobody knows the ports yet")
		_, err := at.Dial(t.Context(), "tcp", at.Addr("n1", probePort))
		require.ErrorContains(t, err, "has not been started")
		return p.system(c.Nodes, at), nil
	}
	c, err := New(Config{Target: made, Config: target.Config{Nodes: 2}, RunID: "idle"})
	require.NoError(t, err)
	require.Equal(t, "n2:7000", place.Addr("n2", probePort))
	require.Equal(t, "n2:other", place.Addr("n2", "other"))
	require.Equal(t, "n9:7000", place.Addr("n9", probePort))
	require.False(t, c.address("n1").IsValid())
	_, err = c.Open(t.Context(), 0)
	require.ErrorContains(t, err, "has not been started")
	require.NoError(t, c.Stop(t.Context()))
	c.subnet = subnet(0)
	require.Equal(t, "10.176.0.11:7000", place.Addr("n2", probePort))
	require.Equal(t, "n9:7000", place.Addr("n9", probePort))
}

// operator knows groups, and says what it is asked.
type operator struct{ asked []harness.NodeID }

func (o *operator) Groups() [][]harness.NodeID { return [][]harness.NodeID{{"n1", "n2"}, {"n1"}} }

func (o *operator) State(_ context.Context, group int, n harness.NodeID) (harness.NodeState, error) {
	o.asked = append(o.asked, n)
	return harness.NodeState{Node: n, Group: group, Up: true, Role: harness.RoleLeader}, nil
}

// promoter can promote, too.
type promoter struct{ operator }

func (*promoter) Promote(_ context.Context, group int, n harness.NodeID, _ bool) (harness.Promotion, error) {
	return harness.Promotion{Group: group, Leader: n}, nil
}

// TestAbilities: a cluster can what containers can, and what the operator of its target can:
// neither more nor less.
func TestAbilities(t *testing.T) {
	type abilities struct{ containers, groups, promoter, topics bool }
	for name, tc := range map[string]struct {
		operator any
		want     abilities
	}{
		"no operator": {nil, abilities{containers: true}},
		"groups":      {&operator{}, abilities{containers: true, groups: true}},
		"promoter":    {&promoter{}, abilities{containers: true, groups: true, promoter: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := newOf(t, probes{operator: tc.operator}, func(*target.System) {})
			require.NoError(t, err)
			got := abilities{containers: can[harness.Killer](c) && can[harness.Wiper](c) && can[harness.Pauser](c) &&
				can[harness.Network](c) && can[harness.ClientShaper](c)}
			got.groups, got.promoter, got.topics = can[harness.Groups](c), can[harness.Promoter](c), can[harness.TopicMaker](c)
			require.Equal(t, tc.want, got)
			require.False(t, can[harness.PowerCutter](c) || can[harness.Disks](c), "containers cannot cut power or break disks")
		})
	}
	c, err := newOf(t, probes{}, func(*target.System) {})
	require.NoError(t, err)
	require.Equal(t, [][]harness.NodeID{{"n1", "n2", "n3"}}, harness.GroupsOf(c))
	require.Equal(t, []harness.NodeID{"n1", "n2", "n3"}, c.Nodes())
	c, err = newOf(t, probes{operator: &promoter{}}, func(*target.System) {})
	require.NoError(t, err)
	require.Equal(t, [][]harness.NodeID{{"n1", "n2"}, {"n1"}}, harness.GroupsOf(c))
	p, _ := harness.Can[harness.Promoter](c)
	promoted, err := p.Promote(t.Context(), 1, "n1", false)
	require.NoError(t, err)
	require.Equal(t, harness.NodeID("n1"), promoted.Leader)
}

func can[T any](c harness.Cluster) bool {
	_, ok := harness.Can[T](c)
	return ok
}

// TestStateOfNodesThatAreDown: the operator is not asked for nodes that are known to be down.
func TestStateOfNodesThatAreDown(t *testing.T) {
	o := &operator{}
	r := startRigOf(t, probes{operator: o}, 2)
	groups, ok := harness.Can[harness.Groups](r.c)
	require.True(t, ok)
	state := func(n harness.NodeID) harness.NodeState {
		s, err := groups.State(t.Context(), 1, n)
		require.NoError(t, err)
		return s
	}
	require.Equal(t, harness.NodeState{Node: "n1", Group: 1, Up: true, Role: harness.RoleLeader}, state("n1"))

	_, err := r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, harness.NodeState{Node: "n1", Group: 1, Detail: "node n1 is down: it was killed"}, state("n1"))
	require.True(t, state("n2").Up)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	require.True(t, state("n1").Up)
	_, err = r.c.Shutdown(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "node n1 is down: it was shut down", state("n1").Detail)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))

	_, err = askOnce(t.Context(), r.c.dial, r.addr("n1"), request{Op: "exit", N: 7})
	require.Error(t, err)
	require.Eventually(t, func() bool {
		s, err := r.c.engine.state(t.Context(), r.c.nodes[0])
		return err == nil && !s.Running
	}, 10*time.Second, 10*time.Millisecond)
	effect, err := r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.Zero(t, effect)
	failed := harness.NodeState{Node: "n1", Group: 1, Role: harness.RoleFailed, Detail: "node n1 is down: it ended by itself with exit code 7"}
	require.Equal(t, failed, state("n1"))
	_, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, failed, state("n1"), "a fault that finds it down does not hide why")

	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	r.ask("n1", request{Op: "poison"})
	_, err = r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.ErrorIs(t, r.c.Boot(t.Context(), "n1"), harness.ErrNodeExited)
	failed.Detail = "node n1 is down: it ended by itself with exit code 1: the disk is damaged"
	require.Equal(t, failed, state("n1"))
	require.Equal(t, []harness.NodeID{"n1", "n2", "n1"}, o.asked)
}
