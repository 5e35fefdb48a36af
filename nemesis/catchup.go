package nemesis

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// This file waits until damaged nodes have caught up. Until the history notes that, judges take
// what such a node stored for lost, so it must never be noted too early.

// watch waits until damaged nodes have caught up, and notes it for each. It gives up when ctx ends.
// The only error is a panic of the cluster.
func (n *Nemesis) watch(ctx context.Context, s harness.Stage, nodes []harness.NodeID) error {
	g, ok := harness.Can[harness.Groups](s.Cluster)
	if !ok {
		return nil
	}
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() {
			defer harness.Guard("waiting until "+string(node)+" has caught up", &errs[i])
			w := catchUp{g: g, node: node, targets: make(map[int]target)}
			for !n.noteCaughtUp(ctx, s, &w) {
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// noteCaughtUp waits until the node has caught up, and notes it. It reports false when another
// strike has damaged the node meanwhile: the answers of the cluster may be older than that strike.
func (n *Nemesis) noteCaughtUp(ctx context.Context, s harness.Stage, w *catchUp) (noted bool) {
	var before condition
	for {
		if !sleep(ctx, drawRetry) {
			return false
		}
		before = n.nodes.of(w.node)
		if before.damages != w.damages { // it lost again what it had
			w.damages = before.damages
			clear(w.targets)
		}
		if before.damaging == 0 && w.reached(ctx) {
			break
		}
	}
	// No strike begins inside, so a strike that is recorded before the note was seen by the
	// answers.
	_ = n.nodes.exclusive(ctx, func() error { // the only error is that ctx ended
		if n.nodes.of(w.node).damages != before.damages {
			return nil
		}
		noted = true
		n.nodes.caughtUp(w.node)
		if _, err := s.Record(histories.NewNote(histories.NoteCaughtUp, string(w.node))); err != nil {
			s.Logger.Error("recording that a node has caught up", "node", w.node, "err", err)
		}
		return nil
	})
	return noted
}

// catchUp follows a node until it has caught up in all its groups.
type catchUp struct {
	g       harness.Groups
	node    harness.NodeID
	targets map[int]target // by group
	damages int            // strikes that had damaged the node when the targets were set
}

// target is what the leader of a group had when it was first seen to serve after the node's return.
// Under load, the node may never have all that the leader has at one moment.
type target struct {
	epoch int64
	end   int64
}

// reached asks the groups of the node, and reports whether it has caught up in each. A node that is
// in no group has nobody to catch up with, and nothing tells what it has.
func (w *catchUp) reached(ctx context.Context) bool {
	groups, behind := 0, 0
	for number, members := range w.g.Groups() {
		if !slices.Contains(members, w.node) {
			continue
		}
		groups++
		if !w.reachedIn(ctx, number, members) {
			behind++ // the others are asked all the same: each has to find its target early
		}
	}
	return groups > 0 && behind == 0
}

func (w *catchUp) reachedIn(ctx context.Context, number int, members []harness.NodeID) bool {
	states, err := harness.States(ctx, w.g, number, members)
	if err != nil {
		return false
	}
	lead, ok := harness.LeaderOf(states)
	if !ok || !lead.Serving {
		return false
	}
	if lead.Node == w.node {
		return true
	}
	goal, known := w.targets[number]
	if !known || lead.Epoch != goal.epoch { // of another leader, the log may be another
		goal = target{epoch: lead.Epoch, end: lead.End}
		w.targets[number] = goal
	}
	return slices.ContainsFunc(states, func(s harness.NodeState) bool {
		return s.Node == w.node && s.Up && s.Role == harness.RoleFollower && s.Refused == "" &&
			(s.CaughtUp || s.End >= goal.end && s.Epoch == goal.epoch)
	})
}
