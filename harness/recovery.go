package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-project/assay/histories"
)

const (
	recoveryPoll = 200 * time.Millisecond
	// settle is how long a group whose leader serves nobody must stay so, beside a follower that it
	// refuses, before that counts as its final state.
	settle = 5 * time.Second
	// againTimeout bounds setting the workload up again.
	againTimeout = 20 * time.Second
)

// recovery waits until every group is well again, notes whether that was reached, and who leads
// which partition.
//
// A group is well when its leader serves and every other member has caught up. Where the
// configuration permits divergence, a member that its leader refuses is as well as it can be, and
// so is a leader that can confirm its log to nobody but refused followers.
func (r *run) recovery(ctx context.Context) error {
	g, ok := Can[Groups](r.t.Cluster)
	if !ok {
		r.ex.Recovered = true // nobody to ask: the final reads tell
		return r.noteRecovery("not measured: the cluster does not tell its state")
	}
	w := &watch{g: g, diverge: make([]bool, len(g.Groups())), settled: make([]time.Time, len(g.Groups()))}
	for i := range w.diverge {
		w.diverge[i] = r.t.Divergence != nil && r.t.Divergence(r.nemesisOps(), i)
	}
	start := time.Now()
	for {
		unwell, err := w.look(ctx)
		if r.interrupted(ctx) {
			return nil
		}
		if err != nil {
			return err
		}
		took := time.Since(start)
		if len(unwell) == 0 {
			r.ex.Recovered = true
			if err := r.noteRecovery(fmt.Sprintf("well after %v", took.Round(time.Millisecond))); err != nil {
				return err
			}
			r.setUpAgain(ctx)
			return r.noteLeaders(ctx, g)
		}
		if took >= r.t.Recovery {
			r.ex.Unwell = strings.Join(unwell, "; ")
			op := histories.NewNote(histories.NoteRecovery)
			op.Err = fmt.Sprintf("not well after %v: %s", took.Round(time.Second), r.ex.Unwell)
			if err := r.note(op); err != nil {
				return err
			}
			return r.noteLeaders(ctx, g)
		}
		r.progress(Recovering, took, r.t.Recovery)
		if !r.pause(ctx, recoveryPoll) {
			return nil
		}
	}
}

// noteRecovery notes that the recovery was reached.
func (r *run) noteRecovery(how string) error {
	op := histories.NewNote(histories.NoteRecovery)
	op.Effect = how
	return r.note(op)
}

// setUpAgain makes what the workload needs once more. Where every disk of a group was lost, one
// after the other, its topics may be gone, and without them no final read would show what was lost
// with them.
func (r *run) setUpAgain(ctx context.Context) {
	if len(histories.EventsOf(r.nemesisOps()).Strikes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, againTimeout)
	defer cancel()
	if err := r.t.Workload.Setup(ctx, r.t.Cluster); err != nil {
		r.t.Logger.Warn("setting up the workload again after the recovery", "err", err) // the final reads tell
	}
}

// watch looks at groups until they are well.
type watch struct {
	g       Groups
	diverge []bool      // by group: a member may stay refused
	settled []time.Time // by group: since when it has been as well as divergence allows; zero: it is not
}

// look returns why groups are not well; nothing when all are.
func (w *watch) look(ctx context.Context) ([]string, error) {
	var unwell []string
	for i, members := range w.g.Groups() {
		states, err := States(ctx, w.g, i, members)
		if err != nil {
			return nil, err
		}
		reasons, serving := wellness(states, w.diverge[i])
		if len(reasons) > 0 || serving {
			w.settled[i] = time.Time{}
		} else if w.settled[i].IsZero() {
			w.settled[i] = time.Now()
		}
		if len(reasons) == 0 && !serving && time.Since(w.settled[i]) < settle {
			reasons = []string{"its leader does not serve"}
		}
		for _, why := range reasons {
			unwell = append(unwell, fmt.Sprintf("group %d: %s", i, why))
		}
	}
	return unwell, nil
}

// wellness returns why a group is not well, and whether its leader serves. A leader that does not
// serve is a reason unless a follower is refused with permission.
func wellness(states []NodeState, diverge bool) (reasons []string, serving bool) {
	lead, ok := LeaderOf(states)
	if !ok {
		reasons = append(reasons, "nobody leads")
	}
	refused := false
	for _, s := range states {
		switch {
		case !s.Up:
			reasons = append(reasons, join(string(s.Node)+" does not answer", s.Detail))
		case ok && s.Node == lead.Node:
		case s.Role == RoleLeader:
			reasons = append(reasons, fmt.Sprintf("%s leads too, at epoch %d", s.Node, s.Epoch))
		case s.Refused != "" && diverge:
			refused = true
		case s.Refused != "":
			reasons = append(reasons, fmt.Sprintf("%s is refused: %s", s.Node, s.Refused))
		case !s.CaughtUp:
			reasons = append(reasons, join(fmt.Sprintf("%s (%s) has not caught up", s.Node, s.Role), s.Detail))
		}
	}
	if ok && !lead.Serving && !refused {
		reasons = append(reasons, join(fmt.Sprintf("the leader %s does not serve", lead.Node), lead.Detail))
	}
	return reasons, lead.Serving
}

func join(what, detail string) string {
	if detail == "" {
		return what
	}
	return what + " (" + detail + ")"
}

// noteLeaders records which node leads each partition that the workload reads in the end.
func (r *run) noteLeaders(ctx context.Context, g Groups) error {
	groups := g.Groups()
	leaders := make([]NodeID, len(groups))
	for i, members := range groups {
		states, err := States(ctx, g, i, members)
		if err != nil {
			return err
		}
		if lead, ok := LeaderOf(states); ok {
			leaders[i] = lead.Node
		}
	}
	noted := make(map[int32]bool)
	for _, read := range slices.Concat(r.t.Workload.Finals(r.t.Cluster)...) {
		part := read.Op.Part
		lead := leaders[histories.GroupOf(part, len(groups))]
		if noted[part] || lead == "" {
			continue
		}
		noted[part] = true
		op := histories.NewNote(histories.NoteLeader, string(lead))
		op.Part = part
		if err := r.note(op); err != nil {
			return err
		}
	}
	return nil
}
