package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/agent"
	"github.com/assay-project/assay/internal/dockertest"
)

// foreignImage is an image as others make it: it has a user, a working directory, a volume and a
// health check, and starts its program by itself.
const foreignImage = `FROM scratch
COPY foreign /srv/foreign
WORKDIR /srv
USER 1000
ENV KIND=foreign
EXPOSE 7000
VOLUME /cache
HEALTHCHECK CMD ["/srv/foreign", "/no/such/config"]
ENTRYPOINT ["./foreign", "from the \"image\""]
CMD ["/etc/probe/config.json"]
`

// foreignContext is a build context with testdata/foreign in it.
func foreignContext(t testing.TB, dockerfile string) func() (io.Reader, error) {
	t.Helper()
	program, err := os.ReadFile(built(t, "foreign"))
	require.NoError(t, err)
	return func() (io.Reader, error) {
		return tarOf(tarFile{"Dockerfile", 0o644, []byte(dockerfile)}, tarFile{"foreign", 0o755, program})
	}
}

// foreigners are probes in images of their own.
func foreigners(change func(*target.Container)) probes {
	return probes{container: func(c *target.Container) {
		c.Command = nil
		change(c)
	}}
}

func TestForeignImage(t *testing.T) {
	files := foreignContext(t, foreignImage)
	r := startRigOf(t, foreigners(func(c *target.Container) {
		c.Build, c.Env = files, []string{"EXTRA=a=b"}
	}), 2)
	self := r.ask("n1", request{Op: "self"}).Self
	require.Equal(t, []string{"./foreign", `from the "image"`, "/etc/probe/config.json"}, self.Args, "what the image starts")
	require.Equal(t, "/srv", self.Dir)
	require.Zero(t, self.UID)
	require.Contains(t, self.Env, "KIND=foreign")
	require.Contains(t, self.Env, "EXTRA=a=b")
	require.NotContains(t, fmt.Sprint(self.Env), agent.FilesEnv)

	e := r.c.engine
	info, err := e.api.ContainerInspect(t.Context(), r.c.nodes[0].name, client.ContainerInspectOptions{})
	require.NoError(t, err)
	require.Nil(t, info.Container.State.Health)
	require.Empty(t, info.Container.HostConfig.PortBindings, "a port that the image exposes is not published")
	var unnamed []string
	for _, m := range info.Container.Mounts {
		if m.Type == mount.TypeVolume && m.Name != r.c.nodes[0].volume {
			unnamed = append(unnamed, m.Name)
		}
	}
	require.Len(t, unnamed, 1, "the volume that the image asks for")

	r.ask("n1", request{Op: "write", N: 1000})
	_, err = r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	require.Equal(t, int64(1000), r.ask("n1", request{Op: "size"}).Size, "what was written stays")
	effect, err := r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, harness.Effect{Count: 1, Text: "n1 killed, its disk with 1000 bytes deleted"}, effect)
	_, err = e.api.VolumeInspect(t.Context(), unnamed[0], client.VolumeInspectOptions{})
	require.Error(t, err, "a wipe takes the image's volume too")
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	require.Zero(t, r.ask("n1", request{Op: "size"}).Size)
}

// TestForeignSplit: a system that knows nothing of assay comes back into the split that it left. A
// probe shouts at its peers before it listens.
func TestForeignSplit(t *testing.T) {
	files := foreignContext(t, foreignImage)
	r := startRigOf(t, foreigners(func(c *target.Container) { c.Build = files }), 2)
	require.True(t, r.reaches("n1", "n2"))
	heal := r.shape(both("n1", "n2", drop)...)
	require.False(t, r.reaches("n1", "n2"))
	shouts := func(stop func(context.Context, harness.NodeID) (harness.Effect, error)) int {
		_, err := stop(t.Context(), "n1")
		require.NoError(t, err)
		r.ask("n2", request{Op: "heard"})
		require.NoError(t, r.c.Boot(t.Context(), "n1"))
		r.ask("n1", request{Op: "ping"}) // it listens: it has shouted
		return r.ask("n2", request{Op: "heard"}).Count[r.c.address("n1").String()]
	}
	require.Zero(t, shouts(r.c.Kill))
	require.Zero(t, shouts(r.c.Shutdown))
	require.Zero(t, shouts(r.c.Wipe))
	require.False(t, r.reaches("n1", "n2"))
	require.False(t, r.reaches("n2", "n1"))
	require.Positive(t, r.undo(heal).Count)
	require.Equal(t, 3, shouts(r.c.Kill), "the alarm works: without a split the shouts are heard")
	slow := func(rule *harness.Rule) { rule.DelayMin, rule.DelayMax = 20*time.Millisecond, 30*time.Millisecond }
	heal = r.shape(both("n1", "n2", slow)...)
	shouts(r.c.Kill)
	got := r.ask("n1", request{Op: "rtt", Addr: r.addr("n2"), N: 3, Timeout: time.Second})
	require.Empty(t, got.Err)
	require.GreaterOrEqual(t, got.RTT[0], 40*time.Millisecond, "both ends delay")
	require.Contains(t, r.undo(heal).Text, "packets delayed")
}

