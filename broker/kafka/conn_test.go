package kafka_test

import (
	"encoding/binary"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lengthOf is a frame's length field.
func lengthOf(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// alive says that the server answers a new connection.
func (w *world) alive() {
	w.t.Helper()
	require.Zero(w.t, call[*kmsg.ApiVersionsResponse](w.raw(0), kmsg.NewPtrApiVersionsRequest()).ErrorCode)
}

func TestMalformedFramesCloseTheConnection(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	header := func(key, version int16) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return append(b, 0, 0, 0, 1, 0xff, 0xff)
	}
	frame := func(b []byte) []byte { return append(lengthOf(uint32(len(b))), b...) }
	for name, sent := range map[string][]byte{
		"negative length":        lengthOf(1 << 31),
		"zero length":            lengthOf(0),
		"shorter than a header":  append(lengthOf(7), 0, 0, 0, 0, 0, 0, 0),
		"larger than allowed":    lengthOf(100 << 20),
		"http":                   []byte("GET / HTTP/1.1\r\n\r\n"),
		"tls":                    {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x00, 0x00, 0x00, 0x00},
		"large but no produce":   append(lengthOf(2<<20), header(3, 1)...),
		"body missing":           frame(header(1, 4)),
		"client id cut off":      frame([]byte{0, 3, 0, 1, 0, 0, 0, 1, 0, 9, 'x'}),
		"huge array":             frame(append(header(3, 1), 0x7f, 0xff, 0xff, 0xff)),
		"four billion tags":      frame(append(header(3, 9), 0, 0xff, 0xff, 0xff, 0xff, 0x0f)),
		"four billion body tags": frame(append(header(60, 0), 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f)),
		"bad varint":             frame(append(header(3, 9), 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
	} {
		t.Run(name, func(t *testing.T) {
			r := w.raw(0)
			before := w.servers[0].Stats().Malformed
			_, err := r.nc.Write(sent)
			require.NoError(t, err)
			r.closed()
			require.Equal(t, before+1, w.servers[0].Stats().Malformed)
			w.alive()
		})
	}
}

// What came before a malformed request is answered.
func TestGoodRequestsBeforeABadOneAreAnswered(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	req := produceRequest(9, -1, "t", 0, batch("v"))
	for range 5 {
		r.send(req)
	}
	_, err := r.nc.Write(lengthOf(3))
	require.NoError(t, err)
	for range 5 {
		_, resp := r.receive(req)
		require.Zero(t, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	}
	r.closed()
}

// A claimed length costs nothing until the bytes come.
func TestClaimedLengthIsNotAllocated(t *testing.T) {
	cfg := defaultConfig()
	cfg.MaxRequestBytes = 512 << 20
	w := loopback(t, 1, cfg)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 8 {
		r := w.raw(0)
		_, err := r.nc.Write(append(lengthOf(500<<20), 0, 0, 0, 9, 0, 0, 0, 1, 'x'))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return w.servers[0].Stats().Connections == 8 }, 5*time.Second, time.Millisecond)
	w.alive()
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

func TestLargeRequestArrives(t *testing.T) {
	cfg := defaultConfig()
	cfg.MaxMessageBytes = 8 << 20
	w := loopback(t, 1, cfg)
	w.createTopic("t", 1)
	r := w.raw(0)
	value := strings.Repeat("0123456789", 700_000)
	require.Zero(t, onePart(r, produceRequest(9, -1, "t", 0, batch(value))).ErrorCode)
	req := fetchRequest(12, "t", 0, 0)
	got, _ := values(t, fetched(r, req).RecordBatches)
	require.Equal(t, []string{value}, got)
}

func TestHalfOpenConnectionsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []byte
		want time.Duration
	}{
		{"silent", nil, kafka.DefaultIdleTimeout},
		{"half a length", []byte{0, 0}, kafka.DefaultIdleTimeout},
		{"half a request", append(lengthOf(100), 0, 3, 0, 1), kafka.DefaultIOTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := simulated(t, defaultConfig())
				r := w.raw(0)
				start := time.Now()
				if c.sent != nil {
					_, err := r.nc.Write(c.sent)
					require.NoError(t, err)
				}
				r.closed()
				require.InDelta(t, c.want.Seconds(), time.Since(start).Seconds(), 1)
				require.Zero(t, w.servers[0].Stats().Connections)
			})
		})
	}
}

// A client that asks and does not read is given up, and does not hold the others up.
func TestSlowReaderIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		p := w.raw(0)
		for range 4 {
			require.Zero(t, onePart(p, produceRequest(9, -1, "t", 0, batch(strings.Repeat("x", 900<<10)))).ErrorCode)
		}
		slow := w.raw(0)
		req := fetchRequest(12, "t", 0, 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 16<<20, 16<<20
		for range 10 {
			slow.send(req)
		}
		time.Sleep(time.Second)
		require.Zero(t, onePart(p, produceRequest(9, -1, "t", 0, batch("v"))).ErrorCode)
		require.EqualValues(t, 2, w.servers[0].Stats().Connections-1, "createTopic's, the producer's and the slow one's")
		time.Sleep(kafka.DefaultIOTimeout + time.Second)
		require.EqualValues(t, 1, w.servers[0].Stats().Connections-1)
		w.alive()
	})
}

func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig()
		cfg.MaxConnections = 3
		w := simulated(t, cfg)
		first := w.raw(0)
		w.raw(0)
		w.raw(0)
		time.Sleep(time.Second)
		w.raw(0).closed()
		require.EqualValues(t, 1, w.servers[0].Stats().Refused)
		require.NoError(t, first.nc.Close())
		time.Sleep(time.Second)
		w.alive()
	})
}

// A client that goes away ends what is waited for on its behalf: the server has no goroutine left for it.
func TestClientGoesAwayWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		time.Sleep(kafka.DefaultIdleTimeout + time.Minute) // createTopic's connection is gone
		w.cluster.Hold()
		waiting, polling := w.raw(0), w.raw(0)
		req := produceRequest(9, -1, "t", 0, batch("v"))
		req.TimeoutMillis = 300_000
		waiting.send(req)
		poll := fetchRequest(12, "t", 0, 0)
		poll.MaxWaitMillis = 300_000
		polling.send(poll)
		time.Sleep(time.Second)
		require.EqualValues(t, 2, w.servers[0].Stats().Connections)
		require.NoError(t, waiting.nc.Close())
		require.NoError(t, polling.nc.Close())
		time.Sleep(time.Second)
		require.Zero(t, w.servers[0].Stats().Connections)
	})
}

// Close ends everything at once, whatever is waited for; it can be repeated, and Serve afterwards is refused.
func TestCloseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		w.cluster.Hold()
		producer, consumer, silent := w.raw(0), w.raw(0), w.raw(0)
		for range 10 {
			producer.send(produceRequest(9, -1, "t", 0, batch("v")))
		}
		poll := fetchRequest(12, "t", 0, 0)
		poll.MaxWaitMillis = 300_000
		consumer.send(poll)
		time.Sleep(time.Second)
		start := time.Now()
		require.NoError(t, w.servers[0].Close())
		require.Less(t, time.Since(start), time.Second)
		require.NoError(t, w.servers[0].Close())
		for _, r := range []*raw{producer, consumer, silent} {
			r.closed()
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.ErrorIs(t, w.servers[0].Serve(l), kafka.ErrServerClosed)
	})
}
