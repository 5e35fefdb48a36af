package masterslave

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrUnsafe is returned by Promote when acknowledged messages could be missing from the candidate's log, and Force was not given.
var ErrUnsafe = errors.New("masterslave: promote is not safe")

// ErrContended is returned by Promote when other promoters, or a leader that is still written to, came between every attempt.
var ErrContended = errors.New("masterslave: promote gave up, the group kept changing")

// PromoteRequest says who is to lead a group.
type PromoteRequest struct {
	Group int32
	Node  int32 // 0: the node with the most history
	Force bool  // go on when it is not known to be safe
}

// PromoteResult is what a promote did.
type PromoteResult struct {
	Epoch   int32
	Leader  int32
	Safe    bool // every acknowledged message is in the leader's log, if no disk lost what it had confirmed
	Forced  bool // it went on only because of Force
	Answers []PromoteAnswer
}

// PromoteAnswer is one node's answer to the recording of the epoch.
type PromoteAnswer struct {
	Node     int32
	Error    string // it did not record: unreachable, or its disk has failed
	Counted  bool   // its answer makes the promote safer
	Joining  bool
	Position int64 // its log's end
	Epoch    int32 // of its last frame
}

// PromoteOption changes how a promote is carried out.
type PromoteOption func(*promoter)

// WithRequestTimeout bounds each request to a node (default 5 s).
func WithRequestTimeout(d time.Duration) PromoteOption { return func(p *promoter) { p.timeout = d } }

// maxAttempts is how often a promote starts over at most.
const maxAttempts = 8

type promoter struct {
	req     PromoteRequest
	members []Member // of the group, in the order of the configuration
	ids     []int32  // theirs
	dial    DialFunc
	timeout time.Duration

	former   int32 // who led the group before this promote recorded anything, 0 for nobody that answered
	recorded int32 // the highest epoch that this promote has had recorded, 0 for none
}

// Promote gives a group a new epoch and a leader, as docs/replication.md says. members is the cluster's node list in the order of
// its configuration; those of other groups are ignored. It writes nothing when it can see beforehand that it would be unsafe. When that turns out
// only after an epoch was recorded, it gives the group back to the leader that it had, if that is safe; else the group has no leader until the
// next promote. The error says which; the result says how far the promote came.
func Promote(ctx context.Context, req PromoteRequest, members []Member, dial DialFunc, opts ...PromoteOption) (PromoteResult, error) {
	p, err := newPromoter(req, members, dial, opts...)
	if err != nil {
		return PromoteResult{}, err
	}
	res, err := p.attempts(ctx)
	if err != nil && p.recorded != 0 {
		err = p.giveBack(ctx, err)
	}
	return res, err
}

func newPromoter(req PromoteRequest, members []Member, dial DialFunc, opts ...PromoteOption) (*promoter, error) {
	p := &promoter{req: req, dial: dial, timeout: controlTimeout}
	for _, m := range members {
		if m.Group == req.Group {
			p.members, p.ids = append(p.members, m), append(p.ids, m.ID)
		}
	}
	for _, o := range opts {
		o(p)
	}
	if len(p.members) == 0 {
		return nil, fmt.Errorf("promote: group %d has no nodes", req.Group)
	}
	if req.Node != 0 && p.index(req.Node) < 0 {
		return nil, fmt.Errorf("promote: node %d is not in group %d", req.Node, req.Group)
	}
	return p, nil
}

// attempts passes through the protocol until it succeeds, is refused, or has tried often enough.
func (p *promoter) attempts(ctx context.Context) (PromoteResult, error) {
	var last error
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := sleep(ctx, min(100*time.Millisecond<<attempt, 2*time.Second)); err != nil {
				return PromoteResult{}, errors.Join(err, last)
			}
		}
		res, again, err := p.attempt(ctx)
		if !again {
			return res, err
		}
		last = err
	}
	return PromoteResult{}, fmt.Errorf("%w after %d attempts; the last one: %w", ErrContended, maxAttempts, last)
}

