package histories

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var name = RunName{Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Mode: "master-slave", Workload: "log", Seed: 42}

func TestStore(t *testing.T) {
	s := NewStore(filepath.Join(t.TempDir(), "deep", "runs"))
	runs, err := s.List()
	require.NoError(t, err)
	require.Empty(t, runs)
	r, err := s.Create(name)
	require.NoError(t, err)
	require.Regexp(t, `^20260304T050607Z-master-slave-log-42-[0-9]+$`, filepath.Base(r.Dir()))
	require.DirExists(t, r.NodesDir())
	require.Equal(t, filepath.Join(r.Dir(), "nodes", "n1.log"), r.NodeLog("n1"))
	require.Equal(t, filepath.Join(r.Dir(), "nodes", ".._x.log"), r.NodeLog("../x"))
	_, err = OpenRun(r.Dir())
	require.ErrorIs(t, err, ErrNotRun, "nothing in it yet")

	type manifest struct{ Seed int }
	require.NoError(t, r.WriteJSON(ManifestFile, manifest{1}))
	require.NoError(t, r.WriteJSON(ManifestFile, manifest{2}))
	var m manifest
	again, err := OpenRun(r.Dir())
	require.NoError(t, err)
	require.NoError(t, again.ReadJSON(ManifestFile, &m))
	require.Equal(t, manifest{2}, m)
	entries, err := os.ReadDir(r.Dir())
	require.NoError(t, err)
	require.Len(t, entries, 2, "no temporary file is left")

	f, err := r.CreateHistory()
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = r.CreateHistory()
	require.ErrorIs(t, err, os.ErrExist)

	runs, err = s.List()
	require.NoError(t, err)
	require.Equal(t, []*Run{r}, runs)
}

func TestStoreErrors(t *testing.T) {
	s := NewStore(t.TempDir())
	r, err := s.Create(name)
	require.NoError(t, err)
	require.Error(t, r.WriteJSON(VerdictFile, func() {}))
	require.ErrorIs(t, r.ReadJSON(VerdictFile, nil), os.ErrNotExist)
	require.NoError(t, r.WriteFile(VerdictFile, []byte("{")))
	require.ErrorContains(t, r.ReadJSON(VerdictFile, new(int)), VerdictFile)
	require.NoError(t, os.RemoveAll(r.Dir()))
	require.Error(t, r.WriteJSON(VerdictFile, 1))
	_, err = OpenRun(r.Dir())
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(s.Dir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = OpenRun(file)
	require.ErrorIs(t, err, ErrNotRun)
	_, err = NewStore(file).Create(name)
	require.Error(t, err)
}

func TestRunsNeverShareADirectory(t *testing.T) {
	s := NewStore(t.TempDir())
	var (
		wg  sync.WaitGroup
		all sync.Map
	)
	for range 50 {
		wg.Go(func() {
			r, err := s.Create(name)
			if err != nil {
				t.Error(err)
				return
			}
			if _, taken := all.LoadOrStore(r.Dir(), true); taken {
				t.Errorf("%s twice", r.Dir())
			}
		})
	}
	wg.Wait()
}
