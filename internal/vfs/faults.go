package vfs

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// Counters are the effects that faults had on a disk and on the disks that it is the image of, so that a difference taken
// across a crash is right.
type Counters struct {
	FailedSyncs  int64 // Sync and SyncDir calls that returned ErrSync
	FailedWrites int64 // WriteAt calls that returned ErrNoSpace
	BlockedOps   int64 // operations that had to wait for a thaw
	FlippedBits  int64 // bits that FlipBit inverted
}

// FileStat is a file as a process sees it.
type FileStat struct {
	Name     string
	Size     int64 // bytes
	Unsynced int64 // written bytes that a power loss may take
}

// FailSync makes Sync and SyncDir return ErrSync. What such a Sync covered is not made durable by a later one that succeeds,
// as on Linux, where a failed fsync leaves pages marked clean; only writing it again does.
func (d *Disk) FailSync(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSync = on && !d.detached
}

// SetFull makes WriteAt return ErrNoSpace when it extends a file, sometimes after a short write.
func (d *Disk) SetFull(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = on && !d.detached
}

// Freeze makes every operation but Close wait until it is switched off or the disk is detached. A Sync that is under way waits
// at its end.
func (d *Disk) Freeze(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case on && d.frozen == nil && !d.detached:
		d.frozen = make(chan struct{})
	case !on:
		d.thaw()
	}
}

func (d *Disk) thaw() {
	if d.frozen != nil {
		close(d.frozen)
		d.frozen = nil
	}
}

// Detach takes the disk out of the experiment: it is thawed, its faults end, and none can be switched on again. A process that
// still uses it can end in the ordinary way. Image detaches.
func (d *Disk) Detach() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.detach()
}

func (d *Disk) detach() {
	d.detached, d.failSync, d.full = true, false, false
	d.thaw()
}

// FlipBit inverts bit (0-7) of the byte at off in file name, in the cache and on the medium, whatever else is wrong with the
// disk. The error matches fs.ErrNotExist or fs.ErrInvalid when there is no such file or byte.
func (d *Disk) FlipBit(name string, off int64, bit uint8) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.names[name]
	if node == nil {
		return pathError("flip", name, fs.ErrNotExist)
	}
	if off < 0 || off >= node.data.size || bit > 7 {
		return pathError("flip", name, fmt.Errorf("byte %d bit %d of %d bytes: %w", off, bit, node.data.size, fs.ErrInvalid))
	}
	node.data.chunks[off/chunkSize][off%chunkSize] ^= 1 << bit
	d.counters.FlippedBits++
	return nil
}

// Counters returns the effects so far.
func (d *Disk) Counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counters
}

// Stat returns the files in lexical order. It does not wait on a frozen disk, so a nemesis may use it at any time.
func (d *Disk) Stat() []FileStat {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats := make([]FileStat, 0, len(d.names))
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		node := d.names[name]
		stats = append(stats, FileStat{Name: name, Size: node.data.size, Unsynced: node.unsynced()})
	}
	return stats
}
