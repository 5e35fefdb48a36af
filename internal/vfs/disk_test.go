package vfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-project/assay/internal/vfs"
)

const seeds = 400

func TestKeepCacheKeepsEverythingAndStaysUnsynced(t *testing.T) {
	d := newDisk(1)
	writeSync(t, d, "a", "synced")
	require.NoError(t, d.SyncDir())
	write(t, d, "a", "SYNCED and more")
	write(t, d, "b", "new")
	img, report := d.Image(vfs.KeepCache)
	require.Equal(t, vfs.ImageReport{UnsyncedBytes: 18}, report)
	require.Equal(t, "SYNCED and more", read(t, img, "a"))
	require.Equal(t, "new", read(t, img, "b"))

	write(t, d, "a", "detached")
	require.NoError(t, d.Remove("b"))
	require.Equal(t, "SYNCED and more", read(t, img, "a"), "the old disk and the image share nothing")
	require.Equal(t, "new", read(t, img, "b"))

	lostFile, lostBytes := false, false
	for seed := range uint64(seeds) {
		again := newDisk(seed)
		writeSync(t, again, "a", "synced")
		require.NoError(t, again.SyncDir())
		write(t, again, "a", "SYNCED and more")
		write(t, again, "b", "new")
		kept, _ := again.Image(vfs.KeepCache)
		after, _ := kept.Image(vfs.PowerLoss)
		lostFile = lostFile || len(list(t, after)) == 1
		lostBytes = lostBytes || read(t, after, "a") == "synced"
	}
	require.True(t, lostFile && lostBytes, "a killed process makes nothing durable")
}

func TestEmptyImage(t *testing.T) {
	d := newDisk(1)
	writeSync(t, d, "a", "12345")
	require.NoError(t, d.SyncDir())
	write(t, d, "b", "1")
	img, report := d.Image(vfs.Empty)
	require.Equal(t, vfs.ImageReport{UnsyncedBytes: 1, LostBytes: 6, LostEntries: 2}, report)
	require.Empty(t, list(t, img))
}

func TestPowerLossOfEntries(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		d := newDisk(seed)
		writeSync(t, d, "keep", "old")
		writeSync(t, d, "gone", "x")
		require.NoError(t, d.SyncDir())
		writeSync(t, d, "tmp", "new")
		require.NoError(t, d.Rename("tmp", "keep"))
		require.NoError(t, d.Remove("gone"))
		writeSync(t, d, "made", "y")
		img, report := d.Image(vfs.PowerLoss)
		names := list(t, img)
		require.Contains(t, names, "keep", "a rename is atomic")
		content := read(t, img, "keep")
		require.Contains(t, []string{"old", "new"}, content)
		if content == "new" {
			require.NotContains(t, names, "tmp")
		}
		require.LessOrEqual(t, report.LostEntries, int64(4))
		if report.LostEntries == 0 {
			require.Equal(t, []string{"keep", "made"}, names)
		}
		seen[fmt.Sprint(names, content)]++
		require.NoError(t, img.SyncDir())
		again, _ := img.Image(vfs.PowerLoss)
		require.Equal(t, names, list(t, again), "what survived is durable")
	}
	// gone or not, made or not, and for the replacement: nothing, only the create, both.
	require.Len(t, seen, 12)
}

func TestSyncDirMakesEntriesDurable(t *testing.T) {
	for seed := range uint64(seeds) {
		d := newDisk(seed)
		writeSync(t, d, "a", "x")
		require.NoError(t, d.SyncDir())
		require.NoError(t, d.Rename("a", "b"))
		require.NoError(t, d.SyncDir())
		img, report := d.Image(vfs.PowerLoss)
		require.Equal(t, []string{"b"}, list(t, img))
		require.Equal(t, vfs.ImageReport{}, report)
	}
}

