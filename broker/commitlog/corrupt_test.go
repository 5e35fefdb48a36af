package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// smallLog is a log of three segments in which every frame was flushed before the next was written; all but the last frame
// are claimed by a later one.
func smallLog(t require.TestingT) (fsys *vfs.Disk, frames []Frame) {
	d := newDisk(1)
	l := mustOpen(t, d, tinySegments)
	for _, p := range payloads(0, 16) {
		frames = append(frames, mustAppend(t, l, 1, p)...)
		mustFlush(t, l)
	}
	require.Len(t, l.segments, 3)
	require.NoError(t, l.Close())
	return d, frames
}

// TestEveryFlippedByteIsDetected damages each byte of a flushed log in turn.
func TestEveryFlippedByteIsDetected(t *testing.T) {
	pristine, frames := smallLog(t)
	files := dump(t, pristine)
	last := frames[len(frames)-1]
	tail := segmentName(frames[14].Position) // holds the last two frames
	require.Contains(t, files, tail)
	torn := 0
	for name, data := range files {
		for off := range len(data) { // bytes, not runes
			d, _ := smallLog(t)
			require.NoError(t, d.FlipBit(name, int64(off), uint8(off%8)))
			damaged := dump(t, d)
			l, err := Open(d, tinySegments, nil)
			if err == nil {
				torn++
				require.Equal(t, tail, name)
				require.Equal(t, last.Position, l.End(), "byte %d: only the last flush group is in doubt", off)
				rec := l.Recovery()
				require.Equal(t, last.End-last.Position, rec.TruncatedBytes)
				require.Equal(t, tail, rec.File)
				require.Equal(t, int64(len(data))-rec.TruncatedBytes, rec.Offset)
				require.NotEmpty(t, rec.Reason)
				require.NoError(t, l.Close())
				continue
			}
			var corrupt *CorruptError
			require.ErrorAs(t, err, &corrupt)
			require.ErrorIs(t, err, ErrCorrupt)
			require.Equal(t, name, corrupt.File)
			require.LessOrEqual(t, corrupt.Offset, int64(off))
			require.Greater(t, corrupt.Offset+100, int64(off))
			require.ErrorContains(t, err, name)
			require.Equal(t, damaged, dump(t, d), "nothing is changed")
		}
	}
	require.EqualValues(t, last.End-last.Position, torn, "only the bytes of the last frame")
}

// TestEveryFlippedByteIsNeverRead damages an open log: reads say so or return what was written.
func TestEveryFlippedByteIsNeverRead(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{IndexInterval: 1000})
	frames := mustAppend(t, l, 1, payloads(0, 4)...)
	name := segmentName(0)
	for off := int64(segmentHeader); off < segmentHeader+l.End(); off++ {
		require.NoError(t, d.FlipBit(name, off, 3))
		for _, f := range frames {
			got, err := l.ReadFrame(f.Position)
			hit := f.Position <= off-segmentHeader && off-segmentHeader < f.End
			if !hit {
				require.NoError(t, err)
				require.Equal(t, f, got)
				continue
			}
			require.ErrorIs(t, err, ErrCorrupt)
			raw, next, err := l.ReadRaw(0, l.End(), 1<<20)
			if f.Position == 0 {
				require.ErrorIs(t, err, ErrCorrupt)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, f.Position, next, "what lies before the damage is still served")
			decoded, err := decodeRun(nil, raw)
			require.NoError(t, err)
			require.Equal(t, next, decoded[len(decoded)-1].End)
		}
		require.NoError(t, d.FlipBit(name, off, 3))
	}
}

