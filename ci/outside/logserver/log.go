package logserver

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// A partition is one file, <prefix><number>. The message at offset n is the record at n*recordSize:
//
//	value     8 bytes, big endian
//	checksum  4 bytes, of the value: a record that was torn, or never written, does not have it
const (
	prefix     = "partition-"
	recordSize = 12
)

// log is what one node holds. Its methods may be called from several goroutines.
type log struct {
	fs target.FS

	// turn is a lock of size 1 over files. It is held while the disk works, which a mutex must not
	// be in a simulation.
	turn  chan struct{}
	files map[int64]target.File

	mu      sync.Mutex // guards what follows; held for memory access only
	parts   map[int64]*partition
	early   bool          // messages can be read before they are stored (a planted bug)
	changed chan struct{} // closed, and replaced, when anything of parts changes
}

// partition is what is known of one partition: stored <= len(values).
type partition struct {
	values []int64
	stored int64                    // so many of them are on the disk, and synced
	copies map[harness.NodeID]int64 // so many of them a follower said that it has stored
}

// open reads what a disk holds. What follows the first bad record was never acknowledged, and is
// cut off.
func open(fs target.FS) (*log, error) {
	l := &log{
		fs: fs, turn: make(chan struct{}, 1), files: make(map[int64]target.File),
		parts: make(map[int64]*partition), changed: make(chan struct{}),
	}
	names, err := fs.List()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id, err := strconv.ParseInt(strings.TrimPrefix(name, prefix), 10, 64)
		if err != nil || !strings.HasPrefix(name, prefix) {
			continue
		}
		file, err := l.file(id)
		if err != nil {
			return nil, err
		}
		values, err := recovered(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p := l.part(id)
		p.values, p.stored = values, int64(len(values))
	}
	return l, nil
}

// recovered returns the messages of a file. They are synced before anybody reads them.
func recovered(file target.File) ([]int64, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size-size%recordSize)
	if _, err := file.ReadAt(b, 0); err != nil && len(b) > 0 {
		return nil, err
	}
	var values []int64
	for r := range slices.Chunk(b, recordSize) {
		value := int64(binary.BigEndian.Uint64(r))
		if !slices.Equal(r, record(value)) {
			break
		}
		values = append(values, value)
	}
	if err := file.Truncate(int64(len(values)) * recordSize); err != nil {
		return nil, err
	}
	return values, file.Sync()
}

func record(value int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(value))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// file opens the file of a partition. The caller has the turn.
func (l *log) file(id int64) (target.File, error) {
	if f := l.files[id]; f != nil {
		return f, nil
	}
	f, err := l.fs.Open(prefix+strconv.FormatInt(id, 10), true)
	if err != nil {
		return nil, err
	}
	l.files[id] = f
	return f, l.fs.SyncDir()
}

// part returns a partition. The caller holds mu.
func (l *log) part(id int64) *partition {
	p := l.parts[id]
	if p == nil {
		p = &partition{copies: make(map[harness.NodeID]int64)}
		l.parts[id] = p
	}
	return p
}

// tell wakes whoever waits for a change. The caller holds mu.
func (l *log) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// waiter returns a channel that is closed at the next change.
func (l *log) waiter() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// add appends messages in memory, and returns the offset of the first. With old, it does so only if
// the last message is old; -1 stands for none.
func (l *log) add(id int64, old *int64, values []int64) (offset int64, added bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(id)
	if old != nil && last(p.values) != *old {
		return 0, false
	}
	p.values = append(p.values, values...)
	return int64(len(p.values) - len(values)), true
}

func last(values []int64) int64 {
	if len(values) == 0 {
		return -1
	}
	return values[len(values)-1]
}

// flush stores what is in memory only.
func (l *log) flush(id int64) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return l.write(id)
}

// write is flush for who has the turn.
func (l *log) write(id int64) error {
	l.mu.Lock()
	from := l.part(id).stored
	todo := slices.Clone(l.part(id).values[from:])
	l.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	f, err := l.file(id)
	if err != nil {
		return err
	}
	var b []byte
	for _, v := range todo {
		b = append(b, record(v)...)
	}
	if _, err := f.WriteAt(b, from*recordSize); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part(id).stored = from + int64(len(todo))
	l.tell()
	return nil
}

// store is what a follower does with a copy: messages that follow those that it has are stored. It
// returns how many it has now.
func (l *log) store(id, from int64, values []int64) (end int64, err error) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.mu.Lock()
	p := l.part(id)
	if from == p.stored {
		p.values = append(p.values, values...)
	}
	l.mu.Unlock()
	if err := l.write(id); err != nil {
		return 0, err
	}
	end, _ = l.read(id, math.MaxInt64)
	return end, nil
}

// clear forgets everything, and returns how many messages that were.
func (l *log) clear() (n int64, err error) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	for _, id := range l.ids() {
		f, err := l.file(id)
		if err != nil {
			return 0, err
		}
		if err := f.Truncate(0); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		l.mu.Lock()
		p := l.part(id)
		n += p.stored
		p.values, p.stored = nil, 0
		l.mu.Unlock()
	}
	return n, nil
}

// read returns how many messages can be read, and those from an offset on, up to maxMessages.
func (l *log) read(id, from int64) (end int64, values []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(id)
	end = p.stored
	if l.early {
		end = int64(len(p.values))
	}
	from = min(max(from, 0), end)
	return end, slices.Clone(p.values[from:min(end, from+maxMessages)])
}

// ids lists the partitions.
func (l *log) ids() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.parts))
}

// total is the number of messages that can be read.
func (l *log) total() int64 {
	var n int64
	for _, id := range l.ids() {
		end, _ := l.read(id, math.MaxInt64)
		n += end
	}
	return n
}

// confirm notes how many messages a follower has.
func (l *log) confirm(id int64, n harness.NodeID, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part(id).copies[n] = end
	l.tell()
}

// copied reports whether all followers have the message at an offset.
func (l *log) copied(id, offset int64, followers []harness.NodeID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(id)
	lacks := func(n harness.NodeID) bool { return p.copies[n] <= offset }
	return !slices.ContainsFunc(followers, lacks)
}
