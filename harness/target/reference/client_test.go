package reference

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/kafka/kafkafake"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/netsim"
)

// world is a fake cluster of nodes n1, n2, ... with real servers on a simulated network, and a way
// for clients to dial that tests can break.
type world struct {
	t       *testing.T
	net     *netsim.Network
	cluster *kafkafake.Cluster
	seeds   []string

	mu   sync.Mutex
	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: as usual
}

// inWorld runs a test in a bubble, with a topic "t" of as many partitions as nodes; node i+1 leads
// partition i.
func inWorld(t *testing.T, nodes int, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(1, netsim.Config{}), cluster: kafkafake.New()}
		t.Cleanup(w.net.Close)
		for i := range nodes {
			name := fmt.Sprintf("n%d", i+1)
			l, err := w.net.Host(name).Listen("tcp", ":9092")
			require.NoError(t, err)
			node := w.cluster.AddNode(name, 9092)
			s := kafka.NewServer(kafka.Config{Rand: rand.New(rand.NewPCG(1, uint64(i)))}, node, slog.New(slog.DiscardHandler))
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			w.seeds = append(w.seeds, name+":9092")
			if i == nodes-1 {
				_, _, err = node.CreateTopic(t.Context(), kafka.TopicSpec{Name: "t", Partitions: int32(nodes)})
				require.NoError(t, err)
			}
		}
		test(t, w)
	})
}

// breakDial replaces how clients dial from now on; nil mends it.
func (w *world) breakDial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dial = dial
}

func (w *world) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	return w.net.Host("client").Dial(ctx, network, addr)
}

func (w *world) client(o ClientOptions) *Client {
	c, err := NewClient(ClientConfig{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			w.mu.Lock()
			dial := w.dial
			w.mu.Unlock()
			if dial != nil {
				return dial(ctx, network, addr)
			}
			return w.plain(ctx, network, addr)
		},
		Seeds: w.seeds, Topic: "t", Options: o,
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, c.Close()) })
	return c
}

func idempotent() ClientOptions { return ClientOptions{Acks: -1, Idempotence: true} }

func (c *Client) testSend(t *testing.T, part int32, values ...int64) (histories.Op, error) {
	op := histories.New(histories.Invoke, 0, histories.Send)
	op.Part, op.Value = part, values[0]
	if len(values) > 1 {
		op.Value = histories.Unset
		for _, v := range values {
			op.Msgs = append(op.Msgs, histories.Message{Offset: histories.Unset, Value: v})
		}
	}
	return c.Invoke(t.Context(), op)
}

func (c *Client) testRead(t *testing.T, f, node string, part int32, from int64) (histories.Op, error) {
	op := histories.New(histories.Invoke, 0, f)
	op.Part, op.From, op.Node = part, from, node
	return c.Invoke(t.Context(), op)
}

// class is the class of an op's end.
func class(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, harness.ErrNotApplied):
		return "fail"
	case errors.Is(err, harness.ErrWeak):
		return "weak"
	}
	return "info"
}

func TestSendAndRead(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		c := w.client(idempotent())
		for part := range int32(3) {
			for i := range int64(4) {
				op, err := c.testSend(t, part, int64(part)*100+i)
				require.NoError(t, err)
				require.Equal(t, i, op.Offset)
				require.Equal(t, fmt.Sprintf("n%d", part+1), op.Node)
			}
		}
		op, err := c.testSend(t, 1, 7, 8, 9)
		require.NoError(t, err)
		require.Equal(t, []histories.Message{{Offset: 4, Value: 7}, {Offset: 5, Value: 8}, {Offset: 6, Value: 9}}, op.Msgs)
		want := []histories.Message{{Offset: 5, Value: 8}, {Offset: 6, Value: 9}}
		for _, f := range []string{histories.Poll, histories.Final} {
			op, err = c.testRead(t, f, "", 1, 5)
			require.NoError(t, err)
			require.Equal(t, want, op.Msgs)
			require.EqualValues(t, 7, op.HW)
			require.Equal(t, "n2", op.Node)
		}
		start := time.Now()
		op, err = c.testRead(t, histories.Poll, "", 1, 7)
		require.NoError(t, err)
		require.Empty(t, op.Msgs)
		require.EqualValues(t, 7, op.HW)
		require.Less(t, time.Since(start), time.Second)
	})
}