func TestPowerLossShapes(t *testing.T) {
	const record, count = 1000, 8
	var nothing, all, hole, torn, zeros, lost int
	for seed := range uint64(seeds) {
		d := newDisk(seed)
		file, err := d.Open("a", true)
		require.NoError(t, err)
		require.NoError(t, d.SyncDir())
		for i := range count {
			_, err := file.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, record), int64(i*record))
			require.NoError(t, err)
		}
		img, report := d.Image(vfs.PowerLoss)
		require.EqualValues(t, record*count, report.UnsyncedBytes)
		got := read(t, img, "a")
		present := int64(0)
		first, last := -1, -1
		for i := range got {
			if got[i] == 0 {
				continue
			}
			require.Equal(t, byte('a'+i/record), got[i], "no byte is anywhere but where it was written")
			present++
			last = i
			if first < 0 {
				first = i
			}
		}
		require.Equal(t, report.UnsyncedBytes-present, report.LostBytes)
		if report.LostBytes > 0 {
			lost++
		}
		switch {
		case present == 0:
			nothing++
		case present == record*count:
			all++
		case present < int64(last+1):
			hole++
		}
		if last >= 0 && (last+1)%record != 0 {
			torn++
		}
		if len(got) > last+1 {
			zeros++
		}
	}
	t.Logf("of %d: nothing %d, all %d, holes %d, torn %d, zero tails %d, something lost %d", seeds, nothing, all, hole, torn, zeros, lost)
	require.Greater(t, lost, seeds*9/10)
	for name, n := range map[string]int{"nothing": nothing, "all": all, "hole": hole, "torn": torn, "zeros": zeros} {
		require.Positive(t, n, name)
	}
}

func TestSameSeedSameImage(t *testing.T) {
	image := func() string {
		d := newDisk(7)
		for i := range 20 {
			write(t, d, fmt.Sprintf("f%d", i), string(bytes.Repeat([]byte("abc"), 3000)))
		}
		img, report := d.Image(vfs.PowerLoss)
		out := fmt.Sprint(report)
		for _, name := range list(t, img) {
			out += name + read(t, img, name)
		}
		return out
	}
	require.Equal(t, image(), image())
}

// TestPowerLossModel checks against a byte-wise model: each byte of the image is one that the file had at that place at the
// last sync or got since then, or zero where a hole is possible.
func TestPowerLossModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDisk(rapid.Uint64().Draw(t, "seed"))
		file, err := d.Open("a", true)
		require.NoError(t, err)
		require.NoError(t, d.SyncDir())
		var now []byte
		possible := make([]map[byte]bool, 40_000)
		minSize, maxSize := 0, 0
		settle := func() {
			minSize, maxSize = len(now), len(now)
			for i := range possible {
				possible[i] = map[byte]bool{}
				if i < len(now) {
					possible[i][now[i]] = true
				}
			}
		}
		settle()
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				off, n := rapid.IntRange(0, 20_000).Draw(t, "off"), rapid.IntRange(1, 9000).Draw(t, "n")
				p := bytes.Repeat([]byte{byte(step + 1)}, n)
				_, err := file.WriteAt(p, int64(off))
				require.NoError(t, err)
				now = append(now, make([]byte, max(0, off+n-len(now)))...)
				copy(now[off:], p)
				for i := range n {
					possible[off+i][p[0]] = true
				}
			case 2:
				size := rapid.IntRange(0, 20_000).Draw(t, "size")
				require.NoError(t, file.Truncate(int64(size)))
				now = append(now, make([]byte, max(0, size-len(now)))...)[:size:size]
				minSize = min(minSize, size)
				for i := size; i < len(possible); i++ {
					possible[i][0] = true
				}
			case 3:
				require.NoError(t, file.Sync())
				settle()
			}
			maxSize = max(maxSize, len(now))
			require.Equal(t, string(now), read(t, d, "a"))
		}
		synced := minSize == maxSize && len(possible[0]) <= 1
		img, report := d.Image(vfs.PowerLoss)
		got := read(t, img, "a")
		require.True(t, minSize <= len(got) && len(got) <= maxSize, "%d of %d..%d", len(got), minSize, maxSize)
		for i := range got {
			if !possible[i][got[i]] {
				require.True(t, got[i] == 0 && i >= minSize, "byte %d is %d", i, got[i])
			}
		}
		if synced && report.UnsyncedBytes == 0 {
			require.Equal(t, string(now), got)
		}
		require.LessOrEqual(t, report.LostBytes, report.UnsyncedBytes)
	})
}

