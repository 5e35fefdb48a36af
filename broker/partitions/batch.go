package partitions

import (
	"encoding/binary"
	"fmt"
)

// Byte positions in a v2 record batch (KIP-98; https://kafka.apache.org/documentation/#recordbatch):
//
//	base offset i64 | length i32 | partition leader epoch i32 | magic i8 | crc u32 | attributes i16 | last offset delta i32 |
//	first timestamp i64 | max timestamp i64 | producer id i64 | producer epoch i16 | base sequence i32 | count i32 | records
//
// The CRC covers everything after itself, so base offset and leader epoch may be set without touching it.
const (
	batchLengthAt      = 8
	batchEpochAt       = 12
	batchMagicAt       = 16
	batchAttributesAt  = 21
	batchLastDeltaAt   = 23
	batchMaxTimeAt     = 35
	batchProducerAt    = 43
	batchProdEpochAt   = 51
	batchBaseSeqAt     = 53
	batchCountAt       = 57
	batchHeaderBytes   = 61
	batchLengthCovered = 12 // bytes before the ones that the length field counts
)

// BatchHeader is what the broker needs to know of a record batch.
type BatchHeader struct {
	BaseOffset      int64
	LeaderEpoch     int32
	Attributes      int16
	LastOffsetDelta int32
	MaxTimestamp    int64 // ms
	ProducerID      int64 // -1 for none
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32
}

// ParseBatch reads the header of one v2 record batch that fills b exactly. It checks lengths and counts, not the CRC.
func ParseBatch(b []byte) (BatchHeader, error) {
	if len(b) < batchHeaderBytes {
		return BatchHeader{}, fmt.Errorf("record batch of %d bytes", len(b))
	}
	be := binary.BigEndian
	h := BatchHeader{
		BaseOffset:      int64(be.Uint64(b)),
		LeaderEpoch:     int32(be.Uint32(b[batchEpochAt:])),
		Attributes:      int16(be.Uint16(b[batchAttributesAt:])),
		LastOffsetDelta: int32(be.Uint32(b[batchLastDeltaAt:])),
		MaxTimestamp:    int64(be.Uint64(b[batchMaxTimeAt:])),
		ProducerID:      int64(be.Uint64(b[batchProducerAt:])),
		ProducerEpoch:   int16(be.Uint16(b[batchProdEpochAt:])),
		BaseSequence:    int32(be.Uint32(b[batchBaseSeqAt:])),
		Count:           int32(be.Uint32(b[batchCountAt:])),
	}
	switch {
	case b[batchMagicAt] != 2:
		return BatchHeader{}, fmt.Errorf("record batch with magic %d", b[batchMagicAt])
	case int64(int32(be.Uint32(b[batchLengthAt:])))+batchLengthCovered != int64(len(b)):
		return BatchHeader{}, fmt.Errorf("record batch says %d bytes, has %d", int32(be.Uint32(b[batchLengthAt:])), len(b)-batchLengthCovered)
	case h.LastOffsetDelta < 0 || h.Count < 1 || h.Count-1 > h.LastOffsetDelta:
		return BatchHeader{}, fmt.Errorf("record batch of %d records with last offset delta %d", h.Count, h.LastOffsetDelta)
	}
	return h, nil
}

// StampBatch sets base offset and partition leader epoch in place. The batch must have passed ParseBatch.
func StampBatch(b []byte, baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b, uint64(baseOffset))
	binary.BigEndian.PutUint32(b[batchEpochAt:], uint32(leaderEpoch))
}

// LastSequence is the sequence number of the batch's last record; sequence numbers wrap from 2^31-1 to 0.
func (h BatchHeader) LastSequence() int32 {
	return addSequence(h.BaseSequence, h.LastOffsetDelta)
}

func addSequence(seq, delta int32) int32 {
	return int32((int64(seq) + int64(delta)) & 0x7fffffff)
}