func TestMissingAndForeignSegments(t *testing.T) {
	names := func(d *vfs.Disk) []string {
		l, err := d.List()
		require.NoError(t, err)
		return l
	}
	for name, c := range map[string]struct {
		damage func(d *vfs.Disk)
		says   string
	}{
		"first missing":  {func(d *vfs.Disk) { require.NoError(t, d.Remove(names(d)[0])) }, "missing"},
		"middle missing": {func(d *vfs.Disk) { require.NoError(t, d.Remove(names(d)[1])) }, "starts at"},
		"middle cut": {func(d *vfs.Disk) {
			data := readFile(t, d, names(d)[1])
			writeFile(t, d, names(d)[1], data[:len(data)-1])
		}, "proves that it was durable"},
		"middle cut at a frame": {func(d *vfs.Disk) {
			data := readFile(t, d, names(d)[1])
			writeFile(t, d, names(d)[1], data[:len(data)-int(frameOverhead+len("payload 0000"))])
		}, "next one starts at"},
		"middle empty":             {func(d *vfs.Disk) { writeFile(t, d, names(d)[1], nil) }, "header is damaged"},
		"last without header":      {func(d *vfs.Disk) { require.NoError(t, d.FlipBit(names(d)[2], 5, 0)) }, "header is damaged"},
		"middle and header before": {func(d *vfs.Disk) { require.NoError(t, d.Rename(names(d)[0], names(d)[1])) }, "missing"},
		"renamed": {func(d *vfs.Disk) {
			require.NoError(t, d.Rename(names(d)[2], segmentName(1000)))
		}, "next one starts at"},
		"copied under another name": {func(d *vfs.Disk) {
			writeFile(t, d, segmentName(1000), readFile(t, d, names(d)[2]))
		}, "next one starts at"},
		"strange name": {func(d *vfs.Disk) { writeFile(t, d, "1.seg", nil) }, "name is not 20 digits"},
		"of another log": {func(d *vfs.Disk) {
			other := newDisk(2)
			l := mustOpen(t, other, tinySegments)
			for i := range 16 {
				mustAppend(t, l, 1, fmt.Sprintf("PAYLOAD %04d", i))
			}
			require.NoError(t, l.Close())
			writeFile(t, d, names(d)[2], readFile(t, other, names(d)[2]))
		}, "does not continue the segment before it"},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := smallLog(t)
			c.damage(d)
			before := dump(t, d)
			_, err := Open(d, tinySegments, nil)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, before, dump(t, d))
		})
	}
}

func TestNewerVersionIsNotCorruption(t *testing.T) {
	d := newDisk(1)
	b := header{life: 1, created: 5}.encode()
	b[11] = 2
	b = reseal(b)
	writeFile(t, d, segmentName(0), b)
	_, err := Open(d, Options{}, nil)
	require.ErrorContains(t, err, "format version 2")
	require.NotErrorIs(t, err, ErrCorrupt)
}

