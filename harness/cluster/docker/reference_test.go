package docker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

func newCluster(t testing.TB, spec reference.Spec) *Cluster {
	t.Helper()
	dockertest.Need(t)
	c, err := New(Config{
		Spec: spec, RunID: fmt.Sprintf("test-%d-%d", os.Getpid(), time.Now().UnixNano()%1e9), LogDir: t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Stop(context.Background()))
		require.Empty(t, leftovers(t, c.runID))
	})
	return c
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Config{Spec: reference.Spec{Mode: "gossip", Nodes: 3}, RunID: "x"})
	require.ErrorContains(t, err, "gossip")
	_, err = New(Config{Spec: reference.Spec{Mode: reference.MasterSlave, Nodes: 3}})
	require.ErrorContains(t, err, "run ID")
}

func TestAbilitiesBeforeTheStart(t *testing.T) {
	c, err := New(Config{Spec: reference.Spec{Mode: reference.MasterSlave, Nodes: 3}, RunID: "idle"})
	require.NoError(t, err)
	require.Equal(t, [][]harness.NodeID{{"n1", "n2", "n3"}}, c.Groups())
	require.Equal(t, []harness.NodeID{"n1", "n2", "n3"}, c.Nodes())
	var cluster harness.Cluster = c
	_, power := cluster.(harness.PowerCutter)
	_, disks := cluster.(harness.Disks)
	require.False(t, power || disks, "containers cannot cut power or break disks")
	_, err = c.Open(t.Context(), 0)
	require.ErrorContains(t, err, "has not been started")
	require.NoError(t, c.Stop(t.Context()))
}

// TestBroker: the reference broker in containers takes a message, survives a kill, and promotes a follower after a wiped leader.
func TestBroker(t *testing.T) {
	c := newCluster(t, reference.Spec{Mode: reference.MasterSlave, Nodes: 3, Options: map[string]string{"replication": "sync"}})
	begin := time.Now()
	require.NoError(t, c.Start(t.Context()))
	t.Logf("started within %v, the image included", time.Since(begin))
	image, err := c.engine.api.ImageInspect(t.Context(), c.nodes[0].image)
	require.NoError(t, err)
	t.Logf("the image has %d bytes", image.Size)
	require.Less(t, image.Size, int64(30<<20))
	require.NoError(t, c.CreateTopic(t.Context(), "t", 1))
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

	_, err = c.Kill(t.Context(), "n2")
	require.NoError(t, err)
	state, err := c.State(t.Context(), "n2")
	require.NoError(t, err)
	require.False(t, state.Up)
	require.NoError(t, c.Boot(t.Context(), "n2"))
	require.Eventually(t, func() bool {
		s, err := c.State(t.Context(), "n2")
		return err == nil && s.CaughtUp
	}, 20*time.Second, 50*time.Millisecond)

	effect, err := c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, int64(1), effect.Count)
	t.Log(effect.Text)
	p, err := c.Promote(t.Context(), 0, "", false)
	require.NoError(t, err)
	require.True(t, p.Safe)
	require.NoError(t, c.Boot(t.Context(), "n1"))
	require.Eventually(t, func() bool {
		s, err := c.State(t.Context(), "n1")
		return err == nil && s.CaughtUp
	}, 20*time.Second, 50*time.Millisecond)
}
