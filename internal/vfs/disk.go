package vfs

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var (
	_ FS   = (*Disk)(nil)
	_ File = (*diskFile)(nil)
)

// defaultSyncLatency is what an fsync takes on a disk without battery-backed cache that is not slow.
const defaultSyncLatency = 200 * time.Microsecond

// DiskOptions describes a simulated disk.
type DiskOptions struct {
	// Capacity is the most bytes that all files together may have; 0 is no limit.
	Capacity int64
	// SyncLatency is how long Sync and SyncDir take; 0 is 200 microseconds, negative is no time at all.
	SyncLatency time.Duration
	// WriteLatency is how long WriteAt takes; 0 is no time at all.
	WriteLatency time.Duration
}

// Disk is a simulated disk in memory. It tells apart what is in the page cache from what is durable, so that Image can
// show what a crash would leave, and it can be broken (see FailSync, SetFull, FlipBit, Freeze). It is safe for concurrent use;
// its lock is held only while memory is copied, and every wait (latency, Freeze) is outside, so it works in a synctest bubble.
type Disk struct {
	opts DiskOptions

	mu       sync.Mutex
	rng      *rand.Rand
	names    map[string]*inode // the directory as a process sees it
	durable  map[string]*inode // the directory as of the last SyncDir
	entries  []entryChange     // from durable to names, oldest first; entries[i] has sequence number first+i
	first    uint64
	lastID   uint64
	used     int64 // bytes in files that have a name
	detached bool
	failSync bool
	full     bool
	frozen   chan struct{} // not nil while frozen; closed by whoever thaws
	counters Counters
}

// entryChange is a directory operation that is not durable.
type entryChange struct {
	kind entryKind
	name string
	to   string // of a rename
	node *inode
}

type entryKind uint8

const (
	entryCreate entryKind = iota + 1
	entryRename
	entryRemove
)

// apply does the operation on dir, and reports whether it could: an operation that builds on a lost one is lost too.
func (e entryChange) apply(dir map[string]*inode) bool {
	at := dir[e.name]
	switch e.kind {
	case entryCreate:
		if at != nil {
			return false
		}
		dir[e.name] = e.node
		return true
	case entryRename:
		if at != e.node {
			return false
		}
		delete(dir, e.name)
		dir[e.to] = e.node
		return true
	case entryRemove:
		if at != e.node {
			return false
		}
		delete(dir, e.name)
		return true
	default:
		return false
	}
}

// NewDisk returns an empty disk whose random choices all follow from seed.
func NewDisk(seed uint64, opts DiskOptions) *Disk {
	if opts.SyncLatency == 0 {
		opts.SyncLatency = defaultSyncLatency
	}
	return &Disk{
		opts:    opts,
		rng:     rand.New(rand.NewPCG(seed, 0x6469736b)),
		names:   map[string]*inode{},
		durable: map[string]*inode{},
	}
}

