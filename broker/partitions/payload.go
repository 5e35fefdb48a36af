package partitions

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Kinds of frames in a group's log.
const (
	KindBatch uint8 = 1 // a Kafka record batch of one partition
	KindTopic uint8 = 2 // a topic is created or deleted
	KindEpoch uint8 = 3 // the first frame of an epoch
)

// Limits of what a payload may state, so that bytes from a disk or a peer cannot ask for more memory than they are worth.
const (
	MaxTopicName      = 249  // bytes, as in Kafka
	MaxPartitions     = 4096 // of one topic
	batchPayloadHead  = 16 + 4 + 8
	topicPayloadHead  = 1 + 16 + 4 + 2
	epochPayloadBytes = 4
)

// ErrPayload is returned for a payload that does not decode, or that does not fit the log before it.
var ErrPayload = errors.New("partitions: bad payload")

// BatchPayload is the decoded payload of a batch frame:
//
//	topic id [16] | partition u32 | base offset u64 | record batch (v2, to the end)
//
// Integers are big endian. The record batch is ready for the wire: base offset and partition leader epoch are set in it.
type BatchPayload struct {
	Topic      uuid.UUID
	Partition  int32
	BaseOffset int64
	Batch      []byte // aliases the payload
}

// AppendBatchPayload appends the payload of a batch frame to dst.
func AppendBatchPayload(dst []byte, topic uuid.UUID, partition int32, baseOffset int64, batch []byte) []byte {
	dst = append(dst, topic[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(baseOffset))
	return append(dst, batch...)
}

// DecodeBatchPayload decodes the payload of a batch frame and checks the batch's header against it.
func DecodeBatchPayload(p []byte) (BatchPayload, BatchHeader, error) {
	if len(p) < batchPayloadHead {
		return BatchPayload{}, BatchHeader{}, fmt.Errorf("%w: batch of %d bytes", ErrPayload, len(p))
	}
	var b BatchPayload
	copy(b.Topic[:], p)
	b.Partition = int32(binary.BigEndian.Uint32(p[16:]))
	b.BaseOffset = int64(binary.BigEndian.Uint64(p[20:]))
	b.Batch = p[batchPayloadHead:]
	h, err := ParseBatch(b.Batch)
	if err != nil {
		return BatchPayload{}, BatchHeader{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if b.Partition < 0 || b.BaseOffset < 0 || h.BaseOffset != b.BaseOffset {
		return BatchPayload{}, BatchHeader{}, fmt.Errorf("%w: partition %d, base offset %d, batch says %d",
			ErrPayload, b.Partition, b.BaseOffset, h.BaseOffset)
	}
	return b, h, nil
}

// TopicPayload is the decoded payload of a topic frame:
//
//	op u8 (1 create, 2 delete) | topic id [16] | partitions u32 | name length u16 | name
type TopicPayload struct {
	Delete     bool
	ID         uuid.UUID
	Partitions int32 // of the whole topic, over all groups
	Name       string
}

// AppendTopicPayload appends the payload of a topic frame to dst.
func AppendTopicPayload(dst []byte, t TopicPayload) []byte {
	op := byte(1)
	if t.Delete {
		op = 2
	}
	dst = append(dst, op)
	dst = append(dst, t.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Partitions))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Name)))
	return append(dst, t.Name...)
}

// DecodeTopicPayload decodes the payload of a topic frame.
func DecodeTopicPayload(p []byte) (TopicPayload, error) {
	if len(p) < topicPayloadHead {
		return TopicPayload{}, fmt.Errorf("%w: topic of %d bytes", ErrPayload, len(p))
	}
	t := TopicPayload{Delete: p[0] == 2, Partitions: int32(binary.BigEndian.Uint32(p[17:]))}
	copy(t.ID[:], p[1:])
	name := p[topicPayloadHead:]
	switch {
	case p[0] != 1 && p[0] != 2:
		return TopicPayload{}, fmt.Errorf("%w: topic operation %d", ErrPayload, p[0])
	case int(binary.BigEndian.Uint16(p[21:])) != len(name) || len(name) == 0 || len(name) > MaxTopicName:
		return TopicPayload{}, fmt.Errorf("%w: topic name of %d bytes", ErrPayload, len(name))
	case t.Partitions < 1 || t.Partitions > MaxPartitions:
		return TopicPayload{}, fmt.Errorf("%w: topic with %d partitions", ErrPayload, t.Partitions)
	case t.ID == uuid.Nil:
		return TopicPayload{}, fmt.Errorf("%w: topic without id", ErrPayload)
	}
	t.Name = string(name)
	return t, nil
}

// AppendEpochPayload appends the payload of an epoch frame, the leader's node id, to dst. The epoch itself is the frame's.
func AppendEpochPayload(dst []byte, leader int32) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(leader))
}

// DecodeEpochPayload returns the leader that an epoch frame names.
func DecodeEpochPayload(p []byte) (leader int32, err error) {
	if len(p) != epochPayloadBytes {
		return 0, fmt.Errorf("%w: epoch of %d bytes", ErrPayload, len(p))
	}
	return int32(binary.BigEndian.Uint32(p)), nil
}
