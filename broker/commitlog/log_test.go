package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-project/assay/internal/vfs"
)

func TestAppendReadReopen(t *testing.T) {
	for name, o := range map[string]Options{"defaults": {}, "tiny segments": tinySegments} {
		t.Run(name, func(t *testing.T) {
			fsys, err := vfs.OS(t.TempDir())
			require.NoError(t, err)
			l := mustOpen(t, fsys, o)
			require.Equal(t, Boundary{}, l.Tail())
			want := payloads(0, 50)
			frames := mustAppend(t, l, 3, want...)
			for i, f := range frames {
				require.Equal(t, want[i], string(f.Payload))
				require.Equal(t, f.Position+FrameOverhead+int64(len(want[i])), f.End)
				got, err := l.ReadFrame(f.Position)
				require.NoError(t, err)
				require.Equal(t, f, got)
			}
			require.Equal(t, frames[49].end(), l.Tail())
			require.Equal(t, uint32(3), l.LastEpoch())
			mustFlush(t, l)
			require.NoError(t, l.Close())
			require.NoError(t, l.Close(), "closing twice does nothing")

			again, got := contents(t, fsys, Options{})
			require.Equal(t, want, got)
			require.Equal(t, want, readAll(t, again))
			require.Equal(t, frames[49].end(), again.Tail())
			more := mustAppend(t, again, 3, "more")
			require.Equal(t, frames[49].End, more[0].Flushed, "what was recovered is flushed")
			require.NoError(t, again.Close())
		})
	}
}

func TestClosedLogRefusesEverything(t *testing.T) {
	l := mustOpen(t, newDisk(1), Options{})
	mustAppend(t, l, 1, "a")
	raw, _, err := l.ReadRaw(0, l.End(), 100)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, appendErr := l.Append(1, 1, nil)
	_, rawErr := l.AppendRaw(raw, nil)
	_, flushErr := l.Flush()
	_, readErr := l.ReadFrame(0)
	_, _, readRawErr := l.ReadRaw(0, l.End(), 100)
	for _, err := range []error{appendErr, rawErr, flushErr, readErr, readRawErr, l.Truncate(0)} {
		require.ErrorIs(t, err, ErrClosed)
	}
	require.NoError(t, l.Err(), "closed is not failed")
}

func TestInvalidInput(t *testing.T) {
	l := mustOpen(t, newDisk(1), Options{MaxPayload: 10})
	mustAppend(t, l, 5, "0123456789")
	end := l.End()
	_, err := l.Append(5, 0, nil)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = l.Append(4, 1, nil)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = l.Append(5, 1, make([]byte, 11))
	require.ErrorIs(t, err, ErrInvalid)
	require.NoError(t, l.Err(), "a refusal is not a failure")
	require.Equal(t, end, l.End())
	mustAppend(t, l, 5, "")
	for _, position := range []int64{-1, 1, end - 1, end + 1, l.End(), l.End() + 1} {
		_, err := l.ReadFrame(position)
		require.ErrorIs(t, err, ErrPosition, "%d", position)
	}
	for _, position := range []int64{-1, 1, end - 1, end + 1, l.End() + 1} {
		_, err := l.ChainAt(position)
		require.ErrorIs(t, err, ErrPosition, "%d", position)
		require.ErrorIs(t, l.Truncate(position), ErrPosition, "%d", position)
		_, _, err = l.ReadRaw(position, l.End(), 10)
		require.ErrorIs(t, err, ErrPosition, "%d", position)
	}
}

func TestSmallerMaxPayloadReadsOldFrames(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{})
	big := strings.Repeat("x", 3<<20)
	mustAppend(t, l, 1, "a", big, "b")
	require.NoError(t, l.Close())
	l, got := contents(t, d, Options{MaxPayload: 1, SegmentBytes: 100})
	require.Equal(t, []string{"a", big, "b"}, got)
	require.Equal(t, got, readAll(t, l))
	require.NoError(t, l.Close())
}

func TestVisitErrorEndsOpen(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{})
	mustAppend(t, l, 1, "a", "b")
	require.NoError(t, l.Close())
	stop := errors.New("stop")
	_, err := Open(d, Options{}, func(Frame) error { return stop })
	require.Equal(t, stop, err)
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	d := newDisk(1)
	writeFile(t, d, "meta.json", []byte("{}"))
	l := mustOpen(t, d, tinySegments)
	mustAppend(t, l, 1, payloads(0, 20)...)
	require.NoError(t, l.Truncate(0))
	require.NoError(t, l.Close())
	require.Equal(t, "{}", string(readFile(t, d, "meta.json")))
}