// giveBack makes the former leader lead again after a promote that failed halfway, under a newer epoch and by the same rules, unless
// somebody leads by now. It returns the promote's error with what became of the group.
func (p *promoter) giveBack(ctx context.Context, failed error) error {
	seen := p.ask(ctx, p.members, request{Op: opStatus, Group: p.req.Group})
	if l := leaderAmong(seen); l.Node != 0 {
		return fmt.Errorf("%w; node %d leads in epoch %d", failed, l.Node, l.Epoch)
	}
	nobody := fmt.Errorf("%w; epoch %d is recorded and nobody leads: promote again", failed, highest(seen))
	if p.former == 0 || p.req.Force || ctx.Err() != nil {
		return nobody
	}
	back := *p
	back.req.Node = p.former
	res, err := back.attempts(ctx)
	if err != nil {
		return fmt.Errorf("%w (node %d, which led before, cannot be promoted either: %w)", nobody, p.former, err)
	}
	return fmt.Errorf("%w; node %d leads as before, now in epoch %d", failed, res.Leader, res.Epoch)
}

// leaderAmong returns the status of the node that leads the highest epoch heard of, a zero one when none does.
func leaderAmong(answers []answer) Status {
	for _, a := range answers {
		if a.err == nil && a.status.Role == RoleLeader && a.status.Epoch == highest(answers) {
			return a.status
		}
	}
	return Status{}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *promoter) index(node int32) int {
	for i, m := range p.members {
		if m.ID == node {
			return i
		}
	}
	return -1
}

// answer is a node's status, or why there is none.
type answer struct {
	member  Member
	status  Status
	err     error
	refused bool // a higher epoch is recorded there
}

// counts says whether the answer makes a promote safer.
func (a answer) counts() bool { return a.err == nil && !a.status.Joining && a.status.Failed == "" }

// ask sends req to the members at once and returns their answers in the same order.
func (p *promoter) ask(ctx context.Context, members []Member, req request) []answer {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	out := make([]answer, len(members))
	done := make(chan struct{}, len(members))
	for i, m := range members {
		go func() {
			out[i] = p.askOne(ctx, m, req)
			done <- struct{}{}
		}()
	}
	for range members {
		<-done
	}
	return out
}

func (p *promoter) askOne(ctx context.Context, m Member, req request) answer {
	resp, err := call(ctx, p.dial, m.Peer, req)
	a := answer{member: m, err: err, refused: resp.Refused}
	switch {
	case err != nil:
	case resp.Error != "":
		a.err = errors.New(resp.Error)
		if resp.Status != nil {
			a.status.Node = resp.Status.Node // it answered, and said no
		}
	case resp.Status == nil:
		a.err = fmt.Errorf("%w: no status in the answer", errWire)
	case resp.Status.Node != m.ID || resp.Status.Group != m.Group:
		a.err = fmt.Errorf("%s answers as node %d of group %d", m.Peer, resp.Status.Node, resp.Status.Group)
	case !slices.Equal(resp.Status.Members, p.ids):
		a.err = fmt.Errorf("node %d lists the nodes of the group as %v, and not as %v: give the list that it was configured with", m.ID, resp.Status.Members, p.ids)
	default:
		a.status = *resp.Status
	}
	return a
}

