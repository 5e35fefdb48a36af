package masterslave

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// world is a cluster of replicas on a simulated network and simulated disks. It lives in a bubble.
type world struct {
	t       *testing.T
	net     *netsim.Network
	admin   *netsim.Host
	members []Member
	options map[string]string
	nodes   map[int32]*machine
	rng     *rand.Rand
	zombies []*Replica // killed, still running against nothing
	nextMsg int
	logs    io.Writer // of nodes that are started from now on; nil: nowhere
}

// machine is one node: its disk survives its replicas.
type machine struct {
	disk *vfs.Disk
	host *netsim.Host
	r    atomic.Pointer[Replica] // nil while down
}

// inBubble runs f on a cluster of n nodes in one group (or as many groups as the option says), all down.
func inBubble(t *testing.T, n int, options map[string]string, f func(w *world)) {
	t.Helper()
	inSeededBubble(t, n, 1, options, f)
}

func inSeededBubble(t *testing.T, n int, seed uint64, options map[string]string, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { withWorld(t, n, seed, options, f) })
}

func withWorld(t *testing.T, n int, seed uint64, options map[string]string, f func(w *world)) {
	w := &world{t: t, net: netsim.New(seed, netsim.Config{}), options: options, nodes: map[int32]*machine{}, rng: rand.New(rand.NewPCG(seed, 1))}
	w.admin = w.net.Host("admin")
	opts, err := ParseOptions(options)
	require.NoError(t, err)
	for i := range n {
		id := int32(i + 1)
		w.members = append(w.members, Member{ID: id, Group: int32(i) / (int32(n) / opts.Groups), Peer: fmt.Sprintf("n%d:9093", id), Kafka: fmt.Sprintf("n%d:9092", id)})
		w.nodes[id] = &machine{disk: vfs.NewDisk(seed*100+uint64(id), vfs.DiskOptions{})}
	}
	defer w.net.Close()
	defer func() {
		for _, m := range w.nodes {
			if r := m.r.Load(); r != nil {
				m.disk.Detach()
				_ = r.Close()
			}
		}
		for _, z := range w.zombies {
			_ = z.Close()
		}
	}()
	f(w)
}

func (w *world) config(id int32) Config {
	opts, err := ParseOptions(w.options)
	require.NoError(w.t, err)
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("ASSAY_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
	}
	if w.logs != nil {
		logger = slog.New(slog.NewTextHandler(w.logs, nil)).With("node", id)
	}
	m := w.nodes[id]
	return Config{Cluster: "test", Node: id, Members: w.members, Options: opts, FS: m.disk, Dial: m.host.Dial,
		Rand: rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64())), Logger: logger}
}

func (w *world) start(ids ...int32) {
	w.t.Helper()
	for _, id := range ids {
		m := w.nodes[id]
		m.host = w.net.Host(fmt.Sprintf("n%d", id))
		r, err := Open(w.config(id))
		require.NoError(w.t, err)
		l, err := m.host.Listen("tcp", ":9093")
		require.NoError(w.t, err)
		r.Start(l)
		m.r.Store(r)
	}
}

func (w *world) all() []int32 {
	ids := make([]int32, len(w.members))
	for i, m := range w.members {
		ids[i] = m.ID
	}
	return ids
}

// crash ends a node at once and leaves its disk as the mode says.
func (w *world) crash(mode vfs.ImageMode, ids ...int32) {
	for _, id := range ids {
		m := w.nodes[id]
		if mode == vfs.KeepCache {
			m.host.Kill()
		} else {
			m.host.PowerOff()
		}
		m.disk, _ = m.disk.Image(mode)
		w.zombies = append(w.zombies, m.r.Swap(nil))
	}
}

// stop ends a node cleanly.
func (w *world) stop(id int32) {
	m := w.nodes[id]
	require.NoError(w.t, m.r.Swap(nil).Close())
	m.host.Kill()
}

func (w *world) status(id int32) Status { return w.nodes[id].r.Load().Status() }

// until waits, in virtual time, for a condition.
func (w *world) until(what string, f func() bool) {
	w.t.Helper()
	for range 6000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	for id, m := range w.nodes {
		if r := m.r.Load(); r != nil {
			w.t.Logf("node %d: %+v", id, r.Status())
		}
	}
	require.Fail(w.t, "not in a virtual minute: "+what)
}

