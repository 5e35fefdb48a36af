package commitlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// reseal makes the checksum of a segment header right.
func reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:segmentHeader], castagnoli))
	return b
}

// FuzzDecodeFrame: never panics; what it accepts encodes to the same bytes.
func FuzzDecodeFrame(f *testing.F) {
	frame := Boundary{Position: 7}.next(1, 2, []byte("payload"))
	frame.Flushed = 3
	f.Add(appendFrame(nil, frame, 1, 99), int64(7), uint32(99), false)
	f.Add([]byte{}, int64(0), uint32(0), true)
	f.Fuzz(func(t *testing.T, b []byte, position int64, seed uint32, fix bool) {
		if fix && len(b) > 4 { // make the checksum right, to get behind it
			binary.BigEndian.PutUint32(b, crc32.Update(seed, castagnoli, b[4:]))
		}
		got, life, err := decodeFrame(b, position, seed)
		if err != nil {
			require.ErrorIs(t, err, errBadFrame)
			return
		}
		n := got.End - got.Position
		require.Equal(t, b[:n], appendFrame(nil, got, life, seed))
		require.True(t, got.Kind != 0 && 0 <= got.Flushed && got.Flushed <= position)
	})
}

// FuzzRecover: two files with any bytes never make Open panic, and what it accepts is a log that can be read, extended and
// opened again.
func FuzzRecover(f *testing.F) {
	d, frames := smallLog(f)
	files := dump(f, d)
	first, second := []byte(files[segmentName(0)]), []byte(files[segmentName(frames[7].Position)])
	f.Add(first, second, frames[7].Position, false)
	f.Add(first, []byte{}, frames[7].Position, false)
	f.Add(first[:len(first)-3], []byte{}, int64(-1), false)
	f.Add(first[:30], []byte{}, int64(-1), false)
	f.Add(first, second, frames[7].Position, true)
	f.Fuzz(func(t *testing.T, first, second []byte, base int64, fix bool) {
		if fix {
			first = resealAll(first)
		}
		d := newDisk(1)
		writeFile(t, d, segmentName(0), first)
		if base > 0 {
			writeFile(t, d, segmentName(base), second)
		}
		before := dump(t, d)
		l, err := Open(d, tinySegments, nil)
		if err != nil {
			require.Equal(t, before, dump(t, d), "a refusal changes nothing")
			return
		}
		want := readAll(t, l)
		mustAppend(t, l, l.LastEpoch(), "more")
		require.NoError(t, l.Close())
		img, _ := d.Image(vfs.PowerLoss)
		again, got := contents(t, img, tinySegments)
		require.Equal(t, append(want, "more"), got)
		require.Zero(t, again.Recovery().TruncatedBytes)
	})
}

// resealAll makes the checksums of a segment's header and of its frames right, as far as the lengths make sense.
func resealAll(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) < segmentHeader {
		return b
	}
	seed := binary.BigEndian.Uint32(reseal(b))
	for rest := b[segmentHeader:]; len(rest) >= frameHeader; {
		n := uint64(binary.BigEndian.Uint32(rest[8:])) + frameHeader
		if n > uint64(len(rest)) {
			break
		}
		binary.BigEndian.PutUint32(rest, crc32.Update(seed, castagnoli, rest[4:n]))
		rest = rest[n:]
	}
	return b
}

// FuzzAppendRaw: any run leaves the log as it was, or a longer one that reads and recovers.
func FuzzAppendRaw(f *testing.F) {
	leader := mustOpen(f, newDisk(1), Options{})
	base := mustAppend(f, leader, 1, "base")[0]
	mustAppend(f, leader, 1, payloads(0, 3)...)
	for _, from := range []int64{0, base.End} {
		raw, _, err := leader.ReadRaw(from, leader.End(), 1<<20)
		require.NoError(f, err)
		f.Add(raw, false)
		f.Add(raw, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, fix bool) {
		if fix {
			raw = rechain(raw, base.end())
		}
		d := newDisk(1)
		l := mustOpen(t, d, tinySegments)
		mustAppend(t, l, 1, "base")
		before := l.Tail()
		n, err := l.AppendRaw(raw, nil)
		if err != nil {
			require.True(t, errors.Is(err, ErrInvalid) || errors.Is(err, ErrChain) || errors.Is(err, ErrPosition), err)
			require.Equal(t, before, l.Tail())
			require.Zero(t, n)
			return
		}
		want := readAll(t, l)
		require.Len(t, want, n+1)
		require.NoError(t, l.Close())
		_, got := contents(t, d, tinySegments)
		require.Equal(t, want, got)
	})
}

// rechain makes position and chain values of a run right, as far as the lengths make sense.
func rechain(raw []byte, at Boundary) []byte {
	raw = append([]byte(nil), raw...)
	if len(raw) < runHeader {
		return raw
	}
	binary.BigEndian.PutUint64(raw, uint64(at.Position))
	frames, err := decodeRun(nil, raw)
	if err != nil {
		return raw
	}
	fixed := raw[:runHeader:runHeader]
	for _, f := range frames {
		next := at.next(f.Kind, f.Epoch, f.Payload)
		fixed = appendRunFrame(fixed, next)
		at = next.end()
	}
	return fixed
}
