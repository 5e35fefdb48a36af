// Package partitions says what a commit log means that carries many Kafka partitions: the encoding of its frames' payloads, and
// the state that follows from them (topics, offsets, epochs, idempotent producers).
//
// A Machine is fed every frame of a log in order: on recovery, by the leader after its append, and by a follower after a replicated
// one. Equal log prefixes give equal machines. After a truncation a new Machine is fed from the start. The package reads
// and writes no file and knows nothing of replication; frames come from disks and peers, so nothing in them is trusted.
package partitions

import (
	"fmt"
	"sort"
	"sync"

	"github.com/google/uuid"
)

// Frame is one frame of the log, as the machine sees it.
type Frame struct {
	Kind       uint8
	Epoch      int32
	Start, End int64  // log positions of the frame's first byte and of the byte after its last
	Payload    []byte // not kept
}

// Topic is a topic of the cluster. It does not change once made.
type Topic struct {
	ID         uuid.UUID
	Name       string
	Partitions int32 // over all groups
	End        int64 // log position after the frame that created it

	local []*Partition // by partition/groups: those that live in this group
}

// Machine holds the state. One goroutine calls Apply, any number read. Readers never wait for more than in-memory work.
type Machine struct {
	group, groups int32

	mu     sync.RWMutex // guards the maps
	byName map[string]*Topic
	byID   map[uuid.UUID]*Topic
	epoch  int32
}

// New makes the empty state of one group's log. Partition p of a topic lives in group p mod groups.
func New(group, groups int32) *Machine {
	return &Machine{group: group, groups: groups, byName: make(map[string]*Topic), byID: make(map[uuid.UUID]*Topic)}
}

// Apply feeds the next frame. An error (ErrPayload) means that the frame cannot follow the ones before it; the state is
// then as before.
func (m *Machine) Apply(f Frame) error {
	if f.End <= f.Start || f.End-f.Start > 1<<31-1 || f.Epoch < m.epoch {
		return fmt.Errorf("%w: frame of epoch %d after epoch %d at [%d, %d)", ErrPayload, f.Epoch, m.epoch, f.Start, f.End)
	}
	var err error
	switch f.Kind {
	case KindBatch:
		err = m.applyBatch(f)
	case KindTopic:
		err = m.applyTopic(f)
	case KindEpoch:
		err = m.applyEpoch(f)
	default:
		err = fmt.Errorf("%w: kind %d", ErrPayload, f.Kind)
	}
	if err != nil {
		return fmt.Errorf("frame at position %d: %w", f.Start, err)
	}
	m.epoch = f.Epoch
	return nil
}

func (m *Machine) applyBatch(f Frame) error {
	b, h, err := DecodeBatchPayload(f.Payload)
	if err != nil {
		return err
	}
	p := m.Partition(b.Topic, b.Partition)
	if p == nil {
		return fmt.Errorf("%w: batch for unknown partition %d of topic %v", ErrPayload, b.Partition, b.Topic)
	}
	return p.apply(f, b.BaseOffset, h)
}

func (m *Machine) applyTopic(f Frame) error {
	t, err := DecodeTopicPayload(f.Payload)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.byID[t.ID]; t.Delete {
		if old != nil {
			delete(m.byID, old.ID)
			delete(m.byName, old.Name)
		}
		return nil
	} else if old != nil || m.byName[t.Name] != nil {
		return fmt.Errorf("%w: topic %q (%v) exists", ErrPayload, t.Name, t.ID)
	}
	topic := &Topic{ID: t.ID, Name: t.Name, Partitions: t.Partitions, End: f.End}
	for p := m.group; p < t.Partitions; p += m.groups {
		local := &Partition{Topic: t.ID, Name: t.Name, Index: p}
		local.startEpoch(f.Epoch)
		topic.local = append(topic.local, local)
	}
	m.byID[t.ID], m.byName[t.Name] = topic, topic
	return nil
}

func (m *Machine) applyEpoch(f Frame) error {
	if _, err := DecodeEpochPayload(f.Payload); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, t := range m.byID {
		for _, p := range t.local {
			p.startEpoch(f.Epoch)
		}
	}
	return nil
}

// Topics returns all topics in the order of their names.
func (m *Machine) Topics() []*Topic {
	m.mu.RLock()
	out := make([]*Topic, 0, len(m.byName))
	for _, t := range m.byName {
		out = append(out, t)
	}
	m.mu.RUnlock()
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// TopicByName returns nil when there is none.
func (m *Machine) TopicByName(name string) *Topic {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byName[name]
}

// TopicByID returns nil when there is none.
func (m *Machine) TopicByID(id uuid.UUID) *Topic {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byID[id]
}

// Partition returns nil when the topic is unknown, has no such partition, or the partition lives in another group.
func (m *Machine) Partition(topic uuid.UUID, partition int32) *Partition {
	t := m.TopicByID(topic)
	if t == nil {
		return nil
	}
	return t.Local(partition, m.groups)
}

// Local returns the topic's partition when it lives in this group, groups being their number; else nil.
func (t *Topic) Local(partition, groups int32) *Partition {
	i := int(partition / groups)
	if partition < 0 || partition >= t.Partitions || i >= len(t.local) || t.local[i].Index != partition {
		return nil
	}
	return t.local[i]
}
