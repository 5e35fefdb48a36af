package kafka_test

import (
	"encoding/binary"
	"testing"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// changed is a good batch of three records with some bytes changed, and the CRC made right again.
func changed(change func(b []byte) []byte) []byte { return seal(change(batch("a", "bb", "ccc"))) }

// oneRecord is a batch of one record with those bytes behind its length: attributes, timestamp delta, offset delta, key, value, headers.
func oneRecord(record ...byte) []byte {
	b := append(batch("a")[:61], byte(2*len(record)))
	b = append(b, record...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	return seal(b)
}

func TestValidateBatch(t *testing.T) {
	be := binary.BigEndian
	resize := func(b []byte) []byte { be.PutUint32(b[8:], uint32(len(b)-12)); return b }
	for _, c := range []struct {
		name  string
		batch []byte
		want  *kerr.Error // nil: good
	}{
		{"good", batch("a", "bb", "ccc"), nil},
		{"idempotent", changed(func(b []byte) []byte {
			be.PutUint64(b[43:], 9)
			be.PutUint16(b[51:], 0)
			be.PutUint32(b[53:], 7)
			return b
		}), nil},
		{"compressed, records not looked at", changed(func(b []byte) []byte { b[22] = 1; b[70] ^= 0xff; return b }), nil},
		{"sequence without producer", changed(func(b []byte) []byte { be.PutUint32(b[53:], 7); return b }), nil},
		{"empty", nil, kerr.InvalidRecord},
		{"16 bytes", make([]byte, 16), kerr.InvalidRecord},
		{"message set, magic 0", make([]byte, 40), kerr.UnsupportedForMessageFormat},
		{"magic 3", changed(func(b []byte) []byte { b[16] = 3; return b }), kerr.UnsupportedForMessageFormat},
		{"cut in the header", batch("a")[:40], kerr.CorruptMessage},
		{"cut in the records", batch("a")[:65], kerr.CorruptMessage},
		{"length below the header", changed(func(b []byte) []byte { be.PutUint32(b[8:], 48); return b }), kerr.CorruptMessage},
		{"negative length", changed(func(b []byte) []byte { be.PutUint32(b[8:], 1<<31); return b }), kerr.CorruptMessage},
		{"length beyond int32", changed(func(b []byte) []byte { be.PutUint32(b[8:], 1<<31-1); return b }), kerr.CorruptMessage},
		{"bytes behind", append(batch("a"), 0), kerr.InvalidRecord},
		{"wrong CRC", func() []byte { b := batch("a"); b[17] ^= 1; return b }(), kerr.CorruptMessage},
		{"bit flip in a record", func() []byte { b := batch("a"); b[len(b)-2] ^= 1; return b }(), kerr.CorruptMessage},
		{"control batch", changed(func(b []byte) []byte { b[22] = 0x20; return b }), kerr.InvalidRecord},
		{"transactional", changed(func(b []byte) []byte { b[22] = 0x10; return b }), kerr.InvalidTxnState},
		{"log append time", changed(func(b []byte) []byte { b[22] = 0x08; return b }), kerr.InvalidTimestamp},
		{"codec 5", changed(func(b []byte) []byte { b[22] = 5; return b }), kerr.UnsupportedCompressionType},
		{"base offset", changed(func(b []byte) []byte { b[7] = 1; return b }), kerr.InvalidRecord},
		{"no records", changed(func(b []byte) []byte {
			be.PutUint32(b[57:], 0)
			be.PutUint32(b[23:], ^uint32(0))
			return resize(b[:61])
		}), kerr.InvalidRecord},
		{"negative count", changed(func(b []byte) []byte { be.PutUint32(b[57:], 1<<31); return b }), kerr.InvalidRecord},
		{"delta does not fit the count", changed(func(b []byte) []byte { be.PutUint32(b[23:], 3); return b }), kerr.InvalidRecord},
		{"more records counted than there are", changed(func(b []byte) []byte { be.PutUint32(b[57:], 4); be.PutUint32(b[23:], 3); return b }), kerr.InvalidRecord},
		{"fewer records counted than there are", changed(func(b []byte) []byte { be.PutUint32(b[57:], 2); be.PutUint32(b[23:], 1); return b }), kerr.InvalidRecord},
		{"wrong offset delta in a record", changed(func(b []byte) []byte { b[64] = 2; return b }), kerr.InvalidRecord},
		{"record longer than the batch", changed(func(b []byte) []byte { b[61] = 0x7e; return b }), kerr.InvalidRecord},
		{"good record", oneRecord(0, 0, 0, 1, 1, 0), nil},
		{"negative number of headers", oneRecord(0, 0, 0, 1, 1, 1), kerr.InvalidRecord},
		{"header without key", oneRecord(0, 0, 0, 1, 1, 2, 1, 1), kerr.InvalidRecord},
		{"more headers than there are", oneRecord(0, 0, 0, 1, 1, 4, 0, 1), kerr.InvalidRecord},
		{"two thousand million headers", oneRecord(0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f), kerr.InvalidRecord},
		{"key longer than the record", oneRecord(0, 0, 0, 8, 1, 0), kerr.InvalidRecord},
		{"key of length -2", oneRecord(0, 0, 0, 3, 1, 0), kerr.InvalidRecord},
		{"bytes behind the headers", oneRecord(0, 0, 0, 1, 1, 0, 0), kerr.InvalidRecord},
		{"varint of six bytes", oneRecord(0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0), kerr.InvalidRecord},
		{"varint beyond 32 bits", oneRecord(0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x20), kerr.InvalidRecord},
		{"varint that does not end", oneRecord(0, 0, 0, 1, 1, 0x80), kerr.InvalidRecord},
		{"timestamp delta that does not end", oneRecord(0, 0x80), kerr.InvalidRecord},
		{"timestamp delta of ten bytes", oneRecord(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 1, 0), nil},
		{"empty record", oneRecord(), kerr.InvalidRecord},
		{"producer id -2", changed(func(b []byte) []byte { be.PutUint64(b[43:], ^uint64(1)); return b }), kerr.InvalidRecord},
		{"producer without epoch", changed(func(b []byte) []byte { be.PutUint64(b[43:], 9); be.PutUint32(b[53:], 7); return b }), kerr.InvalidRecord},
		{"producer without sequence", changed(func(b []byte) []byte { be.PutUint64(b[43:], 9); be.PutUint16(b[51:], 0); return b }), kerr.InvalidRecord},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := kafka.ValidateBatch(c.batch, 1<<20)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
		})
	}
	require.ErrorIs(t, kafka.ValidateBatch(batch("aaaa"), 50), kerr.MessageTooLarge)
}
