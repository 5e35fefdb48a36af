package nemesis

import (
	"context"
	"sync"

	"github.com/assay-project/assay/harness"
)

// ward knows which nodes are hurt at the moment, so that one strike does not undo the point of another. It is shared by the faults of one
// nemesis.
type ward struct {
	turn chan struct{} // holds a token while somebody chooses nodes, so that no two choose on the same view
	mu   sync.Mutex    // guards both maps; held for map accesses only
	down map[harness.NodeID]int
	sick map[harness.NodeID]int
}

func newWard() *ward {
	return &ward{turn: make(chan struct{}, 1), down: make(map[harness.NodeID]int), sick: make(map[harness.NodeID]int)}
}

// choose lets do look at the ward and note its choice, one at a time.
func (w *ward) choose(ctx context.Context, do func() error) error {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-w.turn }()
	return do()
}

// admit notes what a strike of kind k does to nodes.
func (w *ward) admit(k kind, nodes []harness.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		if k.downs {
			w.down[n]++
		}
		if k.damages {
			w.sick[n]++
		}
	}
}

// up notes that the strike is healed: the nodes run again.
func (w *ward) up(k kind, nodes []harness.NodeID) {
	if !k.downs {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		w.down[n]--
	}
}

// well notes that a node whose disk was damaged has caught up.
func (w *ward) well(n harness.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sick[n]--
}

// isDown reports whether a strike keeps n from running.
func (w *ward) isDown(n harness.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[n] > 0
}

// isHurt reports whether n is down, or was damaged and has not caught up.
func (w *ward) isHurt(n harness.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[n] > 0 || w.sick[n] > 0
}
