package kafka_test

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Whatever comes over a connection, the server does not panic, answers or closes, and goes on with other connections.
func FuzzRequestFrame(f *testing.F) {
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("fuzz"))
	for key, versions := range served {
		for _, version := range versions {
			req, _ := filled(key, version, [16]byte{1})
			req.SetVersion(version)
			f.Add(formatter.AppendRequest(nil, req, 1)[4:], true)
		}
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, false)
	cfg := defaultConfig()
	cfg.MaxConnections = 100_000
	cfg.IOTimeout = 50 * time.Millisecond
	served := loopback(f, 1, cfg)
	served.createTopic("t", 1)
	f.Fuzz(func(t *testing.T, sent []byte, framed bool) {
		w := *served
		w.t = t
		if framed {
			sent = append(binary.BigEndian.AppendUint32(nil, uint32(len(sent))), sent...)
		}
		r := w.raw(0)
		defer r.nc.Close()
		_, _ = r.nc.Write(sent) // the server may close before it has read everything
		require.NoError(t, r.nc.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		_, _ = io.ReadFull(r.nc, make([]byte, 4))
		w.alive()
	})
}

// withHeaders is a batch of one idempotent record with a key, no value and two headers, one of them null; without its CRC.
func withHeaders() []byte {
	b := kmsg.RecordBatch{Magic: 2, ProducerID: 7, NumRecords: 1, FirstTimestamp: 5, MaxTimestamp: 5}
	rec := []byte{0}
	rec = kbin.AppendVarlong(rec, 0)
	rec = kbin.AppendVarint(rec, 0)
	rec = kbin.AppendVarintBytes(rec, []byte("key"))
	rec = kbin.AppendVarint(rec, -1)
	rec = kbin.AppendVarint(rec, 2)
	rec = kbin.AppendVarintBytes(rec, []byte("h1"))
	rec = kbin.AppendVarintBytes(rec, []byte("v1"))
	rec = kbin.AppendVarintBytes(rec, []byte("h2"))
	rec = kbin.AppendVarint(rec, -1)
	b.Records = append(kbin.AppendVarint(nil, int32(len(rec))), rec...)
	b.Length = int32(49 + len(b.Records))
	return b.AppendTo(nil)
}

// A batch that passes has a whole header, says its own length, and has the records that it counts.
func FuzzValidateBatch(f *testing.F) {
	f.Add(batch("a", "bb", "ccc"), true)
	f.Add(batch("a")[:61], true)
	f.Add(seal(withHeaders()), true)
	gzipped := batch("a", "b") // says that it is compressed
	gzipped[22] = 1
	f.Add(seal(gzipped), true)
	f.Add(batch(strings.Repeat("x", 300)), false)
	f.Add([]byte(nil), false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= 61 {
			seal(b)
		}
		if kafka.ValidateBatch(b, 1<<20) != nil {
			return
		}
		var rb kmsg.RecordBatch
		require.NoError(t, rb.ReadFrom(b))
		require.Len(t, b, int(rb.Length)+12)
		require.Positive(t, rb.NumRecords)
		require.Equal(t, rb.NumRecords-1, rb.LastOffsetDelta)
		if rb.Attributes&7 == 0 {
			got, offsets := values(t, b)
			require.Len(t, got, int(rb.NumRecords))
			for i, o := range offsets {
				require.EqualValues(t, i, o)
			}
		}
	})
}
