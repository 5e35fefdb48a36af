package vfs

import "io"

// chunkSize is the unit in which simulated files grow, in bytes: appending never copies what is there.
const chunkSize = 16 << 10

// content is a byte array in chunks. Bytes of the last chunk beyond size are zero, so growing needs no clearing.
type content struct {
	chunks [][]byte
	size   int64
}

func (c *content) readAt(p []byte, off int64) (int, error) {
	if off >= c.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := min(int64(len(p)), c.size-off)
	n := int64(0)
	for n < want {
		at := off + n
		n += int64(copy(p[n:want], c.chunks[at/chunkSize][at%chunkSize:]))
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (c *content) writeAt(p []byte, off int64) {
	if end := off + int64(len(p)); end > c.size {
		c.resize(end)
	}
	for len(p) > 0 {
		n := copy(c.chunks[off/chunkSize][off%chunkSize:], p)
		p, off = p[n:], off+int64(n)
	}
}

// resize cuts or extends with zeros.
func (c *content) resize(size int64) {
	need := int((size + chunkSize - 1) / chunkSize)
	for len(c.chunks) < need {
		c.chunks = append(c.chunks, make([]byte, chunkSize))
	}
	if size < c.size {
		clear(c.chunks[need:])
		c.chunks = c.chunks[:need]
		if rest := size % chunkSize; rest != 0 {
			clear(c.chunks[need-1][rest:])
		}
	}
	c.size = size
}

// slice returns a copy of [off, off+n), which must lie inside.
func (c *content) slice(off, n int64) []byte {
	p := make([]byte, n)
	if n > 0 {
		_, _ = c.readAt(p, off) // cannot fail: inside by contract
	}
	return p
}

func (c *content) clone() content {
	out := content{chunks: make([][]byte, len(c.chunks)), size: c.size}
	for i, chunk := range c.chunks {
		out.chunks[i] = append(make([]byte, 0, chunkSize), chunk...)
	}
	return out
}

// inode is a simulated file: what a reader sees, and the list of changes that are not durable. The list is an undo log: going
// through it backwards turns data into the durable content. So an append costs one copy and one small record, and only a
// crash pays for the reconstruction.
type inode struct {
	id      uint64
	linked  bool // has a name in the cached directory, so it counts for the capacity
	data    content
	changes []change // oldest first; changes[i] has sequence number first+i
	first   uint64
	failed  int // changes that a failed Sync dropped: see change.failed
}

// change is one write or truncation that is not durable, or that is but lies behind one that is not.
type change struct {
	truncate bool
	durable  bool // synced, but kept in the list because an older change is not
	// failed: a Sync could not write it. As on Linux, the page then counts as clean: later Syncs succeed without writing it.
	// Never set on a truncation: metadata stays in the journal.
	failed  bool
	off     int64  // where a write starts; the new size of a truncation
	n       int64  // bytes written
	oldSize int64  // the file's size before
	undo    []byte // the bytes that a write covered or a truncation cut off; never modified
}

func (n *inode) write(p []byte, off int64) {
	size := n.data.size
	var undo []byte
	if off < size {
		undo = n.data.slice(off, min(int64(len(p)), size-off))
	}
	n.changes = append(n.changes, change{off: off, n: int64(len(p)), oldSize: size, undo: undo})
	n.data.writeAt(p, off)
}

func (n *inode) truncate(size int64) {
	old := n.data.size
	var undo []byte
	if size < old {
		undo = n.data.slice(size, old-size)
	}
	n.changes = append(n.changes, change{truncate: true, off: size, oldSize: old, undo: undo})
	n.data.resize(size)
}

// next is the sequence number of the next change.
func (n *inode) next() uint64 { return n.first + uint64(len(n.changes)) }

// synced makes the changes before sequence number seq durable, except those that an earlier Sync failed to write.
func (n *inode) synced(seq uint64) {
	if seq <= n.first {
		return
	}
	upTo := int(seq - n.first)
	drop := upTo
	if n.failed > 0 {
		drop = 0
		for i := range n.changes[:upTo] {
			c := &n.changes[i]
			c.durable = !c.failed
			if c.durable && drop == i {
				drop = i + 1
			}
		}
	}
	n.first += uint64(drop)
	if drop == len(n.changes) {
		n.changes = n.changes[:0]
		return
	}
	n.changes = append([]change(nil), n.changes[drop:]...)
}

// syncFailed marks the writes before sequence number seq as dropped from the page cache's dirty list.
func (n *inode) syncFailed(seq uint64) {
	for i := range n.changes {
		if n.first+uint64(i) >= seq {
			return
		}
		if c := &n.changes[i]; !c.truncate && !c.failed && !c.durable {
			c.failed = true
			n.failed++
		}
	}
}

// unsynced is how many written bytes a power loss may take.
func (n *inode) unsynced() int64 {
	sum := int64(0)
	for i := range n.changes {
		if !n.changes[i].durable {
			sum += n.changes[i].n
		}
	}
	return sum
}

// clone copies the file with its changes; undo bytes are never modified and so are shared.
func (n *inode) clone() *inode {
	out := *n
	out.data = n.data.clone()
	out.changes = append([]change(nil), n.changes...)
	return &out
}

// rewind returns the durable content before every listed change, and what each change wrote.
func (n *inode) rewind() (content, [][]byte) {
	data := n.data.clone()
	wrote := make([][]byte, len(n.changes))
	for i := len(n.changes) - 1; i >= 0; i-- {
		c := &n.changes[i]
		if !c.truncate {
			wrote[i] = data.slice(c.off, c.n)
		}
		data.resize(c.oldSize)
		data.writeAt(c.undo, c.off)
	}
	return data, wrote
}
