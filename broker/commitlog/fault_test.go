package commitlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

func TestFailedSyncStopsTheLog(t *testing.T) {
	var logged bytes.Buffer
	d := newDisk(1)
	l := mustOpen(t, d, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	mustAppend(t, l, 1, "flushed")
	mustFlush(t, l)
	flushed := l.Flushed()
	mustAppend(t, l, 1, "in doubt")
	d.FailSync(true)
	got, err := l.Flush()
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorIs(t, err, vfs.ErrSync)
	require.Equal(t, flushed, got)
	d.FailSync(false)

	_, appendErr := l.Append(1, 1, nil)
	_, rawErr := l.AppendRaw(nil, nil)
	_, flushErr := l.Flush()
	for _, err := range []error{appendErr, rawErr, flushErr, l.Err(), l.Truncate(0), l.Close()} {
		require.ErrorIs(t, err, ErrFailed, "for good, though the disk is well again")
	}
	require.Equal(t, flushed, l.Flushed())
	require.Contains(t, logged.String(), "takes no more writes")
}

func TestFailedLogStillReads(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{})
	f := mustAppend(t, l, 1, "flushed")[0]
	d.SetFull(true)
	_, err := l.Append(1, 1, []byte("does not fit"))
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorIs(t, err, vfs.ErrNoSpace)
	require.Equal(t, f.End, l.End())
	d.SetFull(false)
	_, err = l.Append(1, 1, []byte("x"))
	require.ErrorIs(t, err, ErrFailed)
	require.Equal(t, []string{"flushed"}, readAll(t, l))
	_, next, err := l.ReadRaw(0, l.End(), 100)
	require.NoError(t, err)
	require.Equal(t, f.End, next)
}

// TestNoSpaceAtEveryByte fills the disk at each possible place, and restarts with room.
func TestNoSpaceAtEveryByte(t *testing.T) {
	for capacity := int64(100); capacity < 1200; capacity += 7 {
		d := vfs.NewDisk(uint64(capacity), vfs.DiskOptions{SyncLatency: -1, Capacity: capacity})
		l := mustOpen(t, d, tinySegments)
		var flushed []string
		for _, p := range payloads(0, 30) {
			if _, err := l.Append(1, 1, []byte(p)); err != nil {
				require.ErrorIs(t, err, vfs.ErrNoSpace)
				break
			}
			if _, err := l.Flush(); err == nil {
				flushed = append(flushed, p)
			}
		}
		require.ErrorIs(t, l.Err(), ErrFailed)
		roomy := newDisk(1)
		for name, data := range dump(t, d) {
			writeFile(t, roomy, name, []byte(data))
		}
		_, got := contents(t, roomy, tinySegments)
		require.Equal(t, flushed, got)
	}
}

// TestSyncThatFailedInAnEarlierLife: after a failed fsync the kernel takes the pages for clean. A
// restarted node that trusts its next fsync acknowledges what is not on the disk.
func TestSyncThatFailedInAnEarlierLife(t *testing.T) {
	for seed := range uint64(200) {
		d := newDisk(seed)
		l := mustOpen(t, d, tinySegments)
		mustAppend(t, l, 1, payloads(0, 3)...)
		mustFlush(t, l)
		mustAppend(t, l, 1, payloads(3, 5)...)
		d.FailSync(true)
		_, err := l.Flush()
		require.ErrorIs(t, err, ErrFailed)
		d, _ = d.Image(vfs.KeepCache)
		d.FailSync(false)
		l, got := contents(t, d, tinySegments)
		require.Equal(t, payloads(0, 5), got)
		d, _ = d.Image(vfs.PowerLoss)
		_, got = contents(t, d, tinySegments)
		require.Equal(t, payloads(0, 5), got, "the second life said that all was flushed, %d", l.Flushed())
	}
}

func TestWaitingFlushesShareOneSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crashFS{FS: vfs.NewDisk(1, vfs.DiskOptions{}), left: -1}
		l := mustOpen(t, c, Options{})
		mustAppend(t, l, 1, "a")
		before := c.syncs
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := l.Flush()
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		require.Equal(t, before+1, c.syncs)

		// Appends go on during a sync, and the flushed position covers only what was there before
		// it.
		first := mustAppend(t, l, 1, "b")[0]
		wg.Go(func() {
			flushed, err := l.Flush()
			assert.NoError(t, err)
			assert.Equal(t, first.End, flushed)
		})
		synctest.Wait()
		mustAppend(t, l, 1, "c")
		wg.Wait()
		require.Equal(t, first.End, l.Flushed())
		require.NoError(t, l.Close())
		require.Equal(t, l.End(), l.Flushed(), "close flushes")
	})
}

// instant is what a log says of itself at one moment. A call of Flushed and a call of End are two
// moments: a truncation, or an append that flushes as it starts a segment, may come between them.
type instant struct {
	flushed, end int64
	cuts         uint64
}

func instantOf(l *Log) instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return instant{l.flushed, l.tail.Position, l.cuts}
}

func TestConcurrentAppendFlushRead(t *testing.T) {
	fsys, err := vfs.OS(t.TempDir())
	require.NoError(t, err)
	l := mustOpen(t, fsys, Options{SegmentBytes: 5000, IndexInterval: 200})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	halt := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer halt() // nothing may assert after the test's end
	reader := func(read func(at int64) (next int64, err error)) {
		for at := int64(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			now := instantOf(l)
			if !assert.LessOrEqual(t, now.flushed, now.end, "in the midst of a truncation, too") {
				return
			}
			if at >= now.end {
				at = 0
				continue
			}
			next, err := read(at)
			if err != nil {
				if !assert.ErrorIs(t, err, ErrPosition, "only a truncation may disturb a reader") {
					return
				}
				next = 0
			}
			at = next
		}
	}
	wg.Go(func() {
		reader(func(at int64) (int64, error) { f, err := l.ReadFrame(at); return f.End, err })
	})
	wg.Go(func() {
		reader(func(at int64) (int64, error) { _, next, err := l.ReadRaw(at, l.End(), 2000); return next, err })
	})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				before := instantOf(l)
				_, err := l.Flush()
				after := instantOf(l)
				if !assert.NoError(t, err) || !assert.LessOrEqual(t, after.flushed, after.end) {
					return
				}
				cut := after.cuts != before.cuts
				if !cut && !assert.GreaterOrEqual(t, after.flushed, before.end, "a flush covers what was there") {
					return
				}
			}
		}
	})
	for round := range 5 {
		frames := mustAppend(t, l, uint32(round), payloads(0, 200)...)
		require.NoError(t, l.Truncate(frames[100+round].End))
	}
	halt()
	want := readAll(t, l)
	require.Len(t, want, 5*101+10)
	require.NoError(t, l.Close())
	_, got := contents(t, fsys, Options{})
	require.Equal(t, want, got)
}

// TestCloseWhileReading must neither crash nor return wrong data.
func TestCloseWhileReading(t *testing.T) {
	d := newDisk(1)
	l := mustOpen(t, d, Options{})
	frames := mustAppend(t, l, 1, payloads(0, 100)...)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				f, err := l.ReadFrame(frames[i*20].Position)
				if err != nil {
					assert.ErrorIs(t, err, ErrClosed)
					return
				}
				if !assert.Equal(t, fmt.Sprintf("payload %04d", i*20), string(f.Payload)) {
					return
				}
			}
		})
	}
	require.NoError(t, l.Close())
	wg.Wait()
}

// After a truncation that failed nothing is said to be durable that is not in the log any more.
func TestFailedTruncationClaimsNothing(t *testing.T) {
	disk := newDisk(1)
	l := mustOpen(t, disk, tinySegments)
	frames := mustAppend(t, l, 1, payloads(0, 30)...)
	mustFlush(t, l)
	disk.FailSync(true)
	require.ErrorIs(t, l.Truncate(frames[3].End), ErrFailed)
	require.LessOrEqual(t, l.Flushed(), l.End())
	require.ErrorIs(t, l.Close(), ErrFailed)
}
