package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const hello = "github.com/assay-project/assay/internal/program/testdata/hello"

// buildHere builds the test's program.
func buildHere(t *testing.T) (string, error) {
	return build(t.Context(), hello, runtime.GOOS, runtime.GOARCH)
}

// ownCache gives the test a user cache of its own. What go build keeps stays where it is, so that
// little has to be compiled.
func ownCache(t *testing.T) {
	t.Helper()
	kept, err := exec.Command("go", "env", "GOCACHE").Output()
	require.NoError(t, err)
	t.Setenv("GOCACHE", string(kept[:len(kept)-1]))
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // wherever os.UserCacheDir looks
		t.Setenv(name, t.TempDir())
	}
}

func TestBuild(t *testing.T) {
	ownCache(t)
	path, err := buildHere(t)
	require.NoError(t, err)
	out, err := exec.Command(path).Output()
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(out))
	before, err := os.Stat(path)
	require.NoError(t, err)

	again, err := buildHere(t)
	require.NoError(t, err)
	require.Equal(t, path, again)
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "nothing has changed, so the file is the same")
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing else stays")

	// A stale one is replaced by another file: who has the old one open, or runs it, keeps it.
	other, err := os.Executable()
	require.NoError(t, err)
	stale, err := os.ReadFile(other)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, stale, 0o755))
	before, err = os.Stat(path)
	require.NoError(t, err)
	_, err = buildHere(t)
	require.NoError(t, err)
	require.NoError(t, exec.Command(path).Run())
	after, err = os.Stat(path)
	require.NoError(t, err)
	require.False(t, os.SameFile(before, after))
}

// Test binaries of several packages build at once, and each starts nodes as soon as its own build
// is done.
func TestBuildsSideBySide(t *testing.T) {
	ownCache(t)
	first, err := buildHere(t)
	require.NoError(t, err)
	var all sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		all.Go(func() {
			if i%5 == 0 {
				_, errs[i] = buildHere(t)
				return
			}
			errs[i] = exec.Command(first).Run()
		})
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func TestOwn(t *testing.T) {
	require.True(t, IsTest("/tmp/x.test"))
	require.True(t, IsTest(`C:\x.test.exe`))
	require.False(t, IsTest("/usr/bin/assay"))
	_, err := build(t.Context(), hello+"/nothing", runtime.GOOS, runtime.GOARCH)
	require.ErrorContains(t, err, "find the source of")
}

// A program with parts of its own is built from its own source, so that its nodes have those parts.
func TestSource(t *testing.T) {
	require.Equal(t, "example.com/ours/cmd/ours", source(&debug.BuildInfo{Path: "example.com/ours/cmd/ours"}))
	for _, path := range []string{"", "command-line-arguments", "example.com/ours.test"} {
		require.Equal(t, command, source(&debug.BuildInfo{Path: path}))
	}
	require.Equal(t, command, source(nil))
}
