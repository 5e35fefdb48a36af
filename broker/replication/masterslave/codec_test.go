package masterslave

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

func TestOptions(t *testing.T) {
	o, err := ParseOptions(nil)
	require.NoError(t, err)
	require.Equal(t, Options{Copies: 1, Groups: 1, Timeout: 3 * time.Second, DefaultPartitions: 3, AutoCreate: true}, o)
	o, err = ParseOptions(map[string]string{"replication": "sync", "copies": "3", "groups": "2", "flush": "sync", "follower-read": "true",
		"visible": "appended", "replication.timeout.ms": "50", "partitions": "7", "auto.create.topics.enable": "false"})
	require.NoError(t, err)
	require.Equal(t, Options{Copies: 3, Groups: 2, Flush: FlushSync, FollowerRead: true, VisibleAppended: true, Timeout: 50 * time.Millisecond, DefaultPartitions: 7}, o)
	o, err = ParseOptions(map[string]string{"replication": "sync", "flush": "leader"})
	require.NoError(t, err)
	require.Equal(t, 2, o.Copies)
	require.Equal(t, FlushLeader, o.Flush)
	for _, m := range []map[string]string{nil, {"replication": "sync", "copies": "4", "flush": "leader", "visible": "appended", "groups": "3"}, {"flush": "sync", "follower-read": "true"}} {
		o, err := ParseOptions(m)
		require.NoError(t, err)
		again, err := ParseOptions(o.Values())
		require.NoError(t, err)
		require.Equal(t, o, again)
	}
	for _, bad := range []struct{ key, value, want string }{
		{"flush", "maybe", `option flush="maybe": allowed are async, sync, leader`},
		{"copies", "2", "needs replication=sync"},
		{"replication", "", "allowed are async, sync"},
		{"groups", "0", "allowed are 1 or more"},
		{"partitions", "4097", "1 to 4096"},
		{"replication.timeout.ms", "3s", "1 to 3600000"},
		{"auto.create.topics.enable", "yes", "true, false"},
		{"min.insync.replicas", "2", "unknown option"},
	} {
		_, err := ParseOptions(map[string]string{bad.key: bad.value})
		require.ErrorContains(t, err, bad.want, bad.key)
	}
	for _, d := range OptionDocs() {
		require.NotEmpty(t, d.Doc)
		require.NotEmpty(t, d.Allowed)
	}
}

func TestMeta(t *testing.T) {
	disk := vfs.NewDisk(1, vfs.DiskOptions{})
	_, found, err := loadMeta(disk)
	require.NoError(t, err)
	require.False(t, found)
	m := meta{Cluster: "c", Group: 1, Node: 2, Groups: 3, Members: []int32{2, 5}, Epoch: 7, Leading: true}
	require.NoError(t, storeMeta(disk, m))
	got, found, err := loadMeta(disk)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, m, got)
	f, err := disk.Open(metaName, false)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	for off := range size {
		require.NoError(t, disk.FlipBit(metaName, off, 3))
		_, _, err := loadMeta(disk)
		require.ErrorIs(t, err, ErrMeta, "byte %d", off)
		require.NoError(t, disk.FlipBit(metaName, off, 3))
	}
	left, err := disk.Open(metaTempName, true)
	require.NoError(t, err)
	_, err = left.WriteAt(make([]byte, 2*size), 0)
	require.NoError(t, err)
	require.NoError(t, storeMeta(disk, m), "over what a crash has left of a longer one")
	got, _, err = loadMeta(disk)
	require.NoError(t, err)
	require.Equal(t, m, got)
	f, err = disk.Open(metaName, false)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size-1))
	_, _, err = loadMeta(disk)
	require.ErrorIs(t, err, ErrMeta)
}

// A crash in the middle of a replacement leaves the old file or the new one, and after storeMeta has returned the new one.
func TestMetaSurvivesPowerLoss(t *testing.T) {
	for seed := range uint64(200) {
		disk := vfs.NewDisk(seed, vfs.DiskOptions{})
		require.NoError(t, storeMeta(disk, meta{Epoch: 1}))
		disk.FailSync(seed%2 == 0)
		err := storeMeta(disk, meta{Epoch: 2})
		disk.FailSync(false)
		disk, _ = disk.Image(vfs.PowerLoss)
		m, found, loadErr := loadMeta(disk)
		require.NoError(t, loadErr)
		require.True(t, found)
		if err == nil {
			require.EqualValues(t, 2, m.Epoch)
		} else {
			require.ErrorIs(t, err, vfs.ErrSync)
			require.EqualValues(t, 1, m.Epoch, "the new content was never durable, so it must not have replaced the old")
		}
	}
}

func FuzzMeta(f *testing.F) {
	b, err := encodeMeta(meta{Cluster: "c", Epoch: 3})
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		// With a right checksum, so that more than that is looked at.
		if len(b) >= 12 {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[8:], crcOf(b[12:]))
		}
		m, found, err := decodeMeta(b)
		require.Equal(t, err == nil, found)
		if found {
			_, err := encodeMeta(m)
			require.NoError(t, err)
		}
	})
}