// TestTornTails cuts or damages the last flush group in every way a crash can, and finds everything before it.
func TestTornTails(t *testing.T) {
	build := func() (*vfs.Disk, []Frame, int64) {
		d := newDisk(1)
		l := mustOpen(t, d, Options{})
		flushed := mustAppend(t, l, 1, payloads(0, 5)...)
		mustFlush(t, l)
		group := mustAppend(t, l, 1, payloads(5, 9)...) // every frame claims the first five only
		require.NoError(t, l.Close())
		return d, append(flushed, group...), flushed[4].End
	}
	name := segmentName(0)
	_, frames, floor := build()
	end := frames[8].End
	prefix := func(position int64) (n int) {
		for n < len(frames) && frames[n].End <= position {
			n++
		}
		return n
	}
	for at := floor; at < end; at++ {
		for kind, damage := range map[string]func(data []byte) []byte{
			"cut":  func(data []byte) []byte { return data[:segmentHeader+at] },
			"zero": func(data []byte) []byte { clear(data[segmentHeader+at:]); return data },
			"flip": func(data []byte) []byte { data[segmentHeader+at] ^= 0x10; return data },
			"hole": func(data []byte) []byte { clear(data[segmentHeader+at:][:min(70, end-at)]); return data },
			"longer": func(data []byte) []byte {
				return append(data[:segmentHeader+at], bytes.Repeat([]byte{0}, 1000)...)
			},
		} {
			d, _, _ := build()
			writeFile(t, d, name, damage(readFile(t, d, name)))
			var logged bytes.Buffer
			l, got := contents(t, d, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			require.Equal(t, payloads(0, prefix(at)), got, "%s at %d", kind, at)
			size := int64(len(readFile(t, d, name)))
			require.Equal(t, segmentHeader+l.End(), size, "the tail is physically gone")
			if l.Recovery().TruncatedBytes > 0 {
				require.Contains(t, logged.String(), "torn tail cut off")
			}
			img, _ := d.Image(vfs.PowerLoss)
			again, got2 := contents(t, img, Options{})
			require.Equal(t, got, got2)
			require.Zero(t, again.Recovery().TruncatedBytes)
		}
	}
	// The alarm works: one byte earlier, and it is corruption.
	d, _, _ := build()
	require.NoError(t, d.FlipBit(name, segmentHeader+floor-1, 0))
	_, err := Open(d, Options{}, nil)
	require.ErrorIs(t, err, ErrCorrupt)
}

// TestStaleFramesAreNotAccepted puts frames from before a truncation back behind the new end, as a file system would that
// shows old blocks. They are intact and at their own positions; their claims are above the new end.
func TestStaleFramesAreNotAccepted(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{})
	old := payloads(0, 10)
	var frames []Frame
	for _, p := range old {
		frames = append(frames, mustAppend(t, l, 1, p)...)
		mustFlush(t, l)
	}
	before := readFile(t, d, segmentName(0))
	require.NoError(t, l.Truncate(frames[2].End))
	mustAppend(t, l, 2, "PAYLOAD 0003")
	require.NoError(t, l.Close())
	after := readFile(t, d, segmentName(0))
	stale := append(after, before[len(after):]...)

	at := frames[4]
	seg := l.segments[0]
	f, _, err := decodeFrame(stale[seg.offset(at.Position):], at.Position, seg.seed)
	require.NoError(t, err, "the stale frame by itself is valid")
	require.Equal(t, at.Position, f.Flushed)
	require.Greater(t, frames[9].Flushed, frames[3].End)

	writeFile(t, d, segmentName(0), stale)
	l, got := contents(t, d, Options{})
	require.Equal(t, append(old[:3:3], "PAYLOAD 0003"), got)
	require.EqualValues(t, len(before)-len(after), l.Recovery().TruncatedBytes)
	require.Contains(t, l.Recovery().Reason, "chain")
	require.NoError(t, l.Close())

	// Without the rule about lives the stale claims would call it corruption: give a stale frame a newer life, and they do.
	f.Payload = bytes.Clone(f.Payload)
	resealed := appendFrame(nil, withFlushed(f, f.Position), 99, seg.seed)
	copy(stale[seg.offset(f.Position):], resealed)
	stale[seg.offset(frames[3].Position)+frameOverhead] ^= 1 // and damage the new frame before it
	writeFile(t, d, segmentName(0), stale)
	_, err = Open(d, Options{}, nil)
	require.ErrorIs(t, err, ErrCorrupt)
}

// TestLivesGrow: what is written after an open or a truncation must not pass for what was written before it, at the same place.
func TestLivesGrow(t *testing.T) {
	d := newDisk(1)
	last := uint32(0)
	newer := func(l *Log) {
		f := mustAppend(t, l, 1, "x")[0]
		seg := l.segments[len(l.segments)-1]
		data := readFile(t, d, seg.name)
		_, life, err := decodeFrame(data[seg.offset(f.Position):], f.Position, seg.seed)
		require.NoError(t, err)
		require.Greater(t, life, last)
		last = life
	}
	for range 3 {
		l := mustOpen(t, d, Options{})
		newer(l)
		end := l.End()
		mustAppend(t, l, 1, "y")
		require.NoError(t, l.Truncate(end))
		newer(l)
		require.NoError(t, l.Close())
	}
}

func withFlushed(f Frame, flushed int64) Frame {
	f.Flushed = flushed
	return f
}

