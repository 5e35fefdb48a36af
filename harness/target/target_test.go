package target_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/harness/target"
)

// A target without a check of its own has its defaults filled in, and refuses what it does not
// know.
func TestEffective(t *testing.T) {
	tg := &target.Target{
		Name: "kv", Modes: []target.Mode{{Name: "plain"}, {Name: "fancy"}},
		Options: []harness.Option{{Name: "a", Default: "1"}, {Name: "b", Default: "2", Modes: []string{"fancy"}, Values: []string{"2", "4"}}},
	}
	got, err := tg.Effective(target.Config{Mode: "plain", Options: map[string]string{"a": "7"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "7"}, got)
	got, err = tg.Effective(target.Config{Mode: "fancy"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, got)
	_, err = tg.Effective(target.Config{Mode: "plain", Options: map[string]string{"b": "3"}})
	require.ErrorContains(t, err, `target kv has no option "b" in mode plain`)
	_, err = tg.Effective(target.Config{Mode: "fancy", Options: map[string]string{"b": "3"}})
	require.EqualError(t, err, `option b="3": allowed are 2, 4`)
	_, err = tg.Effective(target.Config{Mode: "odd"})
	require.ErrorContains(t, err, `unknown mode "odd" of target kv (want plain or fancy)`)
}

// What a system is still waiting for is asked again until there is nothing, or the time is over:
// then the reason is in the error.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := &target.System{Ready: func(context.Context) error {
			if asked++; asked < 5 {
				return errors.New("n2 has not caught up")
			}
			return nil
		}}
		start := time.Now()
		require.NoError(t, s.Await(t.Context(), time.Second))
		require.Equal(t, 4*time.Second, time.Since(start))

		asked = -1000
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := s.Await(ctx, time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "n2 has not caught up")
		require.NoError(t, (&target.System{}).Await(ctx, time.Second), "a system that says nothing is ready")
	})
}

// composed is a cluster of a system whose node n1 is known to be down.
type composed struct {
	harness.Cluster
	parts []any
}

func (c composed) Parts() []any { return c.parts }

// bystander has no ability at all.
type bystander struct{}

func TestParts(t *testing.T) {
	operator := fakecluster.New(fakecluster.Options{}, 2)
	require.NoError(t, operator.Start(t.Context()))
	down := func(n harness.NodeID) (harness.NodeState, bool) {
		return harness.NodeState{Detail: "killed"}, n == "n1"
	}
	c := composed{operator, target.Parts(bystander{}, &target.System{Nodes: target.NodeNames(2), Operator: operator}, down)}
	g, ok := harness.Can[harness.Groups](c)
	require.True(t, ok)
	require.Equal(t, [][]harness.NodeID{{"n1", "n2"}}, g.Groups())
	s, err := g.State(t.Context(), 0, "n1")
	require.NoError(t, err)
	require.Equal(t, harness.NodeState{Node: "n1", Detail: "killed"}, s, "a node that is down is not asked")
	s, err = g.State(t.Context(), 0, "n2")
	require.NoError(t, err)
	require.True(t, s.Up)
	_, err = g.State(t.Context(), 0, "n3")
	require.ErrorContains(t, err, `there is no node "n3"`)
	_, ok = harness.Can[harness.Promoter](c)
	require.True(t, ok, "what else the operator can do is there, too")

	c = composed{operator, target.Parts(bystander{}, &target.System{}, down)}
	_, ok = harness.Can[harness.Groups](c)
	require.False(t, ok)
	_, ok = harness.Can[harness.Promoter](c)
	require.False(t, ok, "that the cluster's own type could do it does not count")
}

// A system that no environment can use is refused with what is wrong with it.
func TestIncompleteSystemsAreRefused(t *testing.T) {
	whole := target.System{
		Nodes: target.NodeNames(2), Ports: []target.Port{{Name: "a", Number: 1}, {Name: "b", Number: 2}},
		Open: func(context.Context, int, target.DialFunc) (harness.Client, error) { return nil, nil },
	}
	for want, change := range map[string]func(*target.System){
		"":                    func(*target.System) {},
		"it has no nodes":     func(s *target.System) { s.Nodes = nil },
		"it names no port":    func(s *target.System) { s.Ports = nil },
		"it opens no clients": func(s *target.System) { s.Open = nil },
		`two nodes have the name "n1"`: func(s *target.System) {
			s.Nodes = []harness.NodeID{"n1", "n1"}
		},
		`port "a" has the number 70000`: func(s *target.System) { s.Ports = []target.Port{{Name: "a", Number: 70000}} },
		"two ports":                     func(s *target.System) { s.Ports = []target.Port{{Name: "a", Number: 1}, {Name: "b", Number: 1}} },
	} {
		tg := &target.Target{
			Name: "x", Modes: []target.Mode{{Name: "m"}}, Promise: func(target.Config) (contract.Promise, error) { return contract.Promise{}, nil },
			New: func(target.Config, target.Place) (*target.System, error) {
				s := whole
				change(&s)
				return &s, nil
			},
		}
		_, err := tg.System(target.Config{}, target.Place{})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
	var none *target.Target
	_, err := none.System(target.Config{}, target.Place{})
	require.ErrorContains(t, err, "needs a target")
}
