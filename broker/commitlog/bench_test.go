package commitlog

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

const benchPayload = 1024

func benchLog(b *testing.B) (*Log, vfs.FS) {
	fsys, err := vfs.OS(b.TempDir())
	require.NoError(b, err)
	return mustOpen(b, fsys, Options{}), fsys
}

// recycle keeps the benchmark's log from filling the machine's disk.
func recycle(b *testing.B, l *Log) {
	if l.End() > 1<<30 {
		b.StopTimer()
		require.NoError(b, l.Truncate(0))
		b.StartTimer()
	}
}

// BenchmarkAppend is an append of 1 KiB without fsync on a real file.
func BenchmarkAppend(b *testing.B) {
	l, _ := benchLog(b)
	payload := make([]byte, benchPayload)
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Append(1, 1, payload); err != nil {
			b.Fatal(err)
		}
		recycle(b, l)
	}
	require.NoError(b, l.Close())
}

// BenchmarkAppendGroupCommit is an append of 1 KiB that waits until it is durable, with a number of appends waiting at once.
func BenchmarkAppendGroupCommit(b *testing.B) {
	for _, waiting := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("waiting_%d", waiting), func(b *testing.B) {
			l, _ := benchLog(b)
			payload := make([]byte, benchPayload)
			var turn sync.Mutex
			b.SetBytes(benchPayload)
			b.SetParallelism((waiting + 1) / 2) // times GOMAXPROCS, 2 on the reference machine
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					turn.Lock()
					_, err := l.Append(1, 1, payload)
					turn.Unlock()
					if err == nil {
						_, err = l.Flush()
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			require.NoError(b, l.Close())
		})
	}
}

// BenchmarkRecover opens a log of 100,000 frames of 1 KiB.
func BenchmarkRecover(b *testing.B) {
	l, fsys := benchLog(b)
	payload := make([]byte, benchPayload)
	for range 100_000 {
		_, err := l.Append(1, 1, payload)
		require.NoError(b, err)
	}
	require.NoError(b, l.Close())
	b.SetBytes(l.End())
	for b.Loop() {
		again, err := Open(fsys, Options{}, nil)
		require.NoError(b, err)
		require.NoError(b, again.Close())
	}
}

// BenchmarkReadRaw reads runs of 64 KiB.
func BenchmarkReadRaw(b *testing.B) {
	l, _ := benchLog(b)
	payload := make([]byte, benchPayload)
	for range 50_000 {
		_, err := l.Append(1, 1, payload)
		require.NoError(b, err)
	}
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		_, next, err := l.ReadRaw(at, l.End(), 64<<10)
		require.NoError(b, err)
		if at = next; at == l.End() {
			at = 0
		}
	}
}

// BenchmarkReadFrame reads single frames of 1 KiB.
func BenchmarkReadFrame(b *testing.B) {
	l, _ := benchLog(b)
	payload := make([]byte, benchPayload)
	for range 50_000 {
		_, err := l.Append(1, 1, payload)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		f, err := l.ReadFrame(at)
		require.NoError(b, err)
		if at = f.End; at == l.End() {
			at = 0
		}
	}
}
