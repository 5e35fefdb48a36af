package kafkafake

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Node is one node of a Cluster.
type Node struct {
	c  *Cluster
	id int32
}

var _ kafka.Backend = (*Node)(nil)

// ID is the node's number.
func (n *Node) ID() int32 { return n.id }

// Cluster implements kafka.Backend.
func (n *Node) Cluster() kafka.ClusterView {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v := kafka.ClusterView{ClusterID: "fake", NodeID: n.id, ControllerID: 1, Brokers: slices.Clone(n.c.brokers)}
	for _, name := range n.c.order {
		v.Topics = append(v.Topics, n.c.view(name, n.c.topics[name]))
	}
	return v
}

// CreateTopic implements kafka.Backend.
func (n *Node) CreateTopic(_ context.Context, spec kafka.TopicSpec) (kafka.TopicView, bool, error) {
	v, created := n.c.create(spec)
	return v, created, nil
}

// DeleteTopic implements kafka.Backend.
func (n *Node) DeleteTopic(_ context.Context, name string, id uuid.UUID) error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for i, candidate := range n.c.order {
		if candidate == name || (name == "" && n.c.topics[candidate].id == id) {
			delete(n.c.topics, candidate)
			n.c.order = slices.Delete(n.c.order, i, i+1)
			n.c.changed()
			return nil
		}
	}
	return fmt.Errorf("topic %q: %w", name, kerr.UnknownTopicOrPartition)
}

// Partition implements kafka.Backend.
func (n *Node) Partition(name string, id uuid.UUID, partition int32) (kafka.Partition, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if id != uuid.Nil {
		i := slices.IndexFunc(n.c.order, func(name string) bool { return n.c.topics[name].id == id })
		if i < 0 {
			return nil, fmt.Errorf("topic id %v: %w", id, kerr.UnknownTopicID)
		}
		name = n.c.order[i]
	}
	t, ok := n.c.topics[name]
	if !ok || partition < 0 || int(partition) >= len(t.parts) {
		return nil, fmt.Errorf("partition %q/%d: %w", name, partition, kerr.UnknownTopicOrPartition)
	}
	return &replica{n: n, topic: name, number: partition, p: t.parts[partition]}, nil
}

// Progress implements kafka.Backend.
func (n *Node) Progress() <-chan struct{} {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.progress
}

// replica is a partition as one node serves it.
type replica struct {
	n      *Node
	topic  string
	number int32
	p      *part
}

var _ kafka.Partition = (*replica)(nil)

// Append implements kafka.Partition.
func (r *replica) Append(_ context.Context, batch []byte, acks int16) (kafka.Appended, error) {
	c := r.n.c
	c.mu.Lock()
	c.appends++
	faults := c.faults
	c.mu.Unlock()
	if faults.BeforeAppend != nil {
		if err := faults.BeforeAppend(r.n.id, r.topic, r.number, batch); err != nil {
			return kafka.Appended{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.p.leader != r.n.id {
		return kafka.Appended{}, notLeader(r.n.id, r.p.leader)
	}
	base := r.p.end
	binary.BigEndian.PutUint64(batch, uint64(base))
	binary.BigEndian.PutUint32(batch[12:], uint32(r.p.epoch))
	r.p.batches = append(r.p.batches, batch)
	r.p.end += records(batch)
	if !c.hold {
		r.p.committed = r.p.end
	}
	c.changed()
	a := kafka.Appended{BaseOffset: base}
	if acks == -1 {
		a.Wait = func(ctx context.Context) error { return r.wait(ctx, base, faults) }
	}
	return a, nil
}

func (r *replica) wait(ctx context.Context, base int64, faults Faults) error {
	if faults.AfterAppend != nil {
		if err := faults.AfterAppend(ctx, r.n.id, r.topic, r.number, base); err != nil {
			return err
		}
	}
	for {
		progress := r.n.Progress()
		r.n.c.mu.Lock()
		committed := r.p.committed
		r.n.c.mu.Unlock()
		if committed > base {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// may says whether the node may answer a reader. The caller holds the lock.
func (r *replica) may(as kafka.Reader, epoch int32) error {
	switch {
	case as != kafka.Scanner && r.p.leader != r.n.id && !r.n.c.followers:
		return notLeader(r.n.id, r.p.leader)
	case epoch >= 0 && epoch < r.p.epoch:
		return fmt.Errorf("epoch %d is over, now it is %d: %w", epoch, r.p.epoch, kerr.FencedLeaderEpoch)
	case epoch > r.p.epoch:
		return fmt.Errorf("epoch %d is not known here: %w", epoch, kerr.UnknownLeaderEpoch)
	}
	return nil
}

func (r *replica) beforeRead(as kafka.Reader) error {
	r.n.c.mu.Lock()
	before := r.n.c.faults.BeforeRead
	r.n.c.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(r.n.id, r.topic, r.number, as)
}

// Read implements kafka.Partition.
func (r *replica) Read(as kafka.Reader, offset int64, maxBytes int, atLeastOne bool, leaderEpoch int32) (kafka.Fetched, error) {
	if err := r.beforeRead(as); err != nil {
		return kafka.Fetched{}, err
	}
	c := r.n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := r.may(as, leaderEpoch); err != nil {
		return kafka.Fetched{}, err
	}
	out := kafka.Fetched{Committed: r.p.committed, LogEnd: r.p.end}
	limit := r.p.committed
	if as == kafka.Scanner {
		limit = r.p.end
	}
	if offset < 0 || offset > limit {
		return out, fmt.Errorf("offset %d is not within 0 and %d: %w", offset, limit, kerr.OffsetOutOfRange)
	}
	for _, b := range r.p.batches {
		base := baseOffset(b)
		if base+records(b) <= offset || base >= limit {
			continue
		}
		if (len(out.Batches) > 0 || !atLeastOne) && len(out.Batches)+len(b) > maxBytes {
			break
		}
		out.Batches = append(out.Batches, b...)
	}
	return out, nil
}

// Offsets implements kafka.Partition.
func (r *replica) Offsets(as kafka.Reader, timestamp int64, leaderEpoch int32) (kafka.Listed, error) {
	if err := r.beforeRead(as); err != nil {
		return kafka.Listed{}, err
	}
	r.n.c.mu.Lock()
	defer r.n.c.mu.Unlock()
	if err := r.may(as, leaderEpoch); err != nil {
		return kafka.Listed{}, err
	}
	out := kafka.Listed{Timestamp: -1, Offset: -1, LeaderEpoch: r.p.epoch}
	switch timestamp {
	case -1:
		out.Offset = r.p.committed
	case -2:
		out.Offset = 0
	default:
		for _, b := range r.p.batches {
			if at := int64(binary.BigEndian.Uint64(b[35:])); at >= timestamp {
				out.Timestamp, out.Offset = at, baseOffset(b)
				break
			}
		}
	}
	return out, nil
}

// EpochEnd implements kafka.Partition.
func (r *replica) EpochEnd(epoch int32, leaderEpoch int32) (int32, int64, error) {
	r.n.c.mu.Lock()
	defer r.n.c.mu.Unlock()
	if err := r.may(kafka.Consumer, leaderEpoch); err != nil {
		return -1, -1, err
	}
	if epoch >= r.p.epoch {
		return r.p.epoch, r.p.end, nil
	}
	found, end := int32(-1), int64(-1)
	for _, b := range r.p.batches {
		if e := int32(binary.BigEndian.Uint32(b[12:])); e <= epoch {
			found, end = e, baseOffset(b)+records(b)
		}
	}
	return found, end, nil
}