// TestImageOfTheEngine: an image that the engine has, with a command of the target's own.
func TestImageOfTheEngine(t *testing.T) {
	image := buildForTest(t, foreignImage)
	r := startRigOf(t, foreigners(func(c *target.Container) {
		c.Image, c.Command = image, []string{"/srv/foreign", "of the target", probeConfig}
	}), 1)
	require.Equal(t, []string{"/srv/foreign", "of the target", probeConfig}, r.ask("n1", request{Op: "self"}).Self.Args)
}

// buildForTest builds an image with testdata/foreign in it, which goes with the test.
func buildForTest(t *testing.T, dockerfile string) string {
	t.Helper()
	dockertest.Need(t)
	e, err := connect(t.Context(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(e.close)
	archive, err := foreignContext(t, dockerfile)()
	require.NoError(t, err)
	name := fmt.Sprintf("assay-test-foreign-%d:%d", os.Getpid(), time.Now().UnixNano())
	result, err := e.api.ImageBuild(t.Context(), archive, client.ImageBuildOptions{Tags: []string{name}, Remove: true, Version: build.BuilderV1})
	require.NoError(t, err)
	require.NoError(t, followBuild(result.Body))
	after := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		_, err := e.api.ImageRemove(after, name, client.ImageRemoveOptions{PruneChildren: true})
		require.NoError(t, err)
	})
	return name
}

func TestImagesThatCannotBeUsed(t *testing.T) {
	silent := buildForTest(t, "FROM scratch\nCOPY foreign /foreign\n")
	failing := foreignContext(t, "FROM scratch\nCOPY foreign /first\nCOPY no-such-file /x\n")
	for name, c := range map[string]struct {
		change func(*target.Container)
		want   string
	}{
		"missing": {func(c *target.Container) { c.Image = "assay-test-missing:1" },
			`node n1 of target probes: the Docker engine has no image "assay-test-missing:1": pull it (docker pull assay-test-missing:1)`},
		"no command": {func(c *target.Container) { c.Image = silent },
			fmt.Sprintf("image %q has neither an entry point nor a command, and the target names none", silent)},
		"no such program": {func(c *target.Container) { c.Image, c.Command = silent, []string{"/no/such/program"} },
			`start the node ["/no/such/program"]`},
		"build fails": {func(c *target.Container) { c.Build = failing }, "COPY foreign /first"},
		"no context": {func(c *target.Container) {
			c.Build = func() (io.Reader, error) { return nil, errors.New("no such folder") }
		}, "make the build context: no such folder"},
		"no archive": {func(c *target.Container) {
			c.Build = func() (io.Reader, error) { return bytes.NewReader([]byte("not a tar")), nil }
		}, "build image assay-base:"},
		"two images": {func(c *target.Container) { c.Image, c.Build = silent, failing }, "and a build context (want one of them)"},
		"nothing":    {func(*target.Container) {}, "it names neither an image nor a command"},
	} {
		t.Run(name, func(t *testing.T) {
			err := newRigOf(t, foreigners(c.change), 1).c.Start(t.Context())
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestNoVolume: a node without a volume has its disk in its container, and loses it with a wipe
// only.
func TestNoVolume(t *testing.T) {
	r := startRigOf(t, probes{data: "/etc/probe", container: func(c *target.Container) { c.Data = "" }}, 2)
	require.Len(t, leftovers(t, r.c.runID), 3, "two containers, a network")
	r.ask("n1", request{Op: "write", N: 54321})
	heal := r.shape(both("n1", "n2", drop)...)
	_, err := r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	require.Equal(t, int64(54321), r.ask("n1", request{Op: "size"}).Size)
	effect, err := r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, harness.Effect{Count: 1, Text: "n1 killed, its disk with 54321 bytes deleted"}, effect)
	effect, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Zero(t, effect)
	require.NoError(t, r.c.Boot(t.Context(), "n1"))
	require.Zero(t, r.ask("n1", request{Op: "size"}).Size)
	require.False(t, r.reaches("n2", "n1"), "the split outlives the container")
	r.undo(heal)
	require.True(t, r.reaches("n2", "n1"))
	_, err = r.c.Kill(t.Context(), "n1")
	require.NoError(t, err)
	effect, err = r.c.Wipe(t.Context(), "n1")
	require.NoError(t, err)
	require.Zero(t, effect, "the agent's files are not the node's")
}
