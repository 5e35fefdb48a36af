package docker_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/docker"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

// Only these tests know a target; the package does not.

const masterSlave = "master-slave"

// newBroker returns a cluster of the reference broker, and its run ID.
func newBroker(t testing.TB, cfg target.Config) (*docker.Cluster, string) {
	t.Helper()
	dockertest.Need(t)
	run := fmt.Sprintf("test-%d-%d", os.Getpid(), time.Now().UnixNano()%1e9)
	c, err := docker.New(docker.Config{
		Target: reference.Target(), Config: cfg, RunID: run, LogDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Stop(context.Background()))
		require.Empty(t, dockertest.Leftovers(t, docker.LabelRun, run))
	})
	return c, run
}

// can returns an ability that the cluster must have.
func can[T any](t testing.TB, c harness.Cluster) T {
	t.Helper()
	ability, ok := harness.Can[T](c)
	require.True(t, ok)
	return ability
}

func TestReferenceRefuses(t *testing.T) {
	_, err := docker.New(docker.Config{Target: reference.Target(), Config: target.Config{Mode: "gossip", Nodes: 3}, RunID: "x"})
	require.ErrorContains(t, err, "gossip")
	_, err = docker.New(docker.Config{Target: reference.Target(), Config: target.Config{Mode: masterSlave, Nodes: 3}})
	require.ErrorContains(t, err, "run ID")
}

func TestReferenceBeforeTheStart(t *testing.T) {
	c, err := docker.New(docker.Config{Target: reference.Target(), Config: target.Config{Mode: masterSlave, Nodes: 3}, RunID: "idle"})
	require.NoError(t, err)
	require.Equal(t, [][]harness.NodeID{{"n1", "n2", "n3"}}, can[harness.Groups](t, c).Groups())
	require.Equal(t, []harness.NodeID{"n1", "n2", "n3"}, c.Nodes())
	can[harness.Promoter](t, c)
	can[harness.TopicMaker](t, c)
	_, power := harness.Can[harness.PowerCutter](c)
	_, disks := harness.Can[harness.Disks](c)
	require.False(t, power || disks, "containers cannot cut power or break disks")
	_, err = c.Open(t.Context(), 0)
	require.ErrorContains(t, err, "has not been started")
	require.NoError(t, c.Stop(t.Context()))
}

// TestBroker: the reference broker in containers takes a message, survives a kill, and promotes a
// follower after a wiped leader.
func TestBroker(t *testing.T) {
	c, run := newBroker(t, target.Config{Mode: masterSlave, Nodes: 3, Options: map[string]string{"replication": "sync"}})
	begin := time.Now()
	require.NoError(t, c.Start(t.Context()))
	t.Logf("started within %v, the image included", time.Since(begin))
	things := dockertest.Leftovers(t, docker.LabelRun, run)
	node := slices.IndexFunc(things, func(thing dockertest.Thing) bool { return thing.Kind == "container" })
	size := dockertest.ImageSize(t, things[node].Image)
	t.Logf("the image has %d bytes", size)
	require.Less(t, size, int64(30<<20))

	require.NoError(t, can[harness.TopicMaker](t, c).CreateTopic(t.Context(), "t", 1))
	client, err := c.Open(t.Context(), 0)
	require.NoError(t, err)
	defer client.Close()
	send := func(value int64) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := client.Invoke(ctx, histories.Op{F: histories.Send, Part: 0, Value: value})
		return err
	}
	require.NoError(t, send(1))

	groups := can[harness.Groups](t, c)
	caughtUp := func(n harness.NodeID) {
		t.Helper()
		require.NoError(t, c.Boot(t.Context(), n))
		require.Eventually(t, func() bool {
			s, err := groups.State(t.Context(), 0, n)
			return err == nil && s.CaughtUp
		}, 20*time.Second, 50*time.Millisecond)
	}
	_, err = c.Kill(t.Context(), "n2")
	require.NoError(t, err)
	state, err := groups.State(t.Context(), 0, "n2")
	require.NoError(t, err)
	require.False(t, state.Up)
	caughtUp("n2")

	effect, err := c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, int64(1), effect.Count)
	t.Log(effect.Text)
	p, err := can[harness.Promoter](t, c).Promote(t.Context(), 0, "", false)
	require.NoError(t, err)
	require.True(t, p.Safe)
	caughtUp("n1")
}
