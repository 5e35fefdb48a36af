package logview

// denseSlack is how far beyond 8 slots per known key a Grid still prefers an array to a map.
const denseSlack = 1 << 16

// Grid maps int64 keys to T. Keys that are non-negative and reasonably dense, as offsets and values are, live in an array;
// the others in a map. The zero value is empty, and an absent key is a zero T. It is not for concurrent use.
type Grid[T any] struct {
	dense  []T
	sparse map[int64]*T
	used   int64 // slots handed out by At; an upper bound of the number of keys
}

// At returns the slot of k, and makes it if needed. The pointer is valid until the next call of At.
func (g *Grid[T]) At(k int64) *T {
	if k >= 0 && k < int64(len(g.dense)) {
		return &g.dense[k]
	}
	if p := g.sparse[k]; p != nil {
		return p
	}
	g.used++
	if k < 0 || k >= 8*g.used+denseSlack {
		if g.sparse == nil {
			g.sparse = make(map[int64]*T)
		}
		p := new(T)
		g.sparse[k] = p
		return p
	}
	g.grow(k + 1)
	return &g.dense[k]
}

// grow makes the array at least n long, and moves what the map holds of it.
func (g *Grid[T]) grow(n int64) {
	if n <= int64(cap(g.dense)) {
		g.dense = g.dense[:n]
	} else {
		bigger := make([]T, n, max(2*n, 64))
		copy(bigger, g.dense)
		g.dense = bigger
	}
	for k, p := range g.sparse {
		if k >= 0 && k < n {
			g.dense[k] = *p
			delete(g.sparse, k)
		}
	}
}

// Get returns what is at k, a zero T when there is nothing.
func (g *Grid[T]) Get(k int64) (t T) {
	if k >= 0 && k < int64(len(g.dense)) {
		return g.dense[k]
	}
	if p := g.sparse[k]; p != nil {
		return *p
	}
	return t
}

// Keys calls do for every key that may hold something, the dense ones in order.
func (g *Grid[T]) Keys(do func(k int64, t *T)) {
	for i := range g.dense {
		do(int64(i), &g.dense[i])
	}
	for k, p := range g.sparse {
		do(k, p)
	}
}
