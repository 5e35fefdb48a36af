package harness

import (
	"context"
	"fmt"
	"sync"

	"github.com/assay-project/assay/histories"
)

// notebook keeps the ops of the nemesis and of the harness itself, as recorded.
type notebook struct {
	mu  sync.Mutex // guards ops; held for an append only
	ops histories.History
}

// record writes an op of the harness or its nemesis into the history: one made by
// histories.NewInject and its like.
func (r *run) record(op histories.Op) (histories.Op, error) {
	op.Process, op.Type = histories.NemesisProcess, histories.Info
	op, err := r.t.Recorder.Record(op)
	if err != nil {
		return op, err
	}
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	r.notes.ops = append(r.notes.ops, op)
	return op, nil
}

func (r *run) note(op histories.Op) error {
	_, err := r.record(op)
	return err
}

// nemesisOps returns what record wrote so far.
func (r *run) nemesisOps() histories.History {
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	return r.notes.ops[:len(r.notes.ops):len(r.notes.ops)]
}

// noteGroups records the groups and their leaders at the start of the load.
func (r *run) noteGroups(ctx context.Context) error {
	g, ok := Can[Groups](r.t.Cluster)
	if !ok || r.interrupted(ctx) {
		return nil
	}
	for i, members := range g.Groups() {
		states, err := States(ctx, g, i, members)
		if err != nil {
			return fmt.Errorf("asking for the leader of group %d: %w", i, err)
		}
		lead, ok := LeaderOf(states)
		if !ok {
			continue // nobody leads, so the contract takes every member for one that may
		}
		names := []string{string(lead.Node)}
		for _, n := range members {
			if n != lead.Node {
				names = append(names, string(n))
			}
		}
		op := histories.NewGroupNote(i, names...)
		op.Effect = fmt.Sprintf("led by %s at epoch %d", lead.Node, lead.Epoch)
		if err := r.note(op); err != nil {
			return err
		}
	}
	return nil
}
