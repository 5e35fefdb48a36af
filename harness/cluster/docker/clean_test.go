package docker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/dockertest"
)

// TestOldImages: the newest image stays, and so does one that a container uses; the others go, with
// their layers.
func TestOldImages(t *testing.T) {
	dockertest.Need(t)
	e, err := connect(t.Context(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(e.close)
	after := context.WithoutCancel(t.Context()) // for cleanups
	const mark = "assay.test"
	test := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	mine := func(i image.Summary) bool { return i.Labels[mark] == test } // others' images are not this test's business
	names := make([]string, 4)
	for i := range names {
		names[i] = fmt.Sprintf("assay-test-%s:%d", test, i)
	}
	names[1] = names[2] // the first that has it is left without
	for i := range names {
		archive, err := tarOf(tarFile{"Dockerfile", 0o644, []byte("FROM scratch\nCOPY f /f\n")}, tarFile{"f", 0o644, []byte(fmt.Sprint(i))})
		require.NoError(t, err)
		built, err := e.api.ImageBuild(t.Context(), archive, client.ImageBuildOptions{
			Tags: names[i : i+1], Remove: true, Version: build.BuilderV1, Labels: map[string]string{Label: "1", mark: test},
		})
		require.NoError(t, err)
		require.NoError(t, followBuild(built.Body))
		t.Cleanup(func() {
			_, _ = e.api.ImageRemove(after, names[i], client.ImageRemoveOptions{Force: true, PruneChildren: true}) // most are gone
		})
		second := time.Now().Unix() // the age of images is told in seconds
		require.Eventually(t, func() bool { return time.Now().Unix() > second }, 5*time.Second, 10*time.Millisecond)
	}
	used, err := e.api.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &container.Config{Image: names[0], Cmd: []string{"/f"}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, removeContainer(after, e, used.ID)) })

	removed, err := removeImages(t.Context(), e, mine)
	require.NoError(t, err)
	require.Len(t, removed, 2)
	require.Contains(t, removed[0], "sha256:", "an image without a name goes by its id")
	require.Equal(t, names[2], removed[1])
	require.NoError(t, removeContainer(t.Context(), e, used.ID))
	removed, err = removeImages(t.Context(), e, mine)
	require.NoError(t, err)
	require.Equal(t, []string{names[0]}, removed)
	removed, err = removeImages(t.Context(), e, mine)
	require.NoError(t, err)
	require.Empty(t, removed)
	_, err = e.api.ImageInspect(t.Context(), names[3])
	require.NoError(t, err)
}

// TestOldDerivedImages: a derived image goes, and so does the one that it was derived from.
func TestOldDerivedImages(t *testing.T) {
	dockertest.Need(t)
	e, err := connect(t.Context(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(e.close)
	unique := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	files := foreignContext(t, foreignImage+"ENV UNIQUE="+unique+"\n")
	maker, err := newImageMaker(t.Context(), e, nodeProgram(t), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	tag, err := maker.image(t.Context(), target.Container{Build: files})
	require.NoError(t, err)
	content, err := readContext(files)
	require.NoError(t, err)
	base := baseName + ":" + digest(content)
	info, err := e.api.ImageInspect(t.Context(), tag)
	require.NoError(t, err)

	second := time.Now().Unix() // the age of images is told in seconds
	require.Eventually(t, func() bool { return time.Now().Unix() > second }, 5*time.Second, 10*time.Millisecond)
	newer := "assay-test-" + unique + ":newer"
	archive, err := tarOf(tarFile{"Dockerfile", 0o644, []byte("FROM scratch\nCOPY f /f\n")}, tarFile{"f", 0o644, []byte(unique)})
	require.NoError(t, err)
	require.NoError(t, buildImage(t.Context(), e, archive, newer))
	after := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		_, err := e.api.ImageRemove(after, newer, client.ImageRemoveOptions{PruneChildren: true})
		require.NoError(t, err)
	})
	removed, err := removeImages(t.Context(), e, func(i image.Summary) bool {
		return slices.ContainsFunc(i.RepoTags, func(name string) bool { return name == tag || name == base || name == newer })
	})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{tag, base}, removed)
	for _, gone := range []string{tag, base, info.ID} {
		_, err := e.api.ImageInspect(t.Context(), gone)
		require.True(t, errdefs.IsNotFound(err), "%s: %v", gone, err)
	}
}
