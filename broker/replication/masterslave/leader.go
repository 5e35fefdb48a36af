package masterslave

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/commitlog"
)

// leadership is what a leader knows. It is part of the state; it lasts for one epoch of one process, so nothing is inherited.
//
// Invariants: committed <= the leader's own copy and the (copies-1)-th largest of the followers' at some moment of this leadership;
// committed is 0 or >= epochEnd; it never goes back.
type leadership struct {
	epochEnd  int64 // log position after the epoch's first frame
	startEnd  int64 // log end when this leadership began: readers are served when committed covers it
	committed int64
	followers []*progress // of all other nodes of the group, in its order
	stated    []FollowerStatus
	dirty     bool // followers have changed since stated was made
}

// progress is what a follower has, as it says on its latest connection.
//
// Invariants: 0 <= flushed <= appended <= the leader's log end; both are 0 unless matched.
type progress struct {
	node     int32
	session  uint64 // of the connection whose pulls count; a newer connection takes over and starts at nothing
	matched  bool   // its log is a prefix of the leader's up to appended
	joining  bool   // it does not count yet
	appended int64
	flushed  int64
	claimed  int64 // flushed, as stated since the log matched; it may run ahead of appended, which the next pull brings
	refused  string
}

func newLeadership(r *Replica) *leadership {
	l := &leadership{epochEnd: r.state.epochAt.end, startEnd: r.log.End(), dirty: true}
	for _, m := range r.group {
		if m.ID != r.cfg.Node {
			l.followers = append(l.followers, &progress{node: m.ID})
		}
	}
	return l
}

func (l *leadership) statuses() []FollowerStatus {
	if l.dirty {
		l.stated, l.dirty = make([]FollowerStatus, len(l.followers)), false
		for i, p := range l.followers {
			l.stated[i] = FollowerStatus{Node: p.node, Matched: p.matched, Joining: p.joining, Appended: p.appended, Flushed: p.flushed, Refused: p.refused}
		}
	}
	return l.stated
}

// ownCopy is the position up to which the leader's own copy counts.
func (r *Replica) ownCopy() int64 {
	if r.opts.Flush == FlushAsync {
		return r.log.End()
	}
	return r.log.Flushed()
}

// copyOf is the position up to which a follower's copy counts.
func (r *Replica) copyOf(p *progress) int64 {
	switch {
	case !p.matched || p.joining:
		return 0
	case r.opts.Flush == FlushSync:
		return p.flushed
	default:
		return p.appended
	}
}

// counted is the position that as many copies as the configuration asks for have reached. One of them is always the leader's: with flush=leader, followers
// may be ahead of what it has flushed, and however many they are, the leader could come back without it.
func (r *Replica) counted() int64 {
	if r.opts.Copies == 1 {
		return r.ownCopy()
	}
	at := make([]int64, 0, 8)
	for _, p := range r.state.lead.followers {
		at = append(at, r.copyOf(p))
	}
	slices.Sort(at)
	return min(r.ownCopy(), at[len(at)-(r.opts.Copies-1)])
}

// advance moves committed, and answers the producers that it reaches.
func (r *Replica) advance(now time.Time) {
	l := r.state.lead
	if l == nil || r.state.failure != "" {
		return
	}
	// Entries of older epochs commit through this epoch's first frame (Raft 5.4.2): a copy of them alone can still be overwritten.
	if c := r.counted(); c >= l.epochEnd && c > l.committed {
		l.committed = c
	}
	r.state.waiting.finish(func(w *waiter) (error, bool) {
		if w.position > l.committed {
			return nil, false
		}
		if r.cfg.Observer != nil {
			r.cfg.Observer.Appended(now.Sub(w.since))
		}
		return nil, true
	})
}

// weak is the answer to a producer whose batch is stored here and has not what the configuration promises.
func (l *leadership) weak(r *Replica, position int64) error {
	if l == nil || r.state.failure != "" {
		return timedOut("the node stopped leading") // such waiters were answered when it did
	}
	position = max(position, l.epochEnd)
	copies := 1
	for _, p := range l.followers {
		if p.matched && !p.joining && p.appended >= position {
			copies++
		}
	}
	if copies < r.opts.Copies {
		return coded(kerr.NotEnoughReplicasAfterAppend, "copies %d of %d", copies, r.opts.Copies)
	}
	return coded(kerr.NotEnoughReplicasAfterAppend, "unflushed")
}

// matching is what a connection's goroutine found out about a pull before it owns the state.
type matching struct {
	epoch   int32 // in which this node led when it looked
	verdict verdict
	chain   string // for a diverged log: what was found
}

