package masterslave

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/partitions"
)

// Topic is a topic as the authority knows it.
type Topic struct {
	ID         uuid.UUID
	Name       string
	Partitions int32
}

// CreateTopic creates a topic in every group, or finds it (created=false). The leader of group 0 is the authority: it picks id and number
// of partitions, 0 meaning the default. The others are told. It returns when every group's leader has recorded the topic with as many
// copies as the configuration asks for; after an error it may be there in some groups, and asking again completes it. With
// validate nothing is created. Any node does it. Errors are Kafka's.
func (r *Replica) CreateTopic(ctx context.Context, name string, count int32, validate bool) (t Topic, created bool, err error) {
	req := topicRequest{Name: name, Partitions: count, Validate: validate}
	if err := r.inherit(ctx, &req); err != nil {
		return Topic{}, false, err
	}
	resp, err := r.askLeader(ctx, 0, opCreate, req)
	if err != nil {
		return Topic{}, false, err
	}
	id, err := uuid.Parse(resp.ID)
	if err != nil {
		return Topic{}, false, fmt.Errorf("the leader of group 0 gave topic %q a bad id: %w", name, err)
	}
	t = Topic{ID: id, Name: name, Partitions: resp.Partitions}
	if validate {
		return t, resp.Created, nil
	}
	req.ID, req.Partitions = resp.ID, resp.Partitions
	for g := int32(1); g < r.opts.Groups; g++ {
		if _, err := r.askLeader(ctx, g, opCreate, req); err != nil {
			return t, resp.Created, err
		}
	}
	return t, resp.Created, nil
}

// inherit makes the request one for the topic that another group has and the authority has forgotten, if there is one. A delete reaches the
// authority last, so it has not deleted such a topic: it has lost its disks. Made anew under another id, the topic would cost the other groups their messages.
func (r *Replica) inherit(ctx context.Context, req *topicRequest) error {
	if r.opts.Groups == 1 {
		return nil
	}
	known, err := r.askLeader(ctx, 0, opFind, topicRequest{Name: req.Name})
	if err != nil || known.ID != "" {
		return err
	}
	for g := int32(1); g < r.opts.Groups; g++ {
		has, err := r.askLeader(ctx, g, opFind, topicRequest{Name: req.Name})
		if err != nil {
			return err
		}
		if has.ID != "" && req.ID == "" {
			req.ID, req.Partitions = has.ID, has.Partitions
		}
	}
	return nil
}

// DeleteTopic deletes a topic in every group, in that of the authority last, so that an error leaves something to delete again.
func (r *Replica) DeleteTopic(ctx context.Context, name string, id uuid.UUID) error {
	m := r.seen().Machine
	t := m.TopicByID(id)
	if name != "" {
		t = m.TopicByName(name)
	}
	req := topicRequest{Name: name}
	if t != nil {
		req.Name, req.ID = t.Name, t.ID.String()
	} else if name == "" {
		return coded(kerr.UnknownTopicID, "no topic has the id %v", id)
	}
	for g := r.opts.Groups - 1; g >= 0; g-- {
		if _, err := r.askLeader(ctx, g, opDelete, req); err != nil {
			return err
		}
	}
	return nil
}

// askLeader has a group's leader carry out a topic operation.
func (r *Replica) askLeader(ctx context.Context, group int32, op string, t topicRequest) (topicResponse, error) {
	leader, _ := r.GroupLeader(group)
	if leader < 0 {
		return topicResponse{}, coded(kerr.LeaderNotAvailable, "the leader of group %d is not known", group)
	}
	req := request{Op: op, Group: group, Topic: &t}
	var resp response
	if leader == r.cfg.Node {
		resp = r.answerTopic(ctx, req)
	} else {
		ctx, cancel := context.WithTimeout(ctx, r.controlLimit())
		defer cancel()
		var err error
		if resp, err = call(ctx, r.cfg.Dial, r.peerOf(leader), req); err != nil {
			return topicResponse{}, coded(kerr.RequestTimedOut, "topic %q: node %d, leader of group %d: %v", t.Name, leader, group, err)
		}
	}
	switch {
	case resp.Error != "" && resp.Code != 0:
		code, ok := kerr.ErrorForCode(resp.Code).(*kerr.Error)
		if !ok {
			code = kerr.UnknownServerError
		}
		return topicResponse{}, coded(code, "%s", resp.Error)
	case resp.Error != "" || resp.Topic == nil:
		return topicResponse{}, coded(kerr.RequestTimedOut, "topic %q: node %d, leader of group %d: %s", t.Name, leader, group, resp.Error)
	}
	return *resp.Topic, nil
}

