// Package dockertest is for tests that make containers: it says loudly that there is no Docker
// engine, and sees what a run left behind, by labels alone and without the code that is tested.
package dockertest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

// askTime bounds a question to the engine.
const askTime = 10 * time.Second

// Need skips the test, loudly, where no engine answers; with CI=true it fails.
func Need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: -short leaves out everything that needs Docker")
	}
	ctx, cancel := context.WithTimeout(t.Context(), askTime)
	defer cancel()
	api, err := client.New(client.FromEnv)
	if err == nil {
		defer api.Close()
		_, err = api.Ping(ctx, client.PingOptions{})
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("CI needs Docker: %v", err)
	default:
		t.Skipf("SKIPPED, NOTHING WAS TESTED: no Docker engine answers: %v", err)
	}
}

// Thing is a container, volume or network.
type Thing struct {
	Kind, Name string
	Labels     map[string]string
	State      string // of a container: running, paused, exited, ...
	Image      string // of a container: its ID
}

// Leftovers are all things whose label has the value. It is for the test's own goroutine, which it
// ends when the engine does not answer.
func Leftovers(t testing.TB, label, value string) []Thing {
	t.Helper()
	all, err := Find(context.WithoutCancel(t.Context()), label, value) // a cleanup asks, too
	require.NoError(t, err)
	return all
}

// Find is Leftovers for any goroutine: the condition of an Eventually has one of its own.
func Find(ctx context.Context, label, value string) ([]Thing, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	api, err := client.New(client.FromEnv)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	ours := make(client.Filters).Add("label", label+"="+value)
	var all []Thing
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, err
	}
	for _, c := range containers.Items {
		all = append(all, Thing{"container", c.ID, c.Labels, string(c.State), c.ImageID})
	}
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{Filters: ours})
	if err != nil {
		return nil, err
	}
	for _, v := range volumes.Items {
		all = append(all, Thing{"volume", v.Name, v.Labels, "", ""})
	}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return nil, err
	}
	for _, n := range networks.Items {
		all = append(all, Thing{"network", n.Name, n.Labels, "", ""})
	}
	return all, nil
}

// ImageSize is how many bytes an image has.
func ImageSize(t testing.TB, image string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), askTime)
	defer cancel()
	api, err := client.New(client.FromEnv)
	require.NoError(t, err)
	defer api.Close()
	info, err := api.ImageInspect(ctx, image)
	require.NoError(t, err)
	return info.Size
}
