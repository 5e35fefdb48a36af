package reference

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/histories"
)

// A payload is text, so that any tool shows it:
//
//	assay:0000000000000000042:1c291ca3......
//
// the value in 19 digits, the CRC-32 (IEEE) of what stands before it in 8 hexadecimal digits, and dots up to the wanted size.
const (
	payloadPrefix = "assay:"
	payloadDigits = 19
	payloadSigned = len(payloadPrefix) + payloadDigits + 1 // what the checksum covers
	payloadSum    = 8
	payloadMin    = payloadSigned + payloadSum
	payloadFill   = '.'
)

// appendPayload appends the payload of a value, which is not negative.
func appendPayload(dst []byte, value int64, size int) []byte {
	start := len(dst)
	dst = append(dst, payloadPrefix...)
	dst = appendPadded(dst, uint64(value), 10, payloadDigits)
	dst = append(dst, ':')
	dst = appendPadded(dst, uint64(crc32.ChecksumIEEE(dst[start:])), 16, payloadSum)
	for range size - payloadMin {
		dst = append(dst, payloadFill)
	}
	return dst
}

// appendPadded appends v with at least width digits.
func appendPadded(dst []byte, v uint64, base, width int) []byte {
	var digits [64]byte
	b := strconv.AppendUint(digits[:0], v, base)
	for range width - len(b) {
		dst = append(dst, '0')
	}
	return append(dst, b...)
}

// payloadValue returns the value of a payload. Whatever appendPayload cannot have made is a negative number below Unset, the same for the same bytes.
func payloadValue(p []byte) int64 {
	if len(p) < payloadMin || string(p[:len(payloadPrefix)]) != payloadPrefix || p[payloadSigned-1] != ':' {
		return noValue(p)
	}
	value, err := strconv.ParseUint(string(p[len(payloadPrefix):payloadSigned-1]), 10, 63)
	var digits [payloadSum]byte
	sum := appendPadded(digits[:0], uint64(crc32.ChecksumIEEE(p[:payloadSigned])), 16, payloadSum)
	if err != nil || !bytes.Equal(sum, p[payloadSigned:payloadMin]) || len(bytes.Trim(p[payloadMin:], string(payloadFill))) > 0 {
		return noValue(p)
	}
	return int64(value)
}

// noValue is what stands for bytes that this client cannot have written: a number below Unset.
func noValue(p []byte) int64 { return histories.Unset - 1 - int64(crc32.ChecksumIEEE(p)) }

// producer is what an idempotent producer puts on a batch; the zero producer with id -1 is none.
type producer struct {
	id       int64
	epoch    int16
	sequence int32
}

const (
	batchHeader   = 61
	batchLengthAt = 8
	batchCRCAt    = 17
	batchAttrsAt  = 21
)

// encodeBatch makes one uncompressed record batch (magic 2) of values.
func encodeBatch(values []int64, payloadBytes int, by producer, now time.Time) []byte {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		LastOffsetDelta:      int32(len(values) - 1),
		FirstTimestamp:       now.UnixMilli(),
		MaxTimestamp:         now.UnixMilli(),
		ProducerID:           by.id,
		ProducerEpoch:        by.epoch,
		FirstSequence:        by.sequence,
		NumRecords:           int32(len(values)),
	}
	var record, payload []byte
	for i, v := range values {
		payload = appendPayload(payload[:0], v, payloadBytes)
		record = append(record[:0], 0)         // attributes
		record = kbin.AppendVarlong(record, 0) // timestamp delta
		record = kbin.AppendVarint(record, int32(i))
		record = kbin.AppendVarint(record, -1) // no key
		record = kbin.AppendVarintBytes(record, payload)
		record = kbin.AppendVarint(record, 0) // no headers
		b.Records = kbin.AppendVarint(b.Records, int32(len(record)))
		b.Records = append(b.Records, record...)
	}
	b.Length = int32(batchHeader - batchLengthAt - 4 + len(b.Records))
	out := b.AppendTo(make([]byte, 0, batchHeader+len(b.Records)))
	binary.BigEndian.PutUint32(out[batchCRCAt:], batchCRC(out))
	return out
}

func batchCRC(batch []byte) uint32 {
	return crc32.Checksum(batch[batchAttrsAt:], crc32.MakeTable(crc32.Castagnoli))
}

// decodeBatches appends the messages of concatenated record batches from offset on. A last batch that is cut off is left out, as Kafka
// clients do. A message that this client cannot have written, all those of a damaged or compressed batch included, has a negative value. The error
// says that the bytes are no record batches.
func decodeBatches(dst []histories.Message, batches []byte, from int64) ([]histories.Message, error) {
	for len(batches) >= batchHeader {
		size := batchLengthAt + 4 + int64(int32(binary.BigEndian.Uint32(batches[batchLengthAt:])))
		if size < batchHeader {
			return dst, fmt.Errorf("a record batch of %d bytes", size)
		}
		if size > int64(len(batches)) {
			break
		}
		b := batches[:size:size]
		batches = batches[size:]
		var err error
		if dst, err = decodeBatch(dst, b, from); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// maxBatchRecords bounds what a damaged count can make of a batch.
const maxBatchRecords = 1 << 16

func decodeBatch(dst []histories.Message, b []byte, from int64) ([]histories.Message, error) {
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b); err != nil {
		return dst, fmt.Errorf("a record batch: %w", err)
	}
	if rb.Magic != 2 || rb.NumRecords < 0 || rb.NumRecords > maxBatchRecords {
		return dst, fmt.Errorf("a record batch of magic %d with %d records", rb.Magic, rb.NumRecords)
	}
	good := uint32(rb.CRC) == batchCRC(b) && rb.Attributes&7 == 0
	rest := rb.Records
	for i := range rb.NumRecords {
		m := histories.Message{Offset: rb.FirstOffset + int64(i)}
		if good {
			var r kmsg.Record
			size, n := binary.Varint(rest)
			good = n > 0 && size >= 0 && size <= int64(len(rest)-n) && r.ReadFrom(rest[:n+int(size)]) == nil && r.OffsetDelta == i
			if good {
				m.Value = payloadValue(r.Value)
				rest = rest[n+int(size):]
			}
		}
		if !good {
			m.Value = noValue(b)
		}
		if m.Offset >= from {
			dst = append(dst, m)
		}
	}
	return dst, nil
}