// TestEmbeddedFramesAreNotAccepted: a payload that holds whole frames, even of this log, proves nothing.
func TestEmbeddedFramesAreNotAccepted(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{})
	mustAppend(t, l, 1, payloads(0, 4)...)
	mustFlush(t, l)
	copyOfLog := readFile(t, d, segmentName(0))[segmentHeader:]
	evil := mustAppend(t, l, 1, string(copyOfLog))[0]
	require.NoError(t, l.Close())
	require.NoError(t, d.FlipBit(segmentName(0), segmentHeader+evil.Position+4, 0)) // tear it
	_, got := contents(t, d, Options{})
	require.Equal(t, payloads(0, 4), got)

	// The guessed position is right, the seed is not.
	forged := appendFrame(nil, Frame{Position: evil.Position + frameOverhead, Flushed: evil.Position + 1, Kind: 1}, 99, 0)
	l = mustOpen(t, d, Options{})
	evil = mustAppend(t, l, 1, string(forged))[0]
	require.NoError(t, l.Close())
	require.NoError(t, d.FlipBit(segmentName(0), segmentHeader+evil.Position+4, 0))
	_, got = contents(t, d, Options{})
	require.Equal(t, payloads(0, 4), got)
}

var errRead = errors.New("input/output error")

// sickFS lets a number of looks at the disk through; the one after them fails, as on a bad sector. It refuses every change.
type sickFS struct {
	vfs.FS
	left    int
	changed bool
}

func (s *sickFS) look() error {
	s.left--
	if s.left == -1 {
		return errRead
	}
	return nil
}

func (s *sickFS) List() ([]string, error) {
	if err := s.look(); err != nil {
		return nil, err
	}
	return s.FS.List()
}

func (s *sickFS) Open(name string, create bool) (vfs.File, error) {
	s.changed = s.changed || create
	if err := s.look(); err != nil {
		return nil, err
	}
	f, err := s.FS.Open(name, create)
	return &sickFile{File: f, fs: s}, err
}

type sickFile struct {
	vfs.File
	fs *sickFS
}

func (f *sickFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.look(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *sickFile) Size() (int64, error) {
	if err := f.fs.look(); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *sickFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.changed = true
	return f.File.WriteAt(p, off)
}

func (f *sickFile) Truncate(size int64) error {
	f.fs.changed = true
	return f.File.Truncate(size)
}

// TestUnreadableIsNotTorn: what the disk does not give is not what a crash left. Recovery that took a read that failed for the end of the log, or for a
// segment without a header, would cut off frames that are durable. So it fails, as long as it has not seen everything, and changes nothing.
func TestUnreadableIsNotTorn(t *testing.T) {
	for name, damage := range map[string]func(d *vfs.Disk){
		"whole": func(*vfs.Disk) {},
		"torn": func(d *vfs.Disk) {
			names, err := d.List()
			require.NoError(t, err)
			last := names[len(names)-1]
			data := readFile(t, d, last)
			writeFile(t, d, last, append(data, bytes.Repeat([]byte{7}, 3*searchBlock)...))
		},
		"unfinished roll": func(d *vfs.Disk) {
			l := mustOpen(t, d, tinySegments)
			require.NoError(t, l.Close())
			writeFile(t, d, segmentName(l.End()), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for looks := 0; ; looks++ {
				d, frames := smallLog(t)
				damage(d)
				before := dump(t, d)
				s := &sickFS{FS: d, left: looks}
				l, err := Open(s, tinySegments, nil)
				if s.left >= 0 {
					require.NoError(t, err)
					require.Equal(t, frames[len(frames)-1].End, l.End())
					break
				}
				failed++
				require.ErrorIs(t, err, errRead, "look %d", looks)
				require.NotErrorIs(t, err, ErrCorrupt)
				if !s.changed {
					require.Equal(t, before, dump(t, d))
				}
				_, again := contents(t, d, tinySegments)
				require.Len(t, again, len(frames), "look %d: frames are gone", looks)
			}
			require.Greater(t, failed, 8)
		})
	}
}
