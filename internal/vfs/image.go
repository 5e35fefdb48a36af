package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// ImageMode is the kind of crash that Image shows.
type ImageMode uint8

const (
	// KeepCache is the end of a process: everything written is there, and what was not durable still is not.
	KeepCache ImageMode = iota
	// PowerLoss keeps what was synced and a random subset of the rest: see Disk.Image.
	PowerLoss
	// Empty is a new disk.
	Empty
)

// ImageReport is what a crash took.
type ImageReport struct {
	UnsyncedBytes int64 // bytes written but not synced at the crash, in files that had a name
	LostBytes     int64 // of those, how many are gone; in mode Empty, the bytes of all files
	LostEntries   int64 // creations, renames and removals that are undone; in mode Empty, the number of files
}

const (
	pageSize   = 4096
	sectorSize = 512
)

// Image returns the disk as it would be found after a crash at this instant, as a new one that shares nothing with this one,
// and detaches this one (see Detach). The image inherits options, counters, and the faults FailSync and SetFull,
// which are faults of the hardware; it is not frozen.
//
// After a PowerLoss, of the unsynced writes and truncations of each file any subset may have survived, not only a prefix; a
// write over several 4 KiB pages may have survived in part, and the last one is usually torn, at any byte or at a 512-byte
// sector. A lost write may have left its length behind, as zeros. Of the unsynced creations, renames and removals any subset
// survives, except that one which builds on a lost one is lost with it. How much survives is drawn for each crash: nothing, half, nearly
// everything, or anything between. What survived is durable. Every choice follows from the seed of NewDisk.
func (d *Disk) Image(mode ImageMode) (*Disk, ImageReport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	img := NewDisk(d.rng.Uint64(), d.opts)
	img.counters, img.failSync, img.full, img.lastID = d.counters, d.failSync, d.full, d.lastID
	report := ImageReport{}
	for _, node := range d.named() {
		report.UnsyncedBytes += node.unsynced()
	}
	switch mode {
	case PowerLoss:
		d.powerLoss(img, &report)
	case Empty:
		for _, node := range d.named() {
			report.LostBytes += node.data.size
		}
		report.LostEntries = int64(len(d.names))
	default:
		d.keepCache(img)
	}
	for _, node := range img.names {
		node.linked = true
		img.used += node.data.size
	}
	d.detach()
	return img, report
}

// named returns the files in the order of their names: the order of random choices must not depend on a map's.
func (d *Disk) named() []*inode {
	nodes := make([]*inode, 0, len(d.names))
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		nodes = append(nodes, d.names[name])
	}
	return nodes
}

func (d *Disk) keepCache(img *Disk) {
	copies := map[*inode]*inode{}
	clone := func(node *inode) *inode {
		if copies[node] == nil {
			copies[node] = node.clone()
			copies[node].linked = false
		}
		return copies[node]
	}
	for name, node := range d.names {
		img.names[name] = clone(node)
	}
	for name, node := range d.durable {
		img.durable[name] = clone(node)
	}
	for _, e := range d.entries {
		e.node = clone(e.node)
		img.entries = append(img.entries, e)
	}
	img.first = d.first
}

func (d *Disk) powerLoss(img *Disk, report *ImageReport) {
	luck := drawLuck(d.rng)
	dir := maps.Clone(d.durable)
	for _, e := range d.entries {
		if !luck.entry(d.rng) || !e.apply(dir) {
			report.LostEntries++
		}
	}
	survivors := map[*inode]bool{}
	for _, name := range slices.Sorted(maps.Keys(dir)) {
		node := dir[name]
		survivors[node] = true
		data, lost := node.survive(d.rng, luck)
		img.names[name] = &inode{id: node.id, data: data}
		img.durable[name] = img.names[name]
		if node.linked {
			report.LostBytes += lost
		}
	}
	for _, node := range d.named() {
		if !survivors[node] {
			report.LostBytes += node.unsynced()
		}
	}
}

// luck is how much survives one power loss.
type luck struct {
	write, directory float64 // the probability with which a change survives
	zeros            bool    // a lost write leaves its length behind
	sector           bool    // writes tear at sector boundaries only
}

func drawLuck(rng *rand.Rand) luck {
	draw := func() float64 {
		switch rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return 0.5
		case 2:
			return 0.97
		default:
			return rng.Float64()
		}
	}
	return luck{write: draw(), directory: draw(), zeros: rng.IntN(4) == 0, sector: rng.IntN(2) == 0}
}

func (l luck) entry(rng *rand.Rand) bool { return rng.Float64() < l.directory }

// survive returns the content after a power loss and how many unsynced bytes it lacks.
func (n *inode) survive(rng *rand.Rand, l luck) (content, int64) {
	data, wrote := n.rewind()
	last := -1 // the write that was under way: the only one that tears inside a page
	for i := range n.changes {
		if !n.changes[i].truncate && !n.changes[i].durable {
			last = i
		}
	}
	lost := int64(0)
	for i := range n.changes {
		c := &n.changes[i]
		switch {
		case c.truncate:
			if c.durable || rng.Float64() < l.write {
				data.resize(c.off)
			}
		case c.durable:
			data.writeAt(wrote[i], c.off)
		default:
			p := wrote[i]
			if i == last && rng.IntN(8) != 0 {
				p = tear(rng, l, p, c.off)
				lost += c.n - int64(len(p))
			}
			lost += writePages(&data, rng, l, p, c.off)
			if end := c.off + c.n; l.zeros && data.size < end {
				data.resize(end)
			}
		}
	}
	return data, lost
}

// tear cuts a write somewhere before its end.
func tear(rng *rand.Rand, l luck, p []byte, off int64) []byte {
	cut := rng.Int64N(int64(len(p)))
	if l.sector {
		cut = max(0, (off+cut)/sectorSize*sectorSize-off)
	}
	return p[:cut]
}

// writePages writes the pages of p that survive, and returns how many bytes did not.
func writePages(data *content, rng *rand.Rand, l luck, p []byte, off int64) int64 {
	lost := int64(0)
	for len(p) > 0 {
		n := min(int64(len(p)), pageSize-off%pageSize)
		if rng.Float64() < l.write {
			data.writeAt(p[:n], off)
		} else {
			lost += n
		}
		p, off = p[n:], off+n
	}
	return lost
}