func TestReplication(t *testing.T) {
	for _, maxBytes := range []int{0, 1, 200, 1000, 1 << 20} {
		t.Run(fmt.Sprint(maxBytes), func(t *testing.T) {
			leader := mustOpen(t, newDisk(1), tinySegments)
			follower := mustOpen(t, newDisk(2), Options{SegmentBytes: 700, IndexInterval: 1})
			want := append(payloads(0, 40), strings.Repeat("y", 5000), "", "z")
			for i, p := range want {
				_, err := leader.Append(uint32(i/10), Kind(i%255+1), []byte(p))
				require.NoError(t, err)
			}
			var visited []string
			for follower.End() < leader.End() {
				raw, next, err := leader.ReadRaw(follower.End(), leader.End(), maxBytes)
				require.NoError(t, err)
				require.Greater(t, next, follower.End())
				n, err := follower.AppendRaw(raw, func(f Frame) error {
					visited = append(visited, string(f.Payload))
					return nil
				})
				require.NoError(t, err)
				require.Positive(t, n)
				require.Equal(t, next, follower.End())
			}
			require.Equal(t, leader.Tail(), follower.Tail())
			require.Equal(t, want, visited)
			require.Equal(t, want, readAll(t, follower))
			require.NoError(t, leader.Close())
			require.NoError(t, follower.Close())
		})
	}
}

func TestReadRawLimits(t *testing.T) {
	l := mustOpen(t, newDisk(1), Options{})
	frames := mustAppend(t, l, 1, payloads(0, 10)...)
	for _, c := range []struct {
		from, limit int64
		maxBytes    int
		next        int64
	}{
		{0, frames[9].End, 1 << 20, frames[9].End},
		{0, 1 << 40, 1 << 20, frames[9].End},
		{0, frames[3].End, 1 << 20, frames[3].End},
		{0, frames[3].End - 1, 1 << 20, frames[2].End},
		{0, frames[0].End - 1, 1 << 20, 0},
		{0, 0, 1 << 20, 0},
		{0, -5, 1 << 20, 0},
		{frames[4].Position, frames[9].End, -1, frames[4].End},
		{frames[4].Position, frames[9].End, 0, frames[4].End},
		{frames[9].End, frames[9].End, 100, frames[9].End},
		{frames[4].Position, frames[2].End, 100, frames[4].Position},
	} {
		raw, next, err := l.ReadRaw(c.from, c.limit, c.maxBytes)
		require.NoError(t, err)
		require.Equal(t, c.next, next, "%+v", c)
		decoded, err := decodeRun(nil, raw)
		require.NoError(t, err)
		if next > c.from {
			require.Equal(t, next, decoded[len(decoded)-1].End)
		} else {
			require.Empty(t, decoded)
		}
		if len(decoded) > 1 {
			require.LessOrEqual(t, len(raw), c.maxBytes)
		}
	}
}

func TestAppendRawRefusesBeforeWriting(t *testing.T) {
	leader := mustOpen(t, newDisk(1), Options{})
	mustAppend(t, leader, 1, payloads(0, 6)...)
	run := func(from int64) []byte {
		raw, _, err := leader.ReadRaw(from, leader.End(), 1<<20)
		require.NoError(t, err)
		return raw
	}
	good := run(0)
	second, err := leader.ReadFrame(0)
	require.NoError(t, err)
	changed := func(at int, b byte) []byte {
		raw := bytes.Clone(good)
		raw[at] ^= b
		return raw
	}
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"empty":                         {nil, ErrInvalid},
		"no frames":                     {good[:runHeader], nil},
		"torn in a length":              {good[:len(good)-24-2], ErrInvalid},
		"torn in a body":                {good[:len(good)-1], ErrInvalid},
		"wrong position":                {run(second.End), ErrPosition},
		"negative position":             {changed(0, 0x80), ErrInvalid},
		"payload of the last one wrong": {changed(len(good)-1, 1), ErrChain},
		"epoch of the first one wrong":  {changed(runHeader+runLength+4, 2), ErrChain},
		"kind zero":                     {changed(runHeader+runLength, 1), ErrInvalid},
		"chain wrong":                   {changed(runHeader+runLength+5, 1), ErrChain},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(1)
			l := mustOpen(t, d, Options{})
			before := dump(t, d)
			n, err := l.AppendRaw(c.raw, func(Frame) error { t.Fatal("visited"); return nil })
			require.ErrorIs(t, err, c.want)
			require.Zero(t, n)
			require.Equal(t, before, dump(t, d))
			n, err = l.AppendRaw(good, nil)
			require.NoError(t, err, "a refusal leaves the log usable")
			require.Equal(t, 6, n)
			require.NoError(t, l.Close())
		})
	}
	l := mustOpen(t, newDisk(1), Options{})
	stop := errors.New("stop")
	n, err := l.AppendRaw(good, func(f Frame) error {
		if f.Position > 0 {
			return stop
		}
		return nil
	})
	require.Equal(t, stop, err)
	require.Equal(t, 1, n)
	require.Equal(t, leader.End(), l.End())
}