// well waits until a group has recovered, refused followers included.
func (w *world) well(group int32) {
	w.t.Helper()
	var h Health
	defer func() {
		if w.t.Failed() {
			w.t.Logf("health: %+v", h)
		}
	}()
	w.until("group has recovered", func() bool {
		var st []Status
		size := 0
		for _, m := range w.members {
			if m.Group == group {
				size++
				if r := w.nodes[m.ID].r.Load(); r != nil {
					st = append(st, r.Status())
				}
			}
		}
		h = GroupHealth(st, size)
		return h.Recovered(false)
	})
}

func (w *world) leads(id int32) {
	w.t.Helper()
	w.until(fmt.Sprintf("node %d leads", id), func() bool { s := w.status(id); return s.Role == RoleLeader })
}

// topic makes a topic with one partition per group, and fails the test if it cannot.
func (w *world) topic(via int32, name string) {
	w.t.Helper()
	opts, err := ParseOptions(w.options)
	require.NoError(w.t, err)
	_, created, err := w.nodes[via].r.Load().CreateTopic(context.Background(), name, opts.Groups, false)
	require.NoError(w.t, err)
	require.True(w.t, created)
}

func (w *world) part(id int32, topic string) *partitions.Partition {
	return partOf(w.nodes[id].r.Load(), topic)
}

func partOf(m *Replica, topic string) *partitions.Partition {
	t := m.View().Machine.TopicByName(topic)
	if t == nil {
		return nil
	}
	return t.Local(m.self.Group, m.opts.Groups)
}

// batchOf makes a record batch of one record whose payload is text. Its CRC is left out: the replica does not check it.
func batchOf(text string, producer int64, epoch int16, seq int32) []byte {
	b := make([]byte, 61, 61+len(text))
	b = append(b, text...)
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	be.PutUint64(b[43:], uint64(producer))
	be.PutUint16(b[51:], uint16(epoch))
	be.PutUint32(b[53:], uint32(seq))
	be.PutUint32(b[57:], 1)
	return b
}

// send appends a message to topic t on a node and waits for its acknowledgement.
func (w *world) send(id int32, text string) (offset int64, err error) {
	return w.sendAs(id, batchOf(text, -1, -1, -1))
}

func (w *world) sendAs(id int32, batch []byte) (offset int64, err error) {
	return sendTo(w.nodes[id].r.Load(), batch)
}

func sendTo(r *Replica, batch []byte) (offset int64, err error) {
	p := partOf(r, "t")
	if p == nil {
		return -1, kerr.UnknownTopicOrPartition
	}
	a, err := r.Append(context.Background(), p, batch, true)
	if err != nil {
		return -1, err
	}
	return a.BaseOffset, a.Wait(context.Background())
}

// fill sends n messages that must be acknowledged, and returns them.
func (w *world) fill(id int32, n int) []string {
	w.t.Helper()
	out := make([]string, n)
	for i := range out {
		w.nextMsg++
		out[i] = fmt.Sprintf("m%d", w.nextMsg)
		_, err := w.send(id, out[i])
		require.NoError(w.t, err)
	}
	return out
}

// messages reads topic t on a node to the end of its log.
func (w *world) messages(id int32) []string {
	w.t.Helper()
	r := w.nodes[id].r.Load()
	p := partOf(r, "t")
	if p == nil {
		return nil
	}
	var out []string
	for _, e := range p.Batches(0, p.LogEnd(), 1<<30) {
		f, err := r.ReadFrame(e.Start)
		require.NoError(w.t, err)
		b, _, err := partitions.DecodeBatchPayload(f.Payload)
		require.NoError(w.t, err)
		out = append(out, string(b.Batch[61:]))
	}
	return out
}

func (w *world) promote(node int32, force bool) (PromoteResult, error) {
	return Promote(context.Background(), PromoteRequest{Node: node, Force: force}, w.members, w.admin.Dial)
}

func code(err error) *kerr.Error {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke
	}
	return nil
}

// cut drops what the given nodes and the others say to each other; undo ends it.
func (w *world) cut(ids ...int32) (undo func()) {
	var rules []netsim.Rule
	inside := map[int32]bool{}
	for _, id := range ids {
		inside[id] = true
	}
	for _, a := range w.all() {
		for _, b := range w.all() {
			if inside[a] != inside[b] {
				rules = append(rules, netsim.Rule{From: fmt.Sprintf("n%d", a), To: fmt.Sprintf("n%d", b), Drop: true})
			}
		}
	}
	u := w.net.Shape(rules)
	return func() { u() }
}