// Every answer of a broker to a Produce has its class, and only those that are known to come before
// the append are fail.
func TestSendClasses(t *testing.T) {
	for _, c := range []struct {
		before, after error
		want          string
		text          string
	}{
		{nil, nil, "ok", ""},
		{nil, fmt.Errorf("copies 1 of 2: %w", kerr.NotEnoughReplicasAfterAppend), "weak", "copies 1 of 2"},
		{fmt.Errorf("not me: %w", kerr.NotLeaderForPartition), nil, "fail", "not me"},
		{kerr.UnknownTopicOrPartition, nil, "fail", "UNKNOWN_TOPIC_OR_PARTITION"},
		{kerr.NotEnoughReplicas, nil, "fail", "NOT_ENOUGH_REPLICAS"},
		{kerr.KafkaStorageError, nil, "fail", "KAFKA_STORAGE_ERROR"},
		{kerr.OutOfOrderSequenceNumber, nil, "fail", "OUT_OF_ORDER"},
		{kerr.InvalidProducerEpoch, nil, "fail", "INVALID_PRODUCER_EPOCH"},
		{kerr.UnknownProducerID, nil, "fail", "UNKNOWN_PRODUCER_ID"},
		{kerr.MessageTooLarge, nil, "fail", "MESSAGE_TOO_LARGE"},
		{kerr.InvalidRecord, nil, "fail", "INVALID_RECORD"},
		{kerr.CorruptMessage, nil, "fail", "CORRUPT_MESSAGE"},
		{nil, fmt.Errorf("leadership moved: %w", kerr.RequestTimedOut), "info", "leadership moved"},
		{kerr.DuplicateSequenceNumber, nil, "info", "DUPLICATE_SEQUENCE"},
		{kerr.LeaderNotAvailable, nil, "info", "LEADER_NOT_AVAILABLE"},
		{errors.New("no idea"), nil, "info", "no idea"},
		{nil, errors.New("no idea"), "info", "no idea"},
	} {
		t.Run(c.want+" "+c.text, func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				w.cluster.SetFaults(kafkafake.Faults{
					BeforeAppend: func(int32, string, int32, []byte) error { return c.before },
					AfterAppend:  func(context.Context, int32, string, int32, int64) error { return c.after },
				})
				cl := w.client(idempotent())
				op, err := cl.testSend(t, 0, 5)
				require.Equal(t, c.want, class(err), "%v", err)
				require.Equal(t, 1, w.cluster.Appends(), "one op is one request")
				if err != nil {
					require.ErrorContains(t, err, c.text)
				}
				if c.want == "ok" || c.want == "weak" {
					require.EqualValues(t, 0, op.Offset)
				}
				w.cluster.SetFaults(kafkafake.Faults{})
				_, err = cl.testSend(t, 0, 6)
				if c.want == "info" {
					require.ErrorIs(t, err, ErrRetired)
					require.ErrorIs(t, err, harness.ErrNotApplied)
					require.Equal(t, 1, w.cluster.Appends())
					return
				}
				require.NoError(t, err, "the client lives on")
			})
		})
	}
}

func TestSendWithoutAcks(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		c := w.client(ClientOptions{Acks: 0})
		_, err := c.testSend(t, 0, 5)
		require.ErrorIs(t, err, ErrNoAck)
		require.Equal(t, "info", class(err))
		time.Sleep(time.Second)
		require.EqualValues(t, 1, w.cluster.End("t", 0))
	})
}

// brokenConn does something to Produce requests instead of writing them.
type brokenConn struct {
	net.Conn
	onProduce func(c net.Conn, p []byte) (int, error)
}

func (c *brokenConn) Write(p []byte) (int, error) {
	if len(p) > 6 && binary.BigEndian.Uint16(p[4:]) == 0 {
		return c.onProduce(c.Conn, p)
	}
	return c.Conn.Write(p)
}