func TestBoundaryAt(t *testing.T) {
	l := mustOpen(t, newDisk(1), Options{SegmentBytes: 100_000, IndexInterval: 1000})
	var want []Boundary
	for i := range 3000 { // more than stay in memory
		want = append(want, l.Tail())
		mustAppend(t, l, uint32(i/100), strings.Repeat("x", i%200))
	}
	want = append(want, l.Tail())
	for i, b := range want {
		got, err := l.BoundaryAt(b.Position)
		require.NoError(t, err)
		require.Equal(t, b, got)
		if i > 0 {
			_, err = l.BoundaryAt(b.Position - 1)
			require.ErrorIs(t, err, ErrPosition)
		}
	}
	all, err := l.Boundaries(-1, 1<<40, 1<<20)
	require.NoError(t, err)
	require.Equal(t, want[1:], all)
	some, err := l.Boundaries(want[10].Position, want[20].Position+1, 100)
	require.NoError(t, err)
	require.Equal(t, want[11:21], some)
	some, err = l.Boundaries(0, want[3000].Position-1, 16)
	require.NoError(t, err)
	require.Len(t, some, 16)
	require.Equal(t, want[2999], some[15])
	require.NoError(t, l.Close())
}

func TestBoundariesEmpty(t *testing.T) {
	l := mustOpen(t, newDisk(1), Options{})
	for _, r := range [][2]int64{{0, 0}, {0, 100}, {5, 3}, {-7, -3}} {
		got, err := l.Boundaries(r[0], r[1], 10)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	f := mustAppend(t, l, 1, "a")[0]
	got, err := l.Boundaries(0, f.End-1, 10)
	require.NoError(t, err)
	require.Empty(t, got)
}

// TestCommonPrefix finds where two logs part, as a follower and its leader do.
func TestCommonPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{SegmentBytes: 2000, IndexInterval: 300}
		a, b := mustOpen(t, newDisk(1), o), mustOpen(t, newDisk(2), o)
		common := rapid.IntRange(0, 300).Draw(t, "common")
		for i := range common {
			p := strings.Repeat("c", i%37)
			mustAppend(t, a, 1, p)
			mustAppend(t, b, 1, p)
		}
		want := a.End()
		for range rapid.IntRange(0, 300).Draw(t, "a") {
			mustAppend(t, a, 1, "only in a")
		}
		for range rapid.IntRange(0, 300).Draw(t, "b") {
			mustAppend(t, b, 2, "only in b")
		}
		lo, hi := int64(0), a.End()
		rounds := 0
		for lo < hi {
			rounds++
			offer, err := a.Boundaries(lo, hi, 8)
			require.NoError(t, err)
			hi = lo
			for _, x := range offer {
				chain, err := b.ChainAt(x.Position)
				if err != nil || chain != x.Chain {
					hi = x.Position - 1
					break
				}
				lo, hi = x.Position, x.Position
			}
		}
		require.Equal(t, want, lo)
		require.LessOrEqual(t, rounds, 6)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

func TestTruncate(t *testing.T) {
	for _, keep := range []int{0, 1, 5, 6, 7, 19, 29, 30} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			d := newDisk(1)
			l := mustOpen(t, d, tinySegments)
			want := payloads(0, 30)
			frames := mustAppend(t, l, 1, want...)
			mustFlush(t, l)
			at := Boundary{}
			if keep > 0 {
				at = frames[keep-1].end()
			}
			require.NoError(t, l.Truncate(at.Position))
			require.Equal(t, at, l.Tail())
			require.Equal(t, at.Position, l.Flushed())
			require.Equal(t, want[:keep], append([]string{}, readAll(t, l)...))
			for _, f := range frames[keep:] {
				_, err := l.ReadFrame(f.Position)
				require.ErrorIs(t, err, ErrPosition)
			}
			mustAppend(t, l, 2, payloads(100, 140)...)
			want = append(want[:keep:keep], payloads(100, 140)...)
			require.Equal(t, want, readAll(t, l))
			mustFlush(t, l)
			img, _ := d.Image(vfs.PowerLoss)
			again, got := contents(t, img, tinySegments)
			require.Equal(t, want, got)
			require.Equal(t, l.Tail(), again.Tail())
		})
	}
}
