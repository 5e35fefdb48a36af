package logview

const (
	// denseSlack is how far beyond 8 slots per known key a Grid still prefers an array to a map.
	denseSlack = 1 << 16
	// baseSlack is how far below the first key the array begins.
	baseSlack = 1 << 12
)

// Grid maps int64 keys to T. Keys that are non-negative and reasonably dense, as offsets and values are, live in an array that begins a
// little below the first of them, as the values of a run count from a great number; the others in a map. The zero value is empty, and an
// absent key is a zero T. It is not for concurrent use.
type Grid[T any] struct {
	base   int64 // the key of dense[0]; >= 0
	dense  []T
	sparse map[int64]*T
	used   int64 // slots handed out by At; an upper bound of the number of keys
}

// At returns the slot of k, and makes it if needed. The pointer is valid until the next call of At.
func (g *Grid[T]) At(k int64) *T {
	if i := k - g.base; k >= g.base && i < int64(len(g.dense)) {
		return &g.dense[i]
	}
	if p := g.sparse[k]; p != nil {
		return p
	}
	g.used++
	if len(g.dense) == 0 && k >= 0 {
		g.base = max(0, k-baseSlack)
	}
	i := k - g.base
	if k < g.base || i >= 8*g.used+denseSlack {
		if g.sparse == nil {
			g.sparse = make(map[int64]*T)
		}
		p := new(T)
		g.sparse[k] = p
		return p
	}
	g.grow(i + 1)
	return &g.dense[i]
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
		if k >= g.base && k-g.base < n {
			g.dense[k-g.base] = *p
			delete(g.sparse, k)
		}
	}
}

// Get returns what is at k, a zero T when there is nothing.
func (g *Grid[T]) Get(k int64) (t T) {
	if i := k - g.base; k >= g.base && i < int64(len(g.dense)) {
		return g.dense[i]
	}
	if p := g.sparse[k]; p != nil {
		return *p
	}
	return t
}

// Keys calls do for every key that may hold something, the dense ones in order.
func (g *Grid[T]) Keys(do func(k int64, t *T)) {
	for i := range g.dense {
		do(g.base+int64(i), &g.dense[i])
	}
	for k, p := range g.sparse {
		do(k, p)
	}
}