func (r *Replica) peerOf(node int32) string {
	for _, m := range r.cfg.Members {
		if m.ID == node {
			return m.Peer
		}
	}
	return ""
}

// answerTopic carries out a topic operation as the group's leader, and waits for its commit.
func (r *Replica) answerTopic(ctx context.Context, req request) response {
	if req.Topic == nil {
		return response{Error: "no topic"}
	}
	if req.Op == opFind {
		return r.findTopic(req.Topic.Name)
	}
	var out topicResponse
	var w *waiter
	replaces, err := r.confirmTopic(ctx, req.Op, *req.Topic)
	if err == nil {
		if e := r.do(ctx, func() { out, w, err = r.takeTopic(req.Op, *req.Topic, replaces) }); e != nil {
			err = timedOut(e.Error())
		}
	}
	if err == nil && w != nil {
		if err = w.wait(ctx); err != nil && ctx.Err() != nil {
			err = timedOut(fmt.Sprintf("topic %q: too few nodes have recorded it within the time given; it may be there later", req.Topic.Name))
		}
	}
	if err == nil {
		return response{Topic: &out}
	}
	resp := response{Error: err.Error(), Code: kerr.RequestTimedOut.Code}
	var ke *kerr.Error
	if errors.As(err, &ke) && ke != kerr.NotEnoughReplicasAfterAppend {
		resp.Code = ke.Code
	}
	return resp
}

// findTopic answers which topic of a name this leader has; one without id is none.
func (r *Replica) findTopic(name string) response {
	v := r.View()
	if !v.Leading {
		return response{Error: fmt.Sprintf("node %d does not lead group %d", r.cfg.Node, r.self.Group), Code: kerr.NotLeaderForPartition.Code}
	}
	out := &topicResponse{}
	if t := v.Machine.TopicByName(name); t != nil {
		out.ID, out.Partitions = t.ID.String(), t.Partitions
	}
	return response{Topic: out}
}

// confirmTopic asks the authority whether what another group's leader is told to create still is the topic of that name: the request may have
// been on its way for so long that the topic was deleted meanwhile, or even made anew and written to. replaces is the topic that had
// the name here before the authority was asked, and so is older than its answer.
func (r *Replica) confirmTopic(ctx context.Context, op string, t topicRequest) (replaces uuid.UUID, err error) {
	v := r.View()
	old := v.Machine.TopicByName(t.Name)
	if old != nil {
		replaces = old.ID
	}
	if op != opCreate || r.self.Group == 0 || !v.Leading || old != nil && old.ID.String() == t.ID {
		return replaces, nil
	}
	now, err := r.askLeader(ctx, 0, opCreate, topicRequest{Name: t.Name, Partitions: t.Partitions, Validate: true})
	if err == nil && now.ID != t.ID {
		err = timedOut(fmt.Sprintf("topic %q was deleted meanwhile", t.Name))
	}
	return replaces, err
}

