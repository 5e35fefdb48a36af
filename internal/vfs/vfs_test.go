package vfs_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// conformance holds what every FS must do; one entry per sentence.
var conformance = []struct {
	name string
	run  func(t *testing.T, f vfs.FS)
}{
	{"open without create of a missing file is ErrNotExist", func(t *testing.T, f vfs.FS) {
		_, err := f.Open("a", false)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Empty(t, list(t, f))
	}},
	{"open with create keeps what is there", func(t *testing.T, f vfs.FS) {
		write(t, f, "a", "hello")
		file, err := f.Open("a", true)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Equal(t, "hello", read(t, f, "a"))
	}},
	{"names are flat", func(t *testing.T, f vfs.FS) {
		for _, name := range []string{"", ".", "..", "a/b", "/a", `a\b`, "a\x00", strings.Repeat("x", 256)} {
			_, err := f.Open(name, true)
			require.ErrorIs(t, err, vfs.ErrName, "%q", name)
			require.ErrorIs(t, f.Remove(name), vfs.ErrName)
			require.ErrorIs(t, f.Rename(name, "b"), vfs.ErrName)
			require.ErrorIs(t, f.Rename("b", name), vfs.ErrName)
		}
		require.Empty(t, list(t, f))
	}},
	{"list is in lexical order", func(t *testing.T, f vfs.FS) {
		for _, name := range []string{"b", "a", "c10", "c1"} {
			write(t, f, name, "")
		}
		require.Equal(t, []string{"a", "b", "c1", "c10"}, list(t, f))
	}},
	{"remove of a missing file is ErrNotExist", func(t *testing.T, f vfs.FS) {
		require.ErrorIs(t, f.Remove("a"), fs.ErrNotExist)
	}},
	{"a removed open file stays readable and writable", func(t *testing.T, f vfs.FS) {
		write(t, f, "a", "hello")
		file, err := f.Open("a", false)
		require.NoError(t, err)
		require.NoError(t, f.Remove("a"))
		_, err = file.WriteAt([]byte("J"), 0)
		require.NoError(t, err)
		got := make([]byte, 5)
		_, err = file.ReadAt(got, 0)
		require.NoError(t, err)
		require.Equal(t, "Jello", string(got))
		require.NoError(t, file.Close())
		require.Empty(t, list(t, f))
	}},
	{"rename replaces", func(t *testing.T, f vfs.FS) {
		write(t, f, "a", "new")
		write(t, f, "b", "old")
		old, err := f.Open("b", false)
		require.NoError(t, err)
		require.NoError(t, f.Rename("a", "b"))
		require.Equal(t, []string{"b"}, list(t, f))
		require.Equal(t, "new", read(t, f, "b"))
		got := make([]byte, 3)
		_, err = old.ReadAt(got, 0)
		require.NoError(t, err)
		require.Equal(t, "old", string(got))
		require.NoError(t, old.Close())
	}},
	{"rename of a missing file is ErrNotExist, and onto itself does nothing", func(t *testing.T, f vfs.FS) {
		require.ErrorIs(t, f.Rename("a", "b"), fs.ErrNotExist)
		write(t, f, "a", "x")
		require.NoError(t, f.Rename("a", "a"))
		require.Equal(t, "x", read(t, f, "a"))
	}},
	{"reads end with EOF", func(t *testing.T, f vfs.FS) {
		write(t, f, "a", "hello")
		file, err := f.Open("a", false)
		require.NoError(t, err)
		defer func() { require.NoError(t, file.Close()) }()
		p := make([]byte, 10)
		n, err := file.ReadAt(p, 2)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "llo", string(p[:n]))
		n, err = file.ReadAt(p, 5)
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, n)
		_, err = file.ReadAt(p, -1)
		require.Error(t, err)
		_, err = file.WriteAt(p, -1)
		require.Error(t, err)
		require.Error(t, file.Truncate(-1))
	}},
	{"a hole and an extension read as zeros, also where bytes were cut off", func(t *testing.T, f vfs.FS) {
		file, err := f.Open("a", true)
		require.NoError(t, err)
		defer func() { require.NoError(t, file.Close()) }()
		big := bytes.Repeat([]byte("x"), 100_000)
		_, err = file.WriteAt(big, 0)
		require.NoError(t, err)
		require.NoError(t, file.Truncate(10))
		require.NoError(t, file.Truncate(20))
		_, err = file.WriteAt([]byte("y"), 70_000)
		require.NoError(t, err)
		size, err := file.Size()
		require.NoError(t, err)
		require.EqualValues(t, 70_001, size)
		want := append(append(bytes.Repeat([]byte("x"), 10), make([]byte, 69_990)...), 'y')
		require.Equal(t, string(want), read(t, f, "a"))
		require.NoError(t, file.Sync())
		require.NoError(t, f.SyncDir())
	}},
	{"a closed file refuses everything", func(t *testing.T, f vfs.FS) {
		file, err := f.Open("a", true)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		_, readErr := file.ReadAt(make([]byte, 1), 0)
		_, writeErr := file.WriteAt(make([]byte, 1), 0)
		_, sizeErr := file.Size()
		for _, err := range []error{readErr, writeErr, sizeErr, file.Truncate(0), file.Sync(), file.Close()} {
			require.ErrorIs(t, err, fs.ErrClosed)
		}
	}},
}

func TestConformance(t *testing.T) {
	systems := map[string]func(t *testing.T) vfs.FS{
		"os": func(t *testing.T) vfs.FS {
			f, err := vfs.OS(filepath.Join(t.TempDir(), "deep", "er"))
			require.NoError(t, err)
			return f
		},
		"disk": func(*testing.T) vfs.FS { return newDisk(1) },
		"image of a disk": func(*testing.T) vfs.FS {
			img, _ := newDisk(1).Image(vfs.PowerLoss)
			return img
		},
	}
	for name, open := range systems {
		for _, c := range conformance {
			t.Run(name+"/"+c.name, func(t *testing.T) { c.run(t, open(t)) })
		}
	}
}

func TestOSIgnoresDirectoriesAndRefusesAFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	f, err := vfs.OS(dir)
	require.NoError(t, err)
	write(t, f, "a", "x")
	require.Equal(t, []string{"a"}, list(t, f))
	_, err = vfs.OS(filepath.Join(dir, "a"))
	require.ErrorContains(t, err, "not a directory")
	_, err = vfs.OS(filepath.Join(dir, "a", "b"))
	require.Error(t, err)
}

func newDisk(seed uint64) *vfs.Disk { return vfs.NewDisk(seed, vfs.DiskOptions{SyncLatency: -1}) }

func write(t require.TestingT, f vfs.FS, name, data string) {
	file, err := f.Open(name, true)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte(data), 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func writeSync(t require.TestingT, f vfs.FS, name, data string) {
	write(t, f, name, data)
	file, err := f.Open(name, false)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, file.Close())
}

func read(t require.TestingT, f vfs.FS, name string) string {
	file, err := f.Open(name, false)
	require.NoError(t, err)
	size, err := file.Size()
	require.NoError(t, err)
	p := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(file, 0, size), p)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return string(p)
}

func list(t require.TestingT, f vfs.FS) []string {
	names, err := f.List()
	require.NoError(t, err)
	return names
}
