package nemesis

import (
	"context"
	"sync"

	"github.com/assay-project/assay/harness"
)

// Nodes tracks which nodes are down or damaged, so that one strike does not undo the point of
// another. All faults of one nemesis share it. The engine keeps it: a fault only asks.
type Nodes struct {
	// turn holds a token while a strike draws its victims, so that no two draw at the same time. It
	// is a channel because a draw waits for answers of the cluster.
	turn chan struct{}

	mu    sync.Mutex // guards state and its values; held for map accesses only
	state map[harness.NodeID]*condition
}

// condition is what strikes have done to one node.
type condition struct {
	down     int // strikes that are on and keep it from running
	damaging int // strikes that are on and may destroy what it stores
	damages  int // strikes so far that may have destroyed what it stored
	behind   int // those of damages after which it has not caught up
}

func newNodes() *Nodes {
	return &Nodes{turn: make(chan struct{}, 1), state: make(map[harness.NodeID]*condition)}
}

// Down reports whether a strike keeps n from running. The faults of a kind with Downs do so.
func (t *Nodes) Down(n harness.NodeID) bool { return t.of(n).down > 0 }

// Damaged reports whether a strike may have destroyed what n stored, and n has not caught up with
// its groups since.
func (t *Nodes) Damaged(n harness.NodeID) bool { return t.of(n).behind > 0 }

// of returns the condition of n as it is now.
func (t *Nodes) of(n harness.NodeID) condition {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.state[n]; c != nil {
		return *c
	}
	return condition{}
}

// exclusive calls do when nobody else is inside exclusive. While it runs no strike begins.
func (t *Nodes) exclusive(ctx context.Context, do func() error) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()
	return do()
}

// begin notes that a strike of kind k at nodes begins. It is called inside exclusive.
func (t *Nodes) begin(k *Kind, nodes []harness.NodeID) {
	t.change(nodes, func(c *condition) {
		if k.Downs {
			c.down++
		}
		if k.damages() {
			c.damaging++
			c.damages++
			c.behind++
		}
	})
}

// end notes that a strike of kind k at nodes was healed.
func (t *Nodes) end(k *Kind, nodes []harness.NodeID) {
	t.change(nodes, func(c *condition) {
		if k.Downs {
			c.down--
		}
		if k.damages() {
			c.damaging--
		}
	})
}

// caughtUp notes that n has caught up after one of the strikes that damaged it.
func (t *Nodes) caughtUp(n harness.NodeID) {
	t.change([]harness.NodeID{n}, func(c *condition) { c.behind-- })
}

func (t *Nodes) change(nodes []harness.NodeID, how func(*condition)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range nodes {
		if t.state[n] == nil {
			t.state[n] = &condition{}
		}
		how(t.state[n])
	}
}