// takeTopic appends what a topic operation needs. A topic of another id may lose its name to the new one only if it is the one that
// replaces names. The waiter is nil when there is nothing to wait for.
func (r *Replica) takeTopic(op string, t topicRequest, replaces uuid.UUID) (topicResponse, *waiter, error) {
	if err := r.refuseWrite(); err != nil {
		return topicResponse{}, nil, err
	}
	if t.Name == "" || len(t.Name) > partitions.MaxTopicName {
		return topicResponse{}, nil, coded(kerr.InvalidTopicException, "a topic name has 1 to %d bytes", partitions.MaxTopicName)
	}
	old := r.state.machine.TopicByName(t.Name)
	if op == opDelete {
		return r.takeDelete(old, t)
	}
	id := uuid.Nil
	if t.ID != "" {
		var err error
		if id, err = uuid.Parse(t.ID); err != nil {
			return topicResponse{}, nil, coded(kerr.InvalidRequest, "topic id %q: %v", t.ID, err)
		}
	}
	now := time.Now()
	if old != nil && (id == uuid.Nil || id == old.ID || r.self.Group == 0) { // nobody tells the authority what a topic is
		w := r.state.waiting.addAgain(old.End, now, now.Add(r.opts.Timeout))
		r.advance(now)
		return topicResponse{ID: old.ID.String(), Partitions: old.Partitions}, w, nil
	}
	count := t.Partitions
	if count == 0 {
		count = r.opts.DefaultPartitions
	}
	if count < 1 || count > partitions.MaxPartitions {
		return topicResponse{}, nil, coded(kerr.InvalidPartitions, "a topic has 1 to %d partitions", partitions.MaxPartitions)
	}
	if id == uuid.Nil {
		id = r.newID()
	}
	out := topicResponse{ID: id.String(), Partitions: count, Created: true}
	if t.Validate {
		return out, nil, nil
	}
	if err := r.roomFor(count); err != nil {
		return topicResponse{}, nil, err
	}
	if old != nil && old.ID != replaces {
		return topicResponse{}, nil, timedOut(fmt.Sprintf("topic %q was created anew meanwhile", t.Name))
	}
	if old != nil {
		// The authority has deleted the topic that had this name, and this group was not told.
		if _, _, err := r.appendTopic(partitions.TopicPayload{Delete: true, ID: old.ID, Partitions: old.Partitions, Name: old.Name}); err != nil {
			return topicResponse{}, nil, err
		}
	}
	_, w, err := r.appendTopic(partitions.TopicPayload{ID: id, Partitions: count, Name: t.Name})
	return out, w, err
}

// maxAllPartitions bounds the partitions of all topics together: each takes memory on every node, and again at every start.
const maxAllPartitions = 1 << 16

func (r *Replica) roomFor(count int32) error {
	have := int32(0)
	for _, t := range r.state.machine.Topics() {
		have += t.Partitions
	}
	if have > maxAllPartitions-count {
		return coded(kerr.InvalidPartitions, "there are %d partitions already, %d more would be over %d: delete topics", have, count, maxAllPartitions)
	}
	return nil
}

func (r *Replica) takeDelete(old *partitions.Topic, t topicRequest) (topicResponse, *waiter, error) {
	if old == nil || t.ID != "" && old.ID.String() != t.ID {
		if r.self.Group != 0 {
			return topicResponse{}, nil, nil // this group was told already, or never
		}
		return topicResponse{}, nil, coded(kerr.UnknownTopicOrPartition, "there is no topic %q", t.Name)
	}
	return r.appendTopic(partitions.TopicPayload{Delete: true, ID: old.ID, Partitions: old.Partitions, Name: old.Name})
}

func (r *Replica) appendTopic(t partitions.TopicPayload) (topicResponse, *waiter, error) {
	f, err := r.appendFrame(partitions.KindTopic, partitions.AppendTopicPayload(nil, t))
	if err != nil {
		return topicResponse{}, nil, err
	}
	now := time.Now()
	w := r.state.waiting.add(f.End, now, now.Add(r.opts.Timeout))
	r.flushSoon()
	r.advance(now)
	return topicResponse{ID: t.ID.String(), Partitions: t.Partitions}, w, nil
}

// newID makes a random (version 4) id.
func (r *Replica) newID() uuid.UUID {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(r.cfg.Rand.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}