// enter locks the disk, after waiting while it is frozen.
func (d *Disk) enter() {
	d.mu.Lock()
	if d.frozen != nil {
		d.counters.BlockedOps++
	}
	for d.frozen != nil {
		thawed := d.frozen
		d.mu.Unlock()
		<-thawed
		d.mu.Lock()
	}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements FS.
func (d *Disk) Open(name string, create bool) (File, error) {
	if err := checkName(name); err != nil {
		return nil, pathError("open", name, err)
	}
	d.enter()
	defer d.mu.Unlock()
	node := d.names[name]
	if node == nil {
		if !create {
			return nil, pathError("open", name, fs.ErrNotExist)
		}
		d.lastID++
		node = &inode{id: d.lastID, linked: true}
		d.names[name] = node
		d.entries = append(d.entries, entryChange{kind: entryCreate, name: name, node: node})
	}
	return &diskFile{disk: d, node: node, name: name}, nil
}

// Remove implements FS. An open file stays readable and writable.
func (d *Disk) Remove(name string) error {
	if err := checkName(name); err != nil {
		return pathError("remove", name, err)
	}
	d.enter()
	defer d.mu.Unlock()
	node := d.names[name]
	if node == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	delete(d.names, name)
	d.unlink(node)
	d.entries = append(d.entries, entryChange{kind: entryRemove, name: name, node: node})
	return nil
}

// Rename implements FS.
func (d *Disk) Rename(oldName, newName string) error {
	for _, name := range []string{oldName, newName} {
		if err := checkName(name); err != nil {
			return pathError("rename", name, err)
		}
	}
	d.enter()
	defer d.mu.Unlock()
	node := d.names[oldName]
	if node == nil {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	if oldName == newName {
		return nil
	}
	if replaced := d.names[newName]; replaced != nil {
		d.unlink(replaced)
	}
	delete(d.names, oldName)
	d.names[newName] = node
	d.entries = append(d.entries, entryChange{kind: entryRename, name: oldName, to: newName, node: node})
	return nil
}

func (d *Disk) unlink(node *inode) {
	node.linked = false
	d.used -= node.data.size
}

// List implements FS.
func (d *Disk) List() ([]string, error) {
	d.enter()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

// SyncDir implements FS.
func (d *Disk) SyncDir() error {
	d.enter()
	seq := d.first + uint64(len(d.entries))
	d.mu.Unlock()
	sleep(d.opts.SyncLatency)
	d.enter()
	defer d.mu.Unlock()
	if d.failSync {
		d.counters.FailedSyncs++
		return pathError("sync", ".", ErrSync)
	}
	if seq <= d.first {
		return nil // another SyncDir was faster
	}
	done := int(seq - d.first)
	for _, e := range d.entries[:done] {
		e.apply(d.durable)
	}
	d.entries = append([]entryChange(nil), d.entries[done:]...)
	d.first = seq
	return nil
}

func sleep(latency time.Duration) {
	if latency > 0 {
		time.Sleep(latency)
	}
}

// diskFile is an open file of a Disk.
type diskFile struct {
	disk   *Disk
	node   *inode // fields guarded by disk.mu
	name   string // as it was opened, for errors
	closed atomic.Bool
}

func (f *diskFile) check(op string, off int64) error {
	if f.closed.Load() {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if off < 0 {
		return pathError(op, f.name, fmt.Errorf("negative offset or size %d: %w", off, fs.ErrInvalid))
	}
	return nil
}

// ReadAt implements File.
func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", off); err != nil {
		return 0, err
	}
	f.disk.enter()
	defer f.disk.mu.Unlock()
	return f.node.data.readAt(p, off)
}

// WriteAt implements File. On a full disk it writes what fits, or some bytes, and returns ErrNoSpace.
func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", off); err != nil {
		return 0, err
	}
	sleep(f.disk.opts.WriteLatency)
	f.disk.enter()
	defer f.disk.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	fits := f.disk.fits(f.node, off, int64(len(p)))
	if fits > 0 {
		before := f.node.data.size
		f.node.write(p[:fits], off)
		if f.node.linked {
			f.disk.used += f.node.data.size - before
		}
	}
	if fits < int64(len(p)) {
		f.disk.counters.FailedWrites++
		return int(fits), pathError("write", f.name, ErrNoSpace)
	}
	return len(p), nil
}

// fits is how many of n bytes at off can be written. Overwriting needs no space.
func (d *Disk) fits(node *inode, off, n int64) int64 {
	inside := min(n, max(0, node.data.size-off))
	extend := off + n - node.data.size
	switch {
	case extend <= 0:
		return n
	case d.full:
		if d.rng.IntN(2) == 0 {
			return inside
		}
		return inside + d.rng.Int64N(n-inside)
	case node.linked && d.opts.Capacity > 0 && d.used+extend > d.opts.Capacity:
		return max(inside, n-(d.used+extend-d.opts.Capacity))
	default:
		return n
	}
}

// Truncate implements File.
func (f *diskFile) Truncate(size int64) error {
	if err := f.check("truncate", size); err != nil {
		return err
	}
	f.disk.enter()
	defer f.disk.mu.Unlock()
	before := f.node.data.size
	if size == before {
		return nil
	}
	f.node.truncate(size)
	if f.node.linked {
		f.disk.used += size - before
	}
	return nil
}

// Sync implements File. It covers what was written before it was called; what is written while it waits stays unsynced.
func (f *diskFile) Sync() error {
	if err := f.check("sync", 0); err != nil {
		return err
	}
	d := f.disk
	d.enter()
	seq := f.node.next()
	d.mu.Unlock()
	sleep(d.opts.SyncLatency)
	d.enter()
	defer d.mu.Unlock()
	if d.failSync {
		d.counters.FailedSyncs++
		f.node.syncFailed(seq)
		return pathError("sync", f.name, ErrSync)
	}
	f.node.synced(seq)
	return nil
}

// Size implements File.
func (f *diskFile) Size() (int64, error) {
	if err := f.check("stat", 0); err != nil {
		return 0, err
	}
	f.disk.enter()
	defer f.disk.mu.Unlock()
	return f.node.data.size, nil
}

// Close implements File. It syncs nothing.
func (f *diskFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}
