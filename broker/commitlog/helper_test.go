package commitlog

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// tinySegments makes a log roll every few frames.
var tinySegments = Options{SegmentBytes: 400, IndexInterval: 100, MaxPayload: 1 << 20}

func newDisk(seed uint64) *vfs.Disk { return vfs.NewDisk(seed, vfs.DiskOptions{SyncLatency: -1}) }

// contents opens the log and returns it with the payloads that recovery visited.
func contents(t require.TestingT, fsys vfs.FS, o Options) (*Log, []string) {
	var got []string
	l, err := Open(fsys, o, func(f Frame) error {
		got = append(got, string(f.Payload))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, l.End(), l.Flushed())
	require.EqualValues(t, len(got), l.Recovery().Frames)
	return l, got
}

func mustOpen(t require.TestingT, fsys vfs.FS, o Options) *Log {
	l, err := Open(fsys, o, nil)
	require.NoError(t, err)
	return l
}

func mustAppend(t require.TestingT, l *Log, epoch uint32, payloads ...string) []Frame {
	var frames []Frame
	for _, p := range payloads {
		f, err := l.Append(epoch, 1, []byte(p))
		require.NoError(t, err)
		frames = append(frames, f)
	}
	return frames
}

func mustFlush(t require.TestingT, l *Log) {
	flushed, err := l.Flush()
	require.NoError(t, err)
	require.Equal(t, l.End(), flushed)
}

// readAll reads the whole log with ReadFrame.
func readAll(t require.TestingT, l *Log) []string {
	var got []string
	for at := int64(0); at < l.End(); {
		f, err := l.ReadFrame(at)
		require.NoError(t, err)
		got = append(got, string(f.Payload))
		at = f.End
	}
	return got
}

func payloads(from, to int) []string {
	var p []string
	for i := from; i < to; i++ {
		p = append(p, fmt.Sprintf("payload %04d", i))
	}
	return p
}

func readFile(t require.TestingT, fsys vfs.FS, name string) []byte {
	f, err := fsys.Open(name, false)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	p := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, size), p)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return p
}

func writeFile(t require.TestingT, fsys vfs.FS, name string, p []byte) {
	f, err := fsys.Open(name, true)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(0))
	_, err = f.WriteAt(p, 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.NoError(t, fsys.SyncDir())
}

// dump returns every file, to prove that nothing was changed.
func dump(t require.TestingT, fsys vfs.FS) map[string]string {
	names, err := fsys.List()
	require.NoError(t, err)
	files := map[string]string{}
	for _, name := range names {
		files[name] = string(readFile(t, fsys, name))
	}
	return files
}

var errCrash = errors.New("crashed")

// crashFS lets a number of modifying operations through; all later ones fail without effect, as after a crash. It also counts.
type crashFS struct {
	vfs.FS
	mu    sync.Mutex
	left  int // operations until the crash; negative: never
	ops   int
	syncs int
}

func (c *crashFS) do(op func() error) error {
	c.mu.Lock()
	crashed := c.left == 0
	if c.left > 0 {
		c.left--
	}
	c.ops++
	c.mu.Unlock()
	if crashed {
		return errCrash
	}
	return op()
}

func (c *crashFS) Open(name string, create bool) (vfs.File, error) {
	var f vfs.File
	open := func() (err error) {
		f, err = c.FS.Open(name, create)
		return err
	}
	err := error(nil)
	if create {
		err = c.do(open)
	} else {
		err = open()
	}
	if err != nil {
		return nil, err
	}
	return &crashFile{File: f, fs: c}, nil
}

func (c *crashFS) Remove(name string) error {
	return c.do(func() error { return c.FS.Remove(name) })
}

func (c *crashFS) SyncDir() error { return c.do(c.FS.SyncDir) }

type crashFile struct {
	vfs.File
	fs *crashFS
}

func (f *crashFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(func() error {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f *crashFile) Truncate(size int64) error {
	return f.fs.do(func() error { return f.File.Truncate(size) })
}

func (f *crashFile) Sync() error {
	return f.fs.do(func() error {
		f.fs.mu.Lock()
		f.fs.syncs++
		f.fs.mu.Unlock()
		return f.File.Sync()
	})
}