// match compares a pull's end with the log. It reads the disk when the follower is far behind, so it is not for the state's owner.
func (r *Replica) match(v view, p pull) matching {
	m := matching{epoch: v.Epoch, verdict: verdictEpoch}
	if !v.Leading || p.Epoch != v.Epoch {
		return m
	}
	if p.From > v.End {
		m.verdict = verdictAhead
		return m
	}
	chain, err := r.log.ChainAt(p.From)
	switch {
	case errors.Is(err, commitlog.ErrPosition):
		m.verdict, m.chain = verdictDiverged, err.Error()
	case err != nil:
		// What this disk cannot read says nothing about the follower's log, which may be the only good copy.
		r.logger.Error("a follower's log cannot be compared with this node's", "follower", p.Node, "position", p.From, "err", err)
		m.verdict = verdictBusy
	case chain != p.Chain:
		m.verdict, m.chain = verdictDiverged, fmt.Sprintf("chain %016x here, %016x there", chain, p.Chain)
	default:
		m.verdict = verdictOK
	}
	return m
}

// takePull judges a pull, and counts it when it comes on the follower's latest connection. held is the session that the
// connection was given, 0 for none yet. stale says that the connection has been replaced and is to be closed.
func (r *Replica) takePull(p pull, m matching, held uint64) (answer shipment, stale bool) {
	s := &r.state
	if p.Epoch > s.meta.Epoch {
		r.hear(p.Epoch)
	}
	answer = shipment{Verdict: verdictEpoch, Epoch: s.meta.Epoch}
	l := s.lead
	if l == nil || s.meta.Epoch != p.Epoch {
		return answer, false
	}
	if s.failure != "" || m.epoch != p.Epoch || m.verdict == verdictEpoch || m.verdict == verdictBusy {
		answer.Verdict = verdictBusy // the second and third: this node began to lead while it looked; the follower asks again
		return answer, false
	}
	f := l.follower(p.Node)
	if held != 0 && held != f.session || p.Session != held {
		return answer, true
	}
	l.dirty = true
	if held == 0 {
		s.sessions++
		*f = progress{node: p.Node, session: s.sessions, joining: p.Joining}
	}
	answer = shipment{Verdict: m.verdict, Epoch: s.meta.Epoch, Session: f.session, End: r.log.End(), Committed: l.committed,
		Serving: l.committed >= l.startEnd}
	if m.verdict != verdictOK {
		*f = progress{node: p.Node, session: f.session, joining: p.Joining, refused: refusal(p, m, answer.End)}
		return answer, false
	}
	f.refused, f.joining = "", p.Joining
	if held != 0 {
		f.matched, f.appended = true, p.From
		f.claimed = max(f.claimed, p.Flushed)
		f.flushed = min(f.claimed, p.From)
		r.advance(time.Now())
		answer.Committed, answer.Serving = l.committed, l.committed >= l.startEnd
	}
	return answer, false
}

// refusal says why a follower's log cannot be continued.
func refusal(p pull, m matching, end int64) string {
	if m.verdict == verdictAhead {
		return fmt.Sprintf("ahead: its log ends at %d, the leader's at %d", p.From, end)
	}
	return fmt.Sprintf("diverged: its log differs from the leader's before position %d (%s)", p.From, m.chain)
}

func (l *leadership) follower(node int32) *progress {
	return l.followers[slices.IndexFunc(l.followers, func(p *progress) bool { return p.node == node })]
}

// takeFlushed counts a follower's flush.
func (r *Replica) takeFlushed(node int32, f flushed) {
	l := r.state.lead
	if l == nil {
		return
	}
	p := l.follower(node)
	if p.session != f.Session || !p.matched {
		return
	}
	// A follower whose log was refused truncates before it matches again, and what it had flushed until then says nothing any more: so
	// a claim is kept only while the log matches.
	p.claimed = max(p.claimed, f.Position)
	if at := min(p.claimed, p.appended); at > p.flushed {
		p.flushed, l.dirty = at, true
		r.advance(time.Now())
	}
}

// takeLeave forgets a follower whose connection has ended.
func (r *Replica) takeLeave(node int32, session uint64) {
	if l := r.state.lead; l != nil {
		if p := l.follower(node); p.session == session {
			*p, l.dirty = progress{node: node, session: session, joining: p.joining, refused: p.refused}, true
		}
	}
}

// takeMatch answers which of the boundaries, from the last to the first, this leader's log has, too; -1 for none. The error is about
// what it cannot read: the follower cuts off what does not match, so an unreadable place must not pass for a different one.
func (r *Replica) takeMatch(boundaries []boundary) (int, error) {
	for i, b := range boundaries {
		switch chain, err := r.log.ChainAt(b.Position); {
		case err == nil && chain == b.Chain:
			return i, nil
		case err != nil && !errors.Is(err, commitlog.ErrPosition):
			return -1, fmt.Errorf("compare logs at position %d: %w", b.Position, err)
		}
	}
	return -1, nil
}
