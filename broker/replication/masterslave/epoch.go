package masterslave

// leaderOf returns the index in a group's node list that an epoch names, n being the list's length.
func leaderOf(epoch int32, n int) int { return int(epoch) % n }

// nextEpoch returns the smallest epoch above the given one that names the node at index.
func nextEpoch(above int32, index, n int) int32 {
	e := above + 1
	return e + int32((index-leaderOf(e, n)+n)%n)
}

// firstEpoch returns the epoch with which a group begins: the smallest positive one that names the first node.
func firstEpoch(n int) int32 { return nextEpoch(0, 0, n) }

// maxEpoch bounds what a peer or a disk may make a node record: far above any real one, and far below an overflow.
const maxEpoch = 1 << 30
