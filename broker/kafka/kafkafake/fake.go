// Package kafkafake is a cluster of Kafka backends in memory, for tests of the protocol server and
// of its clients. It has no disk, no replication and no deduplication: its nodes share one log per
// partition, and tests decide what is committed, who leads and what goes wrong. It counts what it
// was asked to append, which is how tests find requests that were sent twice.
package kafkafake

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Cluster is shared by its nodes. Its methods may be called from any number of goroutines.
type Cluster struct {
	mu        sync.Mutex // guards everything below; never held across a wait
	brokers   []kafka.BrokerView
	topics    map[string]*topic
	order     []string
	progress  chan struct{}
	hold      bool
	followers bool
	faults    Faults
	appends   int
}

// Faults are what tests make go wrong; nil functions do nothing. They are called without the
// cluster's lock.
type Faults struct {
	// BeforeAppend refuses a batch. It sees the node that was asked.
	BeforeAppend func(node int32, topic string, partition int32, batch []byte) error
	// AfterAppend is the error of an acknowledgement.
	AfterAppend func(ctx context.Context, node int32, topic string, partition int32, base int64) error
	// BeforeRead refuses a read.
	BeforeRead func(node int32, topic string, partition int32, as kafka.Reader) error
}

type topic struct {
	id    uuid.UUID
	parts []*part
}

// part is one partition; 0 <= committed <= end.
type part struct {
	leader    int32
	epoch     int32
	batches   [][]byte
	end       int64
	committed int64
}

// New returns a cluster without nodes. Appends are committed at once until Hold.
func New() *Cluster {
	return &Cluster{topics: map[string]*topic{}, progress: make(chan struct{})}
}

// AddNode adds a node with the next id, from 1, that is advertised at host and port.
func (c *Cluster) AddNode(host string, port int32) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := int32(len(c.brokers) + 1)
	c.brokers = append(c.brokers, kafka.BrokerView{ID: id, Host: host, Port: port})
	return &Node{c: c, id: id}
}

// SetFaults replaces what goes wrong.
func (c *Cluster) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
}

// Hold stops committing, until Release.
func (c *Cluster) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = true
}

// Release commits everything and goes on committing.
func (c *Cluster) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = false
	for _, t := range c.topics {
		for _, p := range t.parts {
			p.committed = p.end
		}
	}
	c.changed()
}

// ServeFollowers lets nodes that do not lead answer consumers.
func (c *Cluster) ServeFollowers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followers = true
}

// Lead makes a node the leader of a partition in the next epoch; -1 for nobody.
func (c *Cluster) Lead(name string, partition, node int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.topics[name].parts[partition]
	p.leader = node
	p.epoch++
	c.changed()
}

// Appends says how many batches were to be appended, refused ones included.
func (c *Cluster) Appends() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.appends
}

// End returns the end offset of a partition.
func (c *Cluster) End(name string, partition int32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.topics[name].parts[partition].end
}

func (c *Cluster) changed() {
	close(c.progress)
	c.progress = make(chan struct{})
}

func (c *Cluster) create(spec kafka.TopicSpec) (kafka.TopicView, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.topics[spec.Name]; ok {
		return c.view(spec.Name, t), false
	}
	n := spec.Partitions
	if n == 0 {
		n = 1
	}
	t := &topic{id: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, spec.Name, len(c.order)))}
	for i := range n {
		t.parts = append(t.parts, &part{leader: i%int32(len(c.brokers)) + 1, epoch: 1})
	}
	if !spec.ValidateOnly {
		c.topics[spec.Name] = t
		c.order = append(c.order, spec.Name)
	}
	return c.view(spec.Name, t), true
}

func (c *Cluster) view(name string, t *topic) kafka.TopicView {
	v := kafka.TopicView{Name: name, ID: t.id}
	var all []int32
	for _, b := range c.brokers {
		all = append(all, b.ID)
	}
	for _, p := range t.parts {
		v.Partitions = append(v.Partitions, kafka.PartitionView{Leader: p.leader, LeaderEpoch: p.epoch, Replicas: all, ISR: all})
	}
	return v
}

// records reads the number of records from a batch.
func records(batch []byte) int64 { return int64(int32(binary.BigEndian.Uint32(batch[57:]))) }

func baseOffset(batch []byte) int64 { return int64(binary.BigEndian.Uint64(batch)) }

func notLeader(node int32, leader int32) error {
	return fmt.Errorf("node %d does not lead, node %d does: %w", node, leader, kerr.NotLeaderForPartition)
}
