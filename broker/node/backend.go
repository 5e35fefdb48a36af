package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/partitions"
)

var _ kafka.Backend = (*backend)(nil)

// backend is the node as the protocol server sees it.
type backend struct{ n *Node }

func id(node int32) string { return strconv.Itoa(int(node)) }

// reason is the kind of a refusal, the word before its colon: a label must not have a value per position.
func reason(refused string) string {
	kind, _, _ := strings.Cut(refused, ":")
	return kind
}

// Cluster implements kafka.Backend.
func (b *backend) Cluster() kafka.ClusterView {
	n := b.n
	v := kafka.ClusterView{ClusterID: n.cfg.Cluster, NodeID: n.cfg.ID, Brokers: n.brokers}
	v.ControllerID, _ = n.replica.GroupLeader(0)
	groups := n.groupViews()
	for _, t := range n.replica.View().Machine.Topics() {
		v.Topics = append(v.Topics, topicView(t.Name, t.ID, t.Partitions, groups))
	}
	return v
}

// groupViews describes the partitions of each group: within a group they are all alike.
func (n *Node) groupViews() []kafka.PartitionView {
	out := make([]kafka.PartitionView, n.opts.Groups)
	for g := range out {
		p := &out[g]
		p.Leader, p.LeaderEpoch = n.replica.GroupLeader(int32(g))
		for _, m := range n.cfg.Nodes {
			if m.Group == int32(g) {
				p.Replicas = append(p.Replicas, m.ID)
			}
		}
		p.ISR = p.Replicas
		if int32(g) == n.group {
			if in := n.replica.InSync(); in != nil {
				p.ISR = in
			}
		}
	}
	return out
}

func topicView(name string, id uuid.UUID, count int32, groups []kafka.PartitionView) kafka.TopicView {
	t := kafka.TopicView{Name: name, ID: id, Partitions: make([]kafka.PartitionView, count)}
	for p := range t.Partitions {
		t.Partitions[p] = groups[p%len(groups)]
	}
	return t
}

// CreateTopic implements kafka.Backend.
func (b *backend) CreateTopic(ctx context.Context, spec kafka.TopicSpec) (kafka.TopicView, bool, error) {
	t, created, err := b.n.replica.CreateTopic(ctx, spec.Name, spec.Partitions, spec.ValidateOnly)
	if err != nil {
		return kafka.TopicView{}, false, err
	}
	return topicView(t.Name, t.ID, t.Partitions, b.n.groupViews()), created, nil
}

// DeleteTopic implements kafka.Backend.
func (b *backend) DeleteTopic(ctx context.Context, name string, id uuid.UUID) error {
	return b.n.replica.DeleteTopic(ctx, name, id)
}

// Partition implements kafka.Backend.
func (b *backend) Partition(topic string, id uuid.UUID, index int32) (kafka.Partition, error) {
	n := b.n
	m := n.replica.View().Machine
	t := m.TopicByName(topic)
	if id != uuid.Nil {
		if t = m.TopicByID(id); t == nil {
			return nil, kerr.UnknownTopicID
		}
	}
	if t == nil || index < 0 || index >= t.Partitions {
		return nil, kerr.UnknownTopicOrPartition
	}
	var local *partitions.Partition
	if local = t.Local(index, n.opts.Groups); local == nil {
		return nil, kerr.NotLeaderForPartition
	}
	return &partition{n: n, log: n.replica, part: local}, nil
}

// Progress implements kafka.Backend.
func (b *backend) Progress() <-chan struct{} { return b.n.replica.Progress() }

// brokerViews are the nodes' addresses for clients.
func brokerViews(nodes []Member) ([]kafka.BrokerView, error) {
	out := make([]kafka.BrokerView, len(nodes))
	for i, m := range nodes {
		host, port, err := parseAddr(fmt.Sprintf("nodes: node %d: kafka", m.ID), m.Kafka)
		if err != nil {
			return nil, err
		}
		out[i] = kafka.BrokerView{ID: m.ID, Host: host, Port: port}
	}
	return out, nil
}