func TestSyncCoversOnlyWhatWasWrittenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := vfs.NewDisk(3, vfs.DiskOptions{})
		file, err := d.Open("a", true)
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, d.SyncDir())
		require.Equal(t, 200*time.Microsecond, time.Since(start))
		_, err = file.WriteAt([]byte("before"), 0)
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- file.Sync() }()
		synctest.Wait()
		require.EqualValues(t, 6, d.Stat()[0].Unsynced, "not durable until the sync is over")
		_, err = file.WriteAt([]byte("during"), 6)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Equal(t, []vfs.FileStat{{Name: "a", Size: 12, Unsynced: 6}}, d.Stat())
		img, _ := d.Image(vfs.PowerLoss)
		require.Equal(t, "before", read(t, img, "a")[:6])
	})
}

func TestWriteLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := vfs.NewDisk(3, vfs.DiskOptions{WriteLatency: time.Millisecond})
		start := time.Now()
		write(t, d, "a", "x")
		require.Equal(t, time.Millisecond, time.Since(start))
	})
}

func TestFailedSyncIsNotMadeUpFor(t *testing.T) {
	lost := false
	for seed := range uint64(seeds) {
		d := newDisk(seed)
		file, err := d.Open("a", true)
		require.NoError(t, err)
		require.NoError(t, d.SyncDir())
		put := func(s string, off int64) {
			_, err := file.WriteAt([]byte(s), off)
			require.NoError(t, err)
		}
		put("good", 0)
		require.NoError(t, file.Sync())
		put("dropped", 4)
		d.FailSync(true)
		require.ErrorIs(t, file.Sync(), vfs.ErrSync)
		require.ErrorIs(t, d.SyncDir(), vfs.ErrSync)
		d.FailSync(false)
		put("later", 11)
		require.NoError(t, file.Sync())
		require.EqualValues(t, 2, d.Counters().FailedSyncs)
		img, _ := d.Image(vfs.PowerLoss)
		require.EqualValues(t, 2, img.Counters().FailedSyncs, "counters go on")
		got := read(t, img, "a")
		require.Equal(t, "good", got[:4])
		require.Equal(t, "later", got[11:])
		lost = lost || got[4:11] != "dropped"

		put("dropped", 4) // written again, on the detached disk
		require.NoError(t, file.Sync())
		img, _ = d.Image(vfs.PowerLoss)
		require.Equal(t, "gooddroppedlater", read(t, img, "a"))
	}
	require.True(t, lost)
}

func TestFullDisk(t *testing.T) {
	d := newDisk(1)
	write(t, d, "a", "0123456789")
	file, err := d.Open("a", false)
	require.NoError(t, err)
	d.SetFull(true)
	_, err = file.WriteAt([]byte("overwrite!"), 0)
	require.NoError(t, err, "overwriting needs no space")
	short := 0
	for i := range 50 {
		n, err := file.WriteAt([]byte("xyzxyz"), 10)
		require.ErrorIs(t, err, vfs.ErrNoSpace)
		require.Less(t, n, 6)
		if n > 0 {
			short++
		}
		require.EqualValues(t, i+1, d.Counters().FailedWrites)
		require.NoError(t, file.Truncate(10))
	}
	require.Positive(t, short)
	img, _ := d.Image(vfs.KeepCache)
	file, err = img.Open("a", false)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("x"), 10)
	require.ErrorIs(t, err, vfs.ErrNoSpace, "the disk is full for the next process too")
	img.SetFull(false)
	_, err = file.WriteAt([]byte("x"), 10)
	require.NoError(t, err)
}

