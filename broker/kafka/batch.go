package kafka

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A record batch, magic 2 (https://kafka.apache.org/documentation/#recordbatch), all integers big endian:
//
//	 0 int64 base offset            23 int32 last offset delta       51 int16 producer epoch
//	 8 int32 length of what follows 27 int64 first timestamp         53 int32 first sequence
//	12 int32 leader epoch           35 int64 max timestamp           57 int32 number of records
//	16 int8  magic                  43 int64 producer id             61 records
//	17 uint32 CRC-32C of what follows
//	21 int16 attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control
const (
	batchPrefix    = 12 // base offset and length
	batchMagicAt   = 16
	batchCRCAt     = 17
	batchAttrsAt   = 21
	batchDeltaAt   = 23
	batchPIDAt     = 43
	batchPEpochAt  = 51
	batchSeqAt     = 53
	batchCountAt   = 57
	batchHeaderLen = 61

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20

	codecNone = 0
	codecZstd = 4
)

// codec returns the compression codec of a batch that has a whole header.
func codec(batch []byte) int { return int(binary.BigEndian.Uint16(batch[batchAttrsAt:]) & attrCodec) }

// ValidateBatch returns nil when records is exactly one record batch that a client may append: magic 2, honest length, CRC and
// counts, neither transactional nor control, at most maxBytes long. The records of an uncompressed batch are
// checked too; compressed ones are taken as they are. The errors wrap the *kerr.Error that Kafka would answer.
func ValidateBatch(records []byte, maxBytes int) error {
	if len(records) <= batchMagicAt {
		return refuse(kerr.InvalidRecord, "%d bytes hold no record batch; send exactly one per partition", len(records))
	}
	if magic := int8(records[batchMagicAt]); magic != 2 {
		return refuse(kerr.UnsupportedForMessageFormat, "message format %d; send record batches of magic 2", magic)
	}
	if len(records) < batchHeaderLen {
		return refuse(kerr.CorruptMessage, "a record batch cut off after %d bytes", len(records))
	}
	be := binary.BigEndian
	size := int64(int32(be.Uint32(records[8:]))) + batchPrefix
	if size < batchHeaderLen || size > int64(len(records)) {
		return refuse(kerr.CorruptMessage, "the record batch claims %d bytes, there are %d", size, len(records))
	}
	if size < int64(len(records)) {
		return refuse(kerr.InvalidRecord, "%d bytes behind the first record batch; send exactly one per partition", int64(len(records))-size)
	}
	if len(records) > maxBytes {
		return refuse(kerr.MessageTooLarge, "the record batch has %d bytes, message.max.bytes is %d", len(records), maxBytes)
	}
	if want, got := be.Uint32(records[batchCRCAt:]), crc32.Checksum(records[batchAttrsAt:], crc32.MakeTable(crc32.Castagnoli)); want != got {
		return refuse(kerr.CorruptMessage, "the record batch's CRC is %08x, its bytes have %08x", want, got)
	}
	if err := validateHeader(records); err != nil {
		return err
	}
	if codec(records) == codecNone {
		return validateRecords(records[batchHeaderLen:], int32(be.Uint32(records[batchCountAt:])))
	}
	return nil
}

func validateHeader(b []byte) error {
	be := binary.BigEndian
	attrs := be.Uint16(b[batchAttrsAt:])
	count, delta := int32(be.Uint32(b[batchCountAt:])), int32(be.Uint32(b[batchDeltaAt:]))
	pid, epoch, seq := int64(be.Uint64(b[batchPIDAt:])), int16(be.Uint16(b[batchPEpochAt:])), int32(be.Uint32(b[batchSeqAt:]))
	switch {
	case attrs&attrControl != 0:
		return refuse(kerr.InvalidRecord, "clients may not write control batches")
	case attrs&attrTransactional != 0:
		return refuse(kerr.InvalidTxnState, "transactional batches are not supported")
	case attrs&attrLogAppendTime != 0:
		return refuse(kerr.InvalidTimestamp, "clients may not write batches with log append time")
	case attrs&attrCodec > codecZstd:
		return refuse(kerr.UnsupportedCompressionType, "compression codec %d", attrs&attrCodec)
	case be.Uint64(b) != 0:
		return refuse(kerr.InvalidRecord, "the base offset is %d; a producer leaves it 0", int64(be.Uint64(b)))
	case count <= 0 || delta != count-1:
		return refuse(kerr.InvalidRecord, "%d records with a last offset delta of %d", count, delta)
	case pid < -1 || (pid >= 0 && (epoch < 0 || seq < 0)): // without a producer id the others mean nothing; kgo counts on
		return refuse(kerr.InvalidRecord, "producer id %d with epoch %d and sequence %d", pid, epoch, seq)
	}
	return nil
}

// validateRecords goes through uncompressed records: each has a varint length, an attributes byte, a timestamp delta, an offset delta, which
// counts from 0, a key, a value and headers.
func validateRecords(b []byte, count int32) error {
	for i := range count {
		size, n := varint32(b)
		if n <= 0 || size < 0 || size > int64(len(b)-n) {
			return refuse(kerr.InvalidRecord, "record %d of %d has no good length", i, count)
		}
		if !goodRecord(b[n:n+int(size)], int64(i)) {
			return refuse(kerr.InvalidRecord, "record %d of %d is damaged or has a wrong offset delta", i, count)
		}
		b = b[n+int(size):]
	}
	if len(b) != 0 {
		return refuse(kerr.InvalidRecord, "%d bytes behind the last of %d records", len(b), count)
	}
	return nil
}

// varint32 is binary.Varint for a 32-bit number: n is not positive for one of more than five bytes, too, which clients do not read.
func varint32(b []byte) (v int64, n int) {
	v, n = binary.Varint(b)
	if n > binary.MaxVarintLen32 || v != int64(int32(v)) {
		return 0, 0
	}
	return v, n
}

// goodRecord says whether r is one whole record of that offset delta.
func goodRecord(r []byte, delta int64) bool {
	if len(r) == 0 {
		return false
	}
	r = r[1:]                // attributes: unused
	_, n := binary.Varint(r) // timestamp delta
	if n <= 0 {
		return false
	}
	r = r[n:]
	ok := true
	next := func() int64 {
		v, n := varint32(r)
		if n <= 0 {
			ok = false
			return 0
		}
		r = r[n:]
		return v
	}
	skip := func(mayBeNull bool) {
		n := next()
		if n == -1 && mayBeNull {
			return
		}
		if n < 0 || n > int64(len(r)) {
			ok = false
			return
		}
		r = r[n:]
	}
	if next() != delta {
		return false
	}
	skip(true) // key
	skip(true) // value
	headers := next()
	for n := headers; n > 0 && ok; n-- {
		skip(false)
		skip(true)
	}
	return ok && headers >= 0 && len(r) == 0
}