// What a client makes of a connection that breaks around the moment when a Produce is written, and
// how often the request arrives.
func TestConnectionBreaksDuringSend(t *testing.T) {
	reset := &net.OpError{Op: "write", Err: syscall.ECONNRESET}
	for _, c := range []struct {
		name      string
		onProduce func(c net.Conn, p []byte) (int, error)
		want      string
		end       int64 // messages stored
	}{
		{"nothing can be written", func(c net.Conn, _ []byte) (int, error) { _ = c.Close(); return 0, reset }, "fail", 0},
		{"half is written", func(c net.Conn, p []byte) (int, error) {
			n, _ := c.Write(p[:len(p)/2])
			_ = c.Close()
			return n, reset
		}, "info", 0},
		{"all is written, then the connection breaks", func(c net.Conn, p []byte) (int, error) {
			n, err := c.Write(p)
			time.AfterFunc(time.Millisecond, func() { _ = c.Close() })
			return n, err
		}, "info", 1},
		{"all is written, which is reported as an error", func(c net.Conn, p []byte) (int, error) {
			n, _ := c.Write(p)
			time.Sleep(time.Millisecond)
			_ = c.Close()
			return n, reset
		}, "info", 1},
		{"it is lost without a trace", func(_ net.Conn, p []byte) (int, error) { return len(p), nil }, "info", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				w.cluster.Hold() // the answer must not outrun the break
				w.breakDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
					nc, err := w.plain(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					return &brokenConn{nc, c.onProduce}, nil
				})
				cl := w.client(idempotent())
				_, err := cl.testSend(t, 0, 5)
				require.Equal(t, c.want, class(err), "%v", err)
				require.NoError(t, cl.Close())
				time.Sleep(time.Minute)
				require.Equal(t, c.end, w.cluster.End("t", 0))
				require.EqualValues(t, c.end, w.cluster.Appends(), "nothing was sent twice")
			})
		})
	}
}

// A connection on which nothing can be written any more (the broker closed it while it was idle) is
// replaced by kgo, once: the request still arrives exactly once.
func TestStaleConnectionIsReplaced(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		broken := true
		w.breakDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := w.plain(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &brokenConn{nc, func(c net.Conn, p []byte) (int, error) {
				if broken {
					broken = false
					return 0, syscall.EPIPE
				}
				return c.Write(p)
			}}, nil
		})
		_, err := w.client(idempotent()).testSend(t, 0, 5)
		require.NoError(t, err)
		require.Equal(t, 1, w.cluster.Appends())
	})
}

// A dial that is refused is a fail, and the client goes on when there is a broker again.
func TestRefusedDial(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		c := w.client(idempotent())
		_, err := c.testSend(t, 0, 1)
		require.NoError(t, err)
		refused := func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		fresh := w.client(idempotent())
		w.breakDial(refused)
		_, err = fresh.testSend(t, 0, 2)
		require.Equal(t, "fail", class(err), "%v", err)
		_, err = c.testSend(t, 1, 2) // has asked n1 for everything so far, and needs n2 now
		require.Equal(t, "fail", class(err), "%v", err)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		w.breakDial(nil)
		for _, cl := range []*Client{c, fresh} {
			_, err = cl.testSend(t, 1, 3)
			require.NoError(t, err)
		}
		require.Equal(t, 3, w.cluster.Appends())
	})
}

// When the time is over before a byte of the Produce was written, the op has failed: it will not be
// sent later, although the network is mended at that moment.
func TestTimeIsOverBeforeAnythingIsSent(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		c := w.client(idempotent())
		_, err := c.testSend(t, 0, 1)
		require.NoError(t, err)
		w.breakDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		op := histories.New(histories.Invoke, 0, histories.Send)
		op.Part, op.Value = 1, 2
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // shorter than the dial's own
		defer cancel()
		start := time.Now()
		_, err = c.Invoke(ctx, op)
		require.Equal(t, "fail", class(err), "%v", err)
		require.InDelta(t, 0.3, time.Since(start).Seconds(), 0.01)
		w.breakDial(nil)
		time.Sleep(time.Minute)
		require.Zero(t, w.cluster.End("t", 1))
		got, err := c.testSend(t, 1, 3)
		require.NoError(t, err, "the client lives on")
		require.Zero(t, got.Offset)
	})
}

