package kafka

import (
	"context"

	"github.com/google/uuid"
)

// Backend is what the protocol server serves. Its methods may be called from any number of goroutines. Errors that a Kafka
// client must see are (wrapped) *kerr.Error values; the text of the outermost error becomes the response's error message. Any other
// error is answered UNKNOWN_SERVER_ERROR and logged.
type Backend interface {
	// Cluster describes brokers and topics as this node knows them.
	Cluster() ClusterView
	// CreateTopic creates the topic, or returns it when it exists with created=false. It returns when every group's leader has
	// recorded it.
	CreateTopic(ctx context.Context, spec TopicSpec) (view TopicView, created bool, err error)
	// DeleteTopic deletes by name, or by id when name is empty.
	DeleteTopic(ctx context.Context, name string, id uuid.UUID) error
	// Partition finds the replica of a partition on this node, by its topic's id unless that is uuid.Nil, else by name. A partition that
	// lives elsewhere is NOT_LEADER_OR_FOLLOWER, an unknown one UNKNOWN_TOPIC_OR_PARTITION, an unknown id UNKNOWN_TOPIC_ID.
	Partition(topic string, id uuid.UUID, partition int32) (Partition, error)
	// Progress returns a channel that is closed at the next change of what any local partition can serve (committed or
	// log end moved, role changed). Take it before reading, wait on it after.
	Progress() <-chan struct{}
}

// ClusterView is a snapshot; the caller does not change it.
type ClusterView struct {
	ClusterID    string
	NodeID       int32
	ControllerID int32
	Brokers      []BrokerView
	Topics       []TopicView
}

// BrokerView is one broker's advertised address.
type BrokerView struct {
	ID   int32
	Host string
	Port int32
}

// TopicSpec asks for a topic. Partitions 0 means the default.
type TopicSpec struct {
	Name         string
	Partitions   int32
	ValidateOnly bool
}

// TopicView is one topic and its partitions, by number.
type TopicView struct {
	Name       string
	ID         uuid.UUID
	Partitions []PartitionView
}

// PartitionView says who leads and who replicates a partition. Leader is -1 when nobody is known to lead; in master-slave mode it keeps naming
// a dead leader.
type PartitionView struct {
	Leader      int32
	LeaderEpoch int32
	Replicas    []int32
	ISR         []int32
	Offline     []int32
}

// Reader says on whose behalf a read is made, which decides how far it may go and who may answer it.
type Reader uint8

const (
	// Consumer reads below the committed offset, from the leader (or from a follower that is allowed to serve it).
	Consumer Reader = iota
	// Scanner (replica id -2) reads this replica, whatever its role, to its log end.
	Scanner
)

// Partition is one local replica of a partition.
type Partition interface {
	// Append stores one record batch (magic 2; offsets not yet assigned; validated by the server as to framing, CRC and
	// counts) and returns as soon as the batch has its place in this node's log, without waiting for its flush or for copies. Batches of
	// sequential calls are stored in the order of the calls; the server appends the next request of a connection while
	// Appended.Wait of the one before is still waited for. The batch is the callee's from here on: it may be modified and kept.
	// A refusal before the append is NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR or a sequence
	// error: then nothing was stored. What goes wrong later is told by Appended.Wait. A duplicate of a known batch is no error: it
	// is answered with the original's offset, and waits as the original does. ctx ends when the server closes.
	Append(ctx context.Context, batch []byte, acks int16) (Appended, error)
	// Read returns whole batches from the one that contains offset on, at most maxBytes of them; with atLeastOne it returns one batch
	// whatever its size, when there is any, and without it nothing is read from the log that is not returned.
	// leaderEpoch is the client's, -1 for none; an older one is FENCED_LEADER_EPOCH, a newer one UNKNOWN_LEADER_EPOCH. An
	// offset outside [LogStart, limit] is OFFSET_OUT_OF_RANGE; a leader that may not serve yet answers OFFSET_NOT_AVAILABLE.
	Read(as Reader, offset int64, maxBytes int, atLeastOne bool, leaderEpoch int32) (Fetched, error)
	// Offsets answers ListOffsets. timestamp is in ms, or -1 (latest) or -2 (earliest).
	Offsets(as Reader, timestamp int64, leaderEpoch int32) (Listed, error)
	// EpochEnd answers OffsetForLeaderEpoch: the greatest known epoch not above epoch, and the offset at which it ended; -1 and -1 for none.
	EpochEnd(epoch int32, leaderEpoch int32) (foundEpoch int32, endOffset int64, err error)
}

// Appended is where a batch was stored.
type Appended struct {
	BaseOffset int64
	LogStart   int64
	// Wait waits until the batch is acknowledged as acks demands (-1: everything that the configuration promises), and is nil
	// when there is nothing to wait for (acks 0 and 1). It is called at most once, from any goroutine, and may never be called; it
	// returns at the latest when the backend's own timeout, counted from the append, has passed, or with ctx's error when ctx ends. Its
	// other errors are NOT_ENOUGH_REPLICAS_AFTER_APPEND (stored, under-replicated or unflushed: the base offset is valid) and
	// REQUEST_TIMED_OUT (unknown).
	Wait func(ctx context.Context) error
}

// Fetched is the answer to a read.
type Fetched struct {
	Batches   []byte // concatenated record batches
	Committed int64  // first offset that a consumer cannot read yet, as this replica knows it (the high watermark)
	LogStart  int64
	LogEnd    int64
}

// Listed is the answer to ListOffsets; Offset -1 when no record has that timestamp.
type Listed struct {
	Timestamp   int64
	Offset      int64
	LeaderEpoch int32
}
