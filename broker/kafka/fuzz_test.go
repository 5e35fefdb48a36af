package kafka_test

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/stretchr/testify/require"
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

// A batch that passes has a whole header, says its own length, and has the records that it counts.
func FuzzValidateBatch(f *testing.F) {
	f.Add(batch("a", "bb", "ccc"), true)
	f.Add(batch("a")[:61], true)
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