// No answer within the op's time is info, also when the acknowledgement comes later.
func TestNoAnswerInTime(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.cluster.Hold()
		c := w.client(idempotent())
		start := time.Now()
		_, err := c.testSend(t, 0, 5)
		require.Equal(t, "info", class(err), "%v", err)
		require.InDelta(t, DefaultClientTimeout.Seconds(), time.Since(start).Seconds(), 0.1)
	})
}

// A client follows the leader, at the latest the second send after it moved.
func TestLeaderMoves(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		c := w.client(idempotent())
		_, err := c.testSend(t, 0, 1)
		require.NoError(t, err)
		time.Sleep(time.Second)
		w.cluster.Lead("t", 0, 3)
		_, err = c.testSend(t, 0, 2)
		require.Equal(t, "fail", class(err))
		op, err := c.testSend(t, 0, 3)
		require.NoError(t, err)
		require.Equal(t, "n3", op.Node)
		time.Sleep(time.Second)
		w.cluster.Lead("t", 0, 2)
		_, err = c.testRead(t, histories.Poll, "", 0, 0)
		require.Equal(t, "fail", class(err))
		op, err = c.testRead(t, histories.Poll, "", 0, 0)
		require.NoError(t, err)
		require.Equal(t, "n2", op.Node)
		time.Sleep(time.Second)
		w.cluster.Lead("t", 0, -1)
		_, err = c.testSend(t, 0, 4)
		require.Equal(t, "fail", class(err))
		_, err = c.testSend(t, 0, 4)
		require.ErrorContains(t, err, "no leader")
	})
}

// numbers reads producer id and first sequence of a batch.
func numbers(batch []byte) (int64, int32) {
	return int64(binary.BigEndian.Uint64(batch[43:])), int32(binary.BigEndian.Uint32(batch[53:]))
}

// Batches are numbered without gaps by what was stored; after a quarrel about numbers there is a
// new producer.
func TestSequences(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		type seen struct {
			id  int64
			seq int32
		}
		var log []seen
		refuse := error(nil)
		w.cluster.SetFaults(kafkafake.Faults{BeforeAppend: func(_ int32, _ string, _ int32, batch []byte) error {
			id, seq := numbers(batch)
			log = append(log, seen{id, seq})
			return refuse
		}})
		c := w.client(idempotent())
		send := func(part int32, why error, values ...int64) seen {
			refuse = why
			_, err := c.testSend(t, part, values...)
			require.Equal(t, why == nil, err == nil, "%v", err)
			return log[len(log)-1]
		}
		first := send(0, nil, 1, 2, 3)
		require.Positive(t, first.id)
		require.Zero(t, first.seq)
		require.Equal(t, seen{first.id, 3}, send(0, kerr.NotEnoughReplicas, 4))
		require.Equal(t, seen{first.id, 3}, send(0, nil, 5))
		require.Equal(t, seen{first.id, 0}, send(1, nil, 6), "each partition counts for itself")
		require.Equal(t, seen{first.id, 4}, send(0, kerr.OutOfOrderSequenceNumber, 7))
		again := send(0, nil, 8)
		require.NotEqual(t, first.id, again.id)
		require.Zero(t, again.seq)

		plain := w.client(ClientOptions{Acks: 1})
		refuse = nil
		_, err := plain.testSend(t, 0, 9)
		require.NoError(t, err)
		require.Equal(t, seen{-1, -1}, log[len(log)-1])
	})
}

func TestInvokeRefusesNonsense(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		c := w.client(idempotent())
		for _, op := range []histories.Op{
			{F: "dance"}, {F: histories.Send, Part: 7}, {F: histories.Send, Part: -1}, {F: histories.Send, Value: -1},
			{F: histories.Scan}, {F: histories.Scan, Node: "x1"}, {F: histories.Scan, Node: "n0"}, {F: histories.Scan, Node: "n9"}, {F: histories.Poll, Part: 7},
		} {
			_, err := c.Invoke(t.Context(), op)
			require.Equal(t, "fail", class(err), "%+v: %v", op, err)
		}
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		_, err := c.testSend(t, 0, 1)
		require.ErrorIs(t, err, ErrRetired)
		require.Zero(t, w.cluster.Appends())
	})
	for _, cfg := range []ClientConfig{{}, {Seeds: []string{"x"}, Topic: "t"}} {
		_, err := NewClient(cfg)
		require.Error(t, err)
	}
}
