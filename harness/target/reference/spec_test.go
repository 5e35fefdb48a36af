package reference

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

func spec(nodes int, set ...string) Spec {
	s := Spec{Mode: MasterSlave, Nodes: nodes, Options: map[string]string{}}
	for i := 0; i < len(set); i += 2 {
		s.Options[set[i]] = set[i+1]
	}
	return s
}

func TestBadSpecsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spec Spec
		want []string
	}{
		"mode":            {Spec{Mode: "paxos", Nodes: 3}, []string{`unknown mode "paxos"`, "master-slave"}},
		"no mode":         {Spec{Nodes: 3}, []string{`unknown mode ""`}},
		"no nodes":        {spec(0), []string{"1 to 64 nodes, not 0"}},
		"nodes":           {spec(1000), []string{"not 1000"}},
		"unknown key":     {spec(3, "replcation", "sync"), []string{`no option "replcation"`, "replication,", "acks,", "visible"}},
		"other mode":      {spec(3, "min.insync.replicas", "2"), []string{`no option "min.insync.replicas"`}},
		"broker value":    {spec(3, "flush", "often"), []string{"flush", "often", "async, sync, leader"}},
		"client value":    {spec(3, "acks", "2"), []string{`acks="2"`, "all, 1, 0"}},
		"retries":         {spec(3, "retries", "-1"), []string{`retries="-1"`, "0 to 1000"}},
		"read-from value": {spec(3, "read-from", "anyone"), []string{"leader, follower"}},
		"idempotence":     {spec(3, "acks", "1", "idempotence", "true"), []string{"idempotence=true needs acks=all, not 1"}},
		"bad idempotence": {spec(3, "idempotence", "maybe"), []string{"true, false"}},
		"uneven groups":   {spec(3, "groups", "2"), []string{"3 nodes cannot be divided evenly into 2 groups"}},
		"too many groups": {spec(2, "groups", "4"), []string{"groups=4"}},
		"copies":          {spec(2, "replication", "sync", "copies", "3"), []string{"copies=3", "only 2 of the 2"}},
		"copies in group": {spec(4, "replication", "sync", "copies", "3", "groups", "2"), []string{"only 2 of the 4"}},
		"copies, async":   {spec(3, "copies", "2"), []string{"replication=sync"}},
		"follower reads":  {spec(3, "read-from", "follower"), []string{"follower-read=true"}},
		"no followers":    {spec(2, "read-from", "follower", "follower-read", "true", "groups", "2"), []string{"no follower to ask"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.spec.Validate()
			require.Error(t, err)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			tg := Target()
			_, err = tg.New(target.Config(c.spec), target.Place{})
			require.Error(t, err)
			_, err = tg.Effective(target.Config(c.spec))
			require.Error(t, err)
		})
	}
}

func TestSettings(t *testing.T) {
	set, err := spec(3).Settings()
	require.NoError(t, err)
	require.Equal(t, 1, set.Copies())
	require.Equal(t, 1, set.Groups())
	require.Equal(t, ClientOptions{Acks: -1, Idempotence: true, Partitions: 3}, set.Client)
	require.Equal(t, map[string]string{
		"acks": "all", "auto.create.topics.enable": "true", "copies": "1", "flush": "async", "follower-read": "false", "groups": "1",
		"idempotence": "true", "partitions": "3", "read-from": "leader", "replication": "async", "replication.timeout.ms": "3000", "retries": "0",
		"visible": "replicated",
	}, set.Effective())

	set, err = spec(3, "replication", "sync", "acks", "1", "retries", "5", "partitions", "7", "follower-read", "true", "read-from", "follower",
		"replication.timeout.ms", "500").Settings()
	require.NoError(t, err)
	require.Equal(t, 2, set.Copies())
	require.Equal(t, 500*time.Millisecond, set.Broker.Timeout)
	require.Equal(t, ClientOptions{Acks: 1, Retries: 5, ReadFollower: true, Partitions: 7}, set.Client, "idempotence is off without acks=all")
	require.Equal(t, "false", set.Effective()["idempotence"])
	require.Equal(t, "2", set.Effective()["copies"])
}

func TestNodeConfigs(t *testing.T) {
	s := spec(4, "groups", "2", "acks", "1", "flush", "sync")
	set, err := s.Settings()
	require.NoError(t, err)
	members := set.members(func(n harness.NodeID, port string) string {
		return string(n) + map[string]string{"kafka": ":9092", "peer": ":7000"}[port]
	})
	configs := s.nodeConfigs(members)
	require.Len(t, configs, 4)
	for i, c := range configs {
		require.Equal(t, int32(i+1), c.ID)
		require.Equal(t, MasterSlave, c.Mode)
		require.Equal(t, fmt.Sprintf("n%d:9092", i+1), c.Listen)
		require.Equal(t, fmt.Sprintf("n%d:7000", i+1), c.Peer)
		require.Equal(t, map[string]string{"groups": "2", "flush": "sync"}, c.Options, "the client's options are not the broker's")
		_, err := masterslave.ParseOptions(c.Options)
		require.NoError(t, err)
		require.Len(t, c.Nodes, 4)
		require.Equal(t, []int32{0, 0, 1, 1}[i], c.Nodes[i].Group)
	}
	require.Equal(t, [][]harness.NodeID{{"n1", "n2"}, {"n3", "n4"}}, (&Admin{Members: func() []masterslave.Member { return members }}).Groups())
}

// A system describes its nodes before anybody knows where they are, and starts them in every
// environment.
func TestSystem(t *testing.T) {
	addr := func(n harness.NodeID, port string) string { return string(n) + ":" + port }
	s, err := Target().New(target.Config(spec(2, "flush", "sync")), target.Place{Addr: addr})
	require.NoError(t, err)
	require.Equal(t, []harness.NodeID{"n1", "n2"}, s.Nodes)
	p, err := s.Process("n2")
	require.NoError(t, err)
	require.Equal(t, []string{"node", "--config", "node.yaml"}, p.Args)
	require.Contains(t, string(p.Files["node.yaml"]), "kafka: n1:kafka")
	require.Contains(t, string(p.Files["node.yaml"]), "data: data\n")
	c, err := s.Container("n1")
	require.NoError(t, err)
	require.Equal(t, "/data", c.Data)
	require.Contains(t, string(c.Files["/etc/assay/node.yaml"]), "flush: sync")
	_, err = s.Container("n3")
	require.ErrorContains(t, err, "n3")
	for _, file := range []string{"log.seg", "meta"} {
		require.Equal(t, file == "log.seg", s.Sim.Log(file))
	}
}

func TestOptionsAreComplete(t *testing.T) {
	seen := make(map[string]bool)
	for _, o := range Options() {
		require.NotEmpty(t, o.Doc, o.Name)
		require.NotEmpty(t, o.Allowed, o.Name)
		require.NotEmpty(t, o.Modes, o.Name)
		for _, mode := range o.Modes {
			require.False(t, seen[mode+" "+o.Name], "%s twice in mode %s", o.Name, mode)
			seen[mode+" "+o.Name] = true
			s := withDefault(o)
			s.Mode = mode
			require.NoError(t, s.Validate(), "the default of %s can be given in mode %s", o.Name, mode)
		}
	}
}

// withDefault gives an option its default in a cluster that allows it.
func withDefault(o harness.Option) Spec {
	s := spec(3, o.Name, o.Default)
	if o.Name == "copies" {
		s.Options["replication"] = "sync"
	}
	return s
}