func TestCapacity(t *testing.T) {
	d := vfs.NewDisk(1, vfs.DiskOptions{Capacity: 10, SyncLatency: -1})
	write(t, d, "a", "12345678")
	file, err := d.Open("b", true)
	require.NoError(t, err)
	n, err := file.WriteAt([]byte("abcd"), 0)
	require.ErrorIs(t, err, vfs.ErrNoSpace)
	require.Equal(t, 2, n)
	require.NoError(t, d.Remove("a"))
	n, err = file.WriteAt([]byte("cd345678"), 2)
	require.NoError(t, err)
	require.Equal(t, 8, n)
	require.NoError(t, file.Truncate(1))
	write(t, d, "c", "123456789")
	require.NoError(t, d.Rename("c", "b"))
	img, _ := d.Image(vfs.KeepCache)
	write(t, img, "d", "1")
	_, err = file.WriteAt([]byte("unlinked files are not counted"), 0)
	require.NoError(t, err)
}

func TestFlipBit(t *testing.T) {
	d := newDisk(1)
	writeSync(t, d, "a", "abc")
	require.NoError(t, d.SyncDir())
	require.NoError(t, d.FlipBit("a", 1, 0))
	require.Equal(t, "acc", read(t, d, "a"))
	require.EqualValues(t, 1, d.Counters().FlippedBits)
	require.ErrorIs(t, d.FlipBit("b", 0, 0), fs.ErrNotExist)
	require.ErrorIs(t, d.FlipBit("a", 3, 0), fs.ErrInvalid)
	require.ErrorIs(t, d.FlipBit("a", 0, 8), fs.ErrInvalid)
	img, _ := d.Image(vfs.PowerLoss)
	require.Equal(t, "acc", read(t, img, "a"), "the medium is damaged, not only the cache")
}

func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := vfs.NewDisk(1, vfs.DiskOptions{})
		file, err := d.Open("a", true)
		require.NoError(t, err)
		for _, thaw := range []func(){
			func() { d.Freeze(false) },
			func() { d.Image(vfs.KeepCache) },
		} {
			d.Freeze(true)
			d.Freeze(true)
			done := make(chan error, 3)
			go func() { _, err := file.WriteAt([]byte("x"), 0); done <- err }()
			go func() { done <- file.Sync() }()
			go func() { _, err := d.List(); done <- err }()
			synctest.Wait()
			require.Empty(t, done)
			require.Len(t, d.Stat(), 1, "a nemesis can look at a frozen disk")
			thaw()
			for range 3 {
				require.NoError(t, <-done)
			}
		}
		require.EqualValues(t, 6, d.Counters().BlockedOps)
		d.Freeze(true)
		d.FailSync(true)
		require.NoError(t, file.Sync(), "a detached disk works")
		require.NoError(t, file.Close())
	})
}

func TestDiskIsSafeForConcurrentUse(t *testing.T) {
	d := newDisk(1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("f%d", i%4)
			for j := range 100 {
				file, err := d.Open(name, true)
				if err != nil {
					continue
				}
				_, _ = file.WriteAt([]byte("abc"), int64(i*1000+j))
				_, _ = file.ReadAt(make([]byte, 10), 0)
				_ = file.Sync()
				_ = d.SyncDir()
				if j%10 == 0 {
					_ = d.Rename(name, fmt.Sprintf("f%d", j%4))
				}
				_ = file.Close()
			}
		})
	}
	wg.Wait()
	img, report := d.Image(vfs.PowerLoss)
	require.Zero(t, report.LostBytes)
	require.Equal(t, list(t, d), list(t, img))
}

func BenchmarkDiskAppend(b *testing.B) {
	for _, every := range []int{1, 100} {
		b.Run(fmt.Sprintf("sync_every_%d", every), func(b *testing.B) {
			d := newDisk(1)
			file, err := d.Open("a", true)
			require.NoError(b, err)
			p := make([]byte, 1024)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			i := int64(0)
			for b.Loop() {
				_, _ = file.WriteAt(p, (i%100_000)*1024)
				if i++; i%int64(every) == 0 {
					_ = file.Sync()
				}
			}
		})
	}
}