// attempt is one pass through the protocol; again says that the group changed meanwhile and another pass may do.
func (p *promoter) attempt(ctx context.Context) (res PromoteResult, again bool, err error) {
	seen := p.ask(ctx, p.members, request{Op: opStatus, Group: p.req.Group})
	if p.recorded == 0 {
		p.former = leaderAmong(seen).Node
	}
	cand, err := p.candidate(seen)
	if err != nil {
		return PromoteResult{}, false, err
	}
	reason, again := p.risk(ctx, seen, cand)
	if reason != "" && !p.req.Force {
		if p.recorded == 0 {
			reason += "; nothing was changed, force to go on"
		}
		return PromoteResult{Leader: cand.member.ID, Answers: report(seen)}, again, fmt.Errorf("%w: %s", ErrUnsafe, reason)
	}
	// Above the first epoch, too: an empty group may begin with it at any moment, and must not undo a forced promote by that.
	epoch := nextEpoch(max(highest(seen), firstEpoch(len(p.members))), p.index(cand.member.ID), len(p.members))
	res = PromoteResult{Epoch: epoch, Leader: cand.member.ID}

	p.recorded = epoch
	answers := p.record(ctx, cand.member, epoch)
	res.Answers = report(answers)
	for _, a := range answers {
		if a.refused {
			return res, true, fmt.Errorf("node %d: %w", a.member.ID, a.err)
		}
	}
	cand = answers[0]
	if cand.err != nil {
		return res, !p.req.Force, fmt.Errorf("promote: node %d cannot record epoch %d: %w", cand.member.ID, epoch, cand.err)
	}
	reason, _ = p.risk(ctx, answers, cand)
	res.Safe = reason == ""
	if !res.Safe && p.req.Node == 0 && p.behind(answers, cand) {
		return res, true, fmt.Errorf("node %d got ahead of node %d meanwhile", ahead(answers, cand), cand.member.ID)
	}
	if !res.Safe && !p.req.Force {
		// It was safe a moment ago. What has changed may change back; if not, the next attempt sees it before it records anything.
		return res, true, fmt.Errorf("%w: %s", ErrUnsafe, reason)
	}
	res.Forced = !res.Safe
	if lead := p.tell(ctx, cand, epoch); lead.err != nil {
		return res, lead.refused || !p.req.Force, fmt.Errorf("promote: node %d was told to lead epoch %d: %w", cand.member.ID, epoch, lead.err)
	}
	return res, false, nil
}

// record has every node record the epoch, the candidate first; its answer is the first. Who answers is asked once more, and counts only if it is
// still the same process: a node that lost its disk between its answer and another node's has forgotten its promise at a time when too
// few knew of the epoch for it to learn of it again.
func (p *promoter) record(ctx context.Context, candidate Member, epoch int32) []answer {
	req := request{Op: opRecord, Group: p.req.Group, Epoch: epoch, Members: p.ids}
	answers := p.ask(ctx, []Member{candidate}, req)
	if answers[0].err != nil {
		return answers
	}
	var others []Member
	for _, m := range p.members {
		if m.ID != candidate.ID {
			others = append(others, m)
		}
	}
	answers = append(answers, p.ask(ctx, others, req)...)
	var again []Member
	for _, a := range answers {
		if a.err == nil {
			again = append(again, a.member)
		}
	}
	second := p.ask(ctx, again, req)
	for i := range answers {
		if answers[i].err != nil {
			continue
		}
		before := answers[i].status.Incarnation
		answers[i], second = second[0], second[1:]
		if a := &answers[i]; a.err == nil && a.status.Incarnation != before {
			a.err = fmt.Errorf("node %d was restarted while the epoch was recorded", a.member.ID)
		}
	}
	return answers
}

// tell tells the candidate to lead, more than once when no answer comes: being told again changes nothing.
func (p *promoter) tell(ctx context.Context, cand answer, epoch int32) (lead answer) {
	for range 3 {
		lead = p.ask(ctx, []Member{cand.member}, request{Op: opLead, Group: p.req.Group, Epoch: epoch, Members: p.ids, Incarnation: cand.status.Incarnation})[0]
		if lead.err == nil || lead.refused || lead.status.Node != 0 || ctx.Err() != nil {
			break
		}
	}
	return lead
}

// candidate picks the node to promote: the one asked for, or the one with the most history that counts; joining nodes only if there is no
// other. Between equals the present leader wins, then the order of the configuration.
func (p *promoter) candidate(answers []answer) (answer, error) {
	best := -1
	for i, a := range answers {
		if p.req.Node != 0 {
			if a.member.ID == p.req.Node {
				best = i
			}
			continue
		}
		if a.err != nil || a.status.Failed != "" {
			continue
		}
		if best < 0 || better(a, answers[best]) {
			best = i
		}
	}
	if best < 0 {
		return answer{}, fmt.Errorf("promote: no node of group %d answers: %w", p.req.Group, firstError(answers))
	}
	if err := answers[best].err; err != nil {
		return answer{}, fmt.Errorf("promote: node %d does not answer: %w", answers[best].member.ID, err)
	}
	if f := answers[best].status.Failed; f != "" {
		return answer{}, fmt.Errorf("promote: node %d cannot lead, its disk has failed: %s", answers[best].member.ID, f)
	}
	return answers[best], nil
}

