package kafka_test

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/kafka/kafkafake"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// world is a fake cluster behind real servers, on loopback or on a simulated network.
type world struct {
	t       testing.TB
	cluster *kafkafake.Cluster
	servers []*kafka.Server
	addrs   []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
}

func defaultConfig() kafka.Config {
	return kafka.Config{AutoCreateTopics: true, Rand: rand.New(rand.NewPCG(1, 2))}
}

// loopback starts nodes on 127.0.0.1.
func loopback(t testing.TB, nodes int, cfg kafka.Config) *world {
	w := &world{t: t, cluster: kafkafake.New(), dial: (&net.Dialer{}).DialContext}
	for range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		w.start(l, "127.0.0.1", l.Addr().(*net.TCPAddr).Port, cfg)
	}
	return w
}

// simulated starts one node on a simulated network; it is to be called within a bubble.
func simulated(t testing.TB, cfg kafka.Config) *world {
	network := netsim.New(1, netsim.Config{})
	t.Cleanup(network.Close)
	w := &world{t: t, cluster: kafkafake.New(), dial: network.Host("client").Dial}
	l, err := network.Host("n1").Listen("tcp", ":9092")
	require.NoError(t, err)
	w.start(l, "n1", 9092, cfg)
	return w
}

func (w *world) start(l net.Listener, host string, port int, cfg kafka.Config) {
	cfg.Rand = rand.New(rand.NewPCG(7, uint64(port)))
	s := kafka.NewServer(cfg, w.cluster.AddNode(host, int32(port)), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	w.servers = append(w.servers, s)
	w.addrs = append(w.addrs, net.JoinHostPort(host, strconv.Itoa(port)))
	w.t.Cleanup(func() {
		require.NoError(w.t, s.Close())
		require.NoError(w.t, <-done)
	})
}

// raw is a client that sends what it is told and nothing else.
type raw struct {
	t    testing.TB
	nc   net.Conn
	corr int32
}

func (w *world) raw(node int) *raw {
	nc, err := w.dial(context.Background(), "tcp", w.addrs[node])
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = nc.Close() })
	return &raw{t: w.t, nc: nc}
}

// send writes a request at its version and returns its correlation id.
func (r *raw) send(req kmsg.Request) int32 {
	r.corr++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw"))
	_, err := r.nc.Write(f.AppendRequest(nil, req, r.corr))
	require.NoError(r.t, err)
	return r.corr
}

// frame reads one response and returns its correlation id and the rest.
func (r *raw) frame() (int32, []byte) {
	r.t.Helper()
	require.NoError(r.t, r.nc.SetReadDeadline(time.Now().Add(10*time.Second)))
	var size [4]byte
	_, err := io.ReadFull(r.nc, size[:])
	require.NoError(r.t, err)
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(r.nc, body)
	require.NoError(r.t, err)
	return int32(binary.BigEndian.Uint32(body)), body[4:]
}

// receive reads the response to req.
func (r *raw) receive(req kmsg.Request) (int32, kmsg.Response) {
	r.t.Helper()
	corr, body := r.frame()
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != 18 {
		require.Equal(r.t, byte(0), body[0], "tagged fields of the header")
		body = body[1:]
	}
	require.NoError(r.t, resp.ReadFrom(body))
	return corr, resp
}

func call[Resp kmsg.Response](r *raw, req kmsg.Request) Resp {
	r.t.Helper()
	want := r.send(req)
	corr, resp := r.receive(req)
	require.Equal(r.t, want, corr)
	return resp.(Resp)
}

// closed waits until the server has closed the connection, having sent nothing more.
func (r *raw) closed() {
	r.t.Helper()
	require.NoError(r.t, r.nc.SetReadDeadline(time.Now().Add(20*time.Minute)))
	n, err := r.nc.Read(make([]byte, 1))
	require.Zero(r.t, n)
	require.Error(r.t, err)
	require.NotErrorIs(r.t, err, os.ErrDeadlineExceeded, "the server left the connection open")
}

// batch is a record batch of magic 2 with those values.
func batch(values ...string) []byte {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		LastOffsetDelta: int32(len(values)) - 1, NumRecords: int32(len(values)), FirstTimestamp: 1000, MaxTimestamp: 1000,
	}
	for i, v := range values {
		var rec []byte
		rec = append(rec, 0)
		rec = kbin.AppendVarlong(rec, 0)
		rec = kbin.AppendVarint(rec, int32(i))
		rec = kbin.AppendVarint(rec, -1)
		rec = kbin.AppendVarintBytes(rec, []byte(v))
		rec = kbin.AppendVarint(rec, 0)
		b.Records = kbin.AppendVarint(b.Records, int32(len(rec)))
		b.Records = append(b.Records, rec...)
	}
	b.Length = int32(49 + len(b.Records))
	return seal(b.AppendTo(nil))
}

// seal makes the CRC of a batch right.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// values reads the values of uncompressed batches, and their offsets.
func values(t testing.TB, batches []byte) (vs []string, offsets []int64) {
	t.Helper()
	for len(batches) > 0 {
		var b kmsg.RecordBatch
		require.NoError(t, b.ReadFrom(batches))
		batches = batches[12+b.Length:]
		for rs := b.Records; len(rs) > 0; {
			n, used := binary.Varint(rs)
			var rec kmsg.Record
			require.NoError(t, rec.ReadFrom(rs[:used+int(n)]))
			rs = rs[used+int(n):]
			vs = append(vs, string(rec.Value))
			offsets = append(offsets, b.FirstOffset+int64(rec.OffsetDelta))
		}
	}
	return vs, offsets
}

func produceRequest(version, acks int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 10_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	tp := kmsg.NewProduceRequestTopic()
	tp.Topic, tp.Partitions = topic, append(tp.Partitions, p)
	req.Topics = append(req.Topics, tp)
	return req
}

func fetchRequest(version int16, topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = version, -1, 0, 1, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	tp := kmsg.NewFetchRequestTopic()
	tp.Topic, tp.Partitions = topic, append(tp.Partitions, p)
	req.Topics = append(req.Topics, tp)
	return req
}

func (w *world) createTopic(name string, partitions int32) {
	w.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 1000
	tp := kmsg.NewCreateTopicsRequestTopic()
	tp.Topic, tp.NumPartitions, tp.ReplicationFactor = name, partitions, -1
	req.Topics = append(req.Topics, tp)
	resp := call[*kmsg.CreateTopicsResponse](w.raw(0), req)
	require.Zero(w.t, resp.Topics[0].ErrorCode)
}