func TestWireRoundTrip(t *testing.T) {
	p := pull{Group: 1, Node: 2, Config: 10, Incarnation: 3, Session: 4, Epoch: 5, From: 6, Chain: 7, LastEpoch: 8, Flushed: 9, Joining: true}
	got, err := decodePull(appendPull(nil, p))
	require.NoError(t, err)
	require.Equal(t, p, got)
	s := shipment{Verdict: verdictOK, Epoch: 1, Session: 2, End: 4, Committed: 3, Serving: true, Frames: []byte{1}}
	back, err := decodeShipment(append(appendShipmentHead(nil, s), s.Frames...))
	require.NoError(t, err)
	require.Equal(t, s, back)
	fl := flushed{Session: 1, Position: 2}
	gotFl, err := decodeFlushed(appendFlushed(nil, fl))
	require.NoError(t, err)
	require.Equal(t, fl, gotFl)
}

// A message of any kind decodes to something that encodes to the same bytes, or is refused with errWire or an end of input.
func FuzzWire(f *testing.F) {
	f.Add(seal(appendPull(message(msgPull, 0), pull{Epoch: 1})))
	f.Add(seal(append(appendShipmentHead(message(msgFrames, 0), shipment{Verdict: verdictOK, End: 1}), 1, 2, 3)))
	f.Add(seal(appendFlushed(message(msgFlushed, 0), flushed{Session: 1})))
	f.Add(seal(append(message(msgRequest, 0), `{"op":"status"}`...)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, body, err := readMessage(bufio.NewReader(bytes.NewReader(b)), func(byte) int { return maxFramesBytes })
		if err != nil {
			require.True(t, errors.Is(err, errWire) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
			return
		}
		var again []byte
		switch typ {
		case msgPull:
			p, e := decodePull(body)
			again, err = appendPull(nil, p), e
		case msgFrames:
			s, e := decodeShipment(body)
			again, err = append(appendShipmentHead(nil, s), s.Frames...), e
		case msgFlushed:
			x, e := decodeFlushed(body)
			again, err = appendFlushed(nil, x), e
		case msgRequest:
			var r request
			again, err = body, decodeJSON(body, &r)
		case msgResponse:
			var r response
			again, err = body, decodeJSON(body, &r)
		default:
			return
		}
		if err != nil {
			require.ErrorIs(t, err, errWire)
			return
		}
		require.Equal(t, body, again)
	})
}

// What breaks the protocol closes its connection, and nothing else.
func TestGarbageAtThePeerPort(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		same := w.nodes[1].r.Load().config
		for name, b := range map[string][]byte{
			"not ours":             []byte("GET / HTTP/1.1\r\n\r\n"),
			"huge":                 {0xff, 0xff, 0xff, 0xff, 1, 1},
			"version":              seal([]byte{0, 0, 0, 0, 9, msgRequest, '{', '}'}),
			"a leader's answer":    seal(appendShipmentHead(message(msgFrames, 0), shipment{Verdict: verdictOK})),
			"bad JSON":             seal(append(message(msgRequest, 0), '{')),
			"short pull":           seal(message(msgPull, 0)),
			"a stranger's pull":    seal(appendPull(message(msgPull, 0), pull{Node: 99, Config: same, Epoch: 3})),
			"its own pull":         seal(appendPull(message(msgPull, 0), pull{Node: 1, Config: same, Epoch: 3})),
			"flushed first":        seal(appendFlushed(message(msgFlushed, 0), flushed{Session: 1})),
			"configured otherwise": seal(appendPull(message(msgPull, 0), pull{Node: 2, Config: same + 1, Epoch: 3})),
			"two pulls at once":    bytes.Repeat(seal(appendPull(message(msgPull, 0), pull{Node: 2, Config: same, Epoch: 3})), 5),
		} {
			conn, err := w.admin.Dial(context.Background(), "tcp", "n1:9093")
			require.NoError(t, err)
			_, err = conn.Write(b)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
			_, err = io.Copy(io.Discard, conn)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%s: the connection stays open", name)
			require.NoError(t, conn.Close())
		}
		// A connection that says nothing is closed, too.
		conn, err := w.admin.Dial(context.Background(), "tcp", "n1:9093")
		require.NoError(t, err)
		start := time.Now()
		_, _ = io.Copy(io.Discard, conn)
		require.Less(t, time.Since(start), idleTimeout+time.Second)
		w.fill(1, 3)
		w.well(0)
	})
}

// Connections are bounded, and the ones over the bound are closed at once.
func TestPeerConnectionsAreBounded(t *testing.T) {
	inBubble(t, 1, async(), func(w *world) {
		w.up()
		for range w.nodes[1].r.Load().maxPeerConns() {
			_, err := w.admin.Dial(context.Background(), "tcp", "n1:9093")
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		conn, err := w.admin.Dial(context.Background(), "tcp", "n1:9093")
		require.NoError(t, err)
		start := time.Now()
		_, _ = io.Copy(io.Discard, conn)
		require.Less(t, time.Since(start), time.Second)
		time.Sleep(2 * idleTimeout)
		_, err = QueryStatus(context.Background(), w.admin.Dial, "n1:9093")
		require.NoError(t, err, "the silent ones are gone")
	})
}