// better says whether a is to be preferred to b.
func better(a, b answer) bool {
	if a.status.Joining != b.status.Joining {
		return b.status.Joining
	}
	if a.status.point() != b.status.point() {
		return b.status.point().less(a.status.point())
	}
	return a.status.Role == RoleLeader && b.status.Role != RoleLeader
}

// unsafe returns why promoting cand on these answers could lose acknowledged messages, "" when it cannot.
func (p *promoter) unsafe(answers []answer, cand answer) string {
	counted, copies := 0, cand.status.Copies
	for _, a := range answers {
		if a.counts() {
			counted++
		}
		if a.err == nil {
			copies = min(copies, a.status.Copies) // whoever led may have asked for fewer than the candidate does
		}
	}
	need := len(p.members) - copies + 1
	switch {
	case cand.status.Joining:
		return fmt.Sprintf("node %d has not caught up since its disk came empty", cand.member.ID)
	case counted < need:
		return fmt.Sprintf("%d of %d nodes answer with a log that counts, and a message may be on only %d: %d are needed", counted, len(p.members), copies, need)
	case p.behind(answers, cand):
		return fmt.Sprintf("node %d has more history than node %d", ahead(answers, cand), cand.member.ID)
	}
	return ""
}

// risk is unsafe, and then asks the candidate whether its log really holds those that end in the same epoch and are shorter: not so when that
// epoch's leader lost a part of its log and went on. again says that there was no answer, and that another attempt may get one.
func (p *promoter) risk(ctx context.Context, answers []answer, cand answer) (reason string, again bool) {
	if reason := p.unsafe(answers, cand); reason != "" {
		return reason, false
	}
	for _, a := range answers {
		if a.member == cand.member || !a.counts() || a.status.End == 0 || a.status.LastEpoch != cand.status.LastEpoch {
			continue
		}
		has, err := p.holds(ctx, cand, a)
		switch {
		case err != nil:
			return fmt.Sprintf("node %d does not say whether it has what node %d has: %v", cand.member.ID, a.member.ID, err), true
		case !has:
			return fmt.Sprintf("node %d and node %d have written different histories in epoch %d", cand.member.ID, a.member.ID, a.status.LastEpoch), false
		}
	}
	return "", false
}

// holds asks the candidate whether its log begins with a's.
func (p *promoter) holds(ctx context.Context, cand, a answer) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req := request{Op: opHolds, Group: p.req.Group, Epoch: cand.status.Epoch, Members: p.ids, Boundaries: []boundary{{Position: a.status.End, Chain: a.status.Chain}}}
	resp, err := call(ctx, p.dial, cand.member.Peer, req)
	if err == nil && resp.Error != "" {
		err = errors.New(resp.Error)
	}
	return resp.Match == 0, err
}

func (p *promoter) behind(answers []answer, cand answer) bool { return ahead(answers, cand) != 0 }

// ahead returns a counted node with more history than cand, 0 for none.
func ahead(answers []answer, cand answer) int32 {
	for _, a := range answers {
		if a.counts() && cand.status.point().less(a.status.point()) {
			return a.member.ID
		}
	}
	return 0
}

func highest(answers []answer) int32 {
	var e int32
	for _, a := range answers {
		if a.err == nil {
			e = max(e, a.status.Epoch)
		}
	}
	return e
}

func firstError(answers []answer) error {
	for _, a := range answers {
		if a.err != nil {
			return a.err
		}
	}
	return errors.New("every answering node's disk has failed")
}

func report(answers []answer) []PromoteAnswer {
	out := make([]PromoteAnswer, len(answers))
	for i, a := range answers {
		out[i] = PromoteAnswer{Node: a.member.ID, Counted: a.counts(), Joining: a.status.Joining, Position: a.status.End, Epoch: a.status.LastEpoch}
		if a.err != nil {
			out[i].Error = a.err.Error()
		}
	}
	return out
}
