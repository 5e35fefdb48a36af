package reference

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/kafka/kafkafake"
	"github.com/assay-project/assay/histories"
)

// Final reads go on until the high watermark, whatever a chunk may hold; scans until the log end of
// the node that they name.
func TestReadToEnd(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		c, err := NewClient(ClientConfig{Dial: w.plain, Seeds: w.seeds, Topic: "t", Options: ClientOptions{Acks: 1}, PayloadBytes: 900 << 10})
		require.NoError(t, err)
		defer c.Close()
		const n = 12 // three chunks
		for i := range int64(n) {
			_, err := c.testSend(t, 0, i)
			require.NoError(t, err)
		}
		w.cluster.Hold()
		_, err = c.testSend(t, 0, n)
		require.NoError(t, err)
		op, err := c.testRead(t, histories.Final, "", 0, 0)
		require.NoError(t, err)
		require.Len(t, op.Msgs, n)
		require.EqualValues(t, n, op.HW)
		for i, m := range op.Msgs {
			require.Equal(t, histories.Message{Offset: int64(i), Value: int64(i)}, m)
		}
		op, err = c.testRead(t, histories.Scan, "n2", 0, 0)
		require.NoError(t, err)
		require.Len(t, op.Msgs, n+1)
		require.EqualValues(t, n+1, op.HW)
		require.Equal(t, "n2", op.Node)
	})
}

// One answer holds no more messages than a line of the history can take; the next read goes on
// behind them.
func TestReadToEndInSeveralAnswers(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		c, err := NewClient(ClientConfig{Dial: w.plain, Seeds: w.seeds, Topic: "t", Options: ClientOptions{Acks: 1}, PayloadBytes: 64})
		require.NoError(t, err)
		defer c.Close()
		const batch, batches = 2000, readMost/2000 + 40
		for i := range int64(batches) {
			op := histories.New(histories.Invoke, 0, histories.Send)
			for j := range int64(batch) {
				op.Msgs = append(op.Msgs, histories.Message{Offset: histories.Unset, Value: i*batch + j})
			}
			_, err := c.Invoke(t.Context(), op)
			require.NoError(t, err)
		}
		first, err := c.testRead(t, histories.Final, "", 0, 0)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(first.Msgs), readMost)
		require.Less(t, len(first.Msgs), batch*batches)
		require.EqualValues(t, batch*batches, first.HW)
		rest, err := c.testRead(t, histories.Final, "", 0, int64(len(first.Msgs)))
		require.NoError(t, err)
		require.Len(t, rest.Msgs, batch*batches-len(first.Msgs))
		require.EqualValues(t, len(first.Msgs), rest.Msgs[0].Offset)
	})
}

// A chunk that fails in the middle leaves a good prefix; one that fails at once leaves a failed op.
func TestReadToEndBreaksOff(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		c, err := NewClient(ClientConfig{Dial: w.plain, Seeds: w.seeds, Topic: "t", Options: ClientOptions{Acks: 1}, PayloadBytes: 900 << 10})
		require.NoError(t, err)
		defer c.Close()
		for i := range int64(8) {
			_, err := c.testSend(t, 0, i)
			require.NoError(t, err)
		}
		reads := 0
		w.cluster.SetFaults(kafkafake.Faults{BeforeRead: func(int32, string, int32, kafka.Reader) error {
			if reads++; reads > 1 {
				return kerr.OffsetNotAvailable
			}
			return nil
		}})
		op, err := c.testRead(t, histories.Final, "", 0, 0)
		require.NoError(t, err)
		require.NotEmpty(t, op.Msgs)
		require.Less(t, len(op.Msgs), 8)
		require.EqualValues(t, 8, op.HW)
		_, err = c.testRead(t, histories.Final, "", 0, 0)
		require.Equal(t, "fail", class(err))
		require.ErrorIs(t, err, kerr.OffsetNotAvailable)
	})
}

func TestReadFromFollower(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		o := idempotent()
		o.ReadFollower = true
		c := w.client(o)
		_, err := c.testSend(t, 0, 1)
		require.NoError(t, err)
		_, err = c.testRead(t, histories.Poll, "", 0, 0)
		require.Equal(t, "fail", class(err), "followers do not serve yet")
		w.cluster.ServeFollowers()
		asked := map[string]int{}
		for range 10 {
			op, err := c.testRead(t, histories.Poll, "", 0, 0)
			require.NoError(t, err)
			require.Len(t, op.Msgs, 1)
			asked[op.Node]++
		}
		require.Equal(t, map[string]int{"n2": 5, "n3": 5}, asked)
		op, err := c.testRead(t, histories.Final, "", 0, 0)
		require.NoError(t, err)
		require.Equal(t, "n1", op.Node, "final reads ask the leader")
		op, err = c.testRead(t, histories.Poll, "n3", 0, 0)
		require.NoError(t, err)
		require.Equal(t, "n3", op.Node)
	})
}

func TestFailedReadsAreFail(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		c := w.client(idempotent())
		_, err := c.testRead(t, histories.Poll, "", 0, 5)
		require.Equal(t, "fail", class(err))
		require.ErrorIs(t, err, kerr.OffsetOutOfRange)
		for _, why := range []error{kerr.FencedLeaderEpoch, kerr.OffsetNotAvailable, errors.New("no idea")} {
			w.cluster.SetFaults(kafkafake.Faults{BeforeRead: func(int32, string, int32, kafka.Reader) error { return why }})
			_, err = c.testRead(t, histories.Poll, "", 0, 0)
			require.Equal(t, "fail", class(err))
		}
		w.cluster.SetFaults(kafkafake.Faults{})
		_, err = c.testRead(t, histories.Poll, "", 0, 0)
		require.NoError(t, err, "the client lives on")
	})
}

// kgo's producer repeats what was refused; what it gives up on is info once anything was sent, and
// fail when nothing was.
func TestSendRetrying(t *testing.T) {
	for _, idempotence := range []bool{true, false} {
		t.Run(fmt.Sprint("idempotence=", idempotence), func(t *testing.T) {
			inWorld(t, 2, func(t *testing.T, w *world) {
				o := ClientOptions{Acks: -1, Idempotence: idempotence, Retries: 20}
				c := w.client(o)
				refusals := 3
				w.cluster.SetFaults(kafkafake.Faults{BeforeAppend: func(int32, string, int32, []byte) error {
					if refusals--; refusals >= 0 {
						return kerr.NotEnoughReplicas
					}
					return nil
				}})
				op, err := c.testSend(t, 1, 5)
				require.NoError(t, err)
				require.Zero(t, op.Offset)
				require.Equal(t, 4, w.cluster.Appends())
				op, err = c.testSend(t, 1, 6, 7)
				require.NoError(t, err)
				require.Equal(t, []histories.Message{{Offset: 1, Value: 6}, {Offset: 2, Value: 7}}, op.Msgs)

				hanging := w.client(o)
				_, err = hanging.testSend(t, 0, 8)
				require.NoError(t, err)
				w.cluster.SetFaults(kafkafake.Faults{AfterAppend: func(context.Context, int32, string, int32, int64) error {
					return kerr.NotEnoughReplicasAfterAppend
				}})
				start := time.Now()
				_, err = hanging.testSend(t, 0, 9)
				require.Equal(t, "info", class(err), "%v", err)
				require.LessOrEqual(t, time.Since(start), DefaultClientTimeout+time.Second)
			})
		})
	}
}

// What kgo's producer still holds when an op's time is over is dropped with its client, and sent by
// nobody.
func TestSendRetryingNothingSent(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		c := w.client(ClientOptions{Acks: -1, Idempotence: true, Retries: 3})
		w.breakDial(func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED })
		_, err := c.testSend(t, 0, 5)
		require.Equal(t, "fail", class(err), "%v", err)
		w.breakDial(nil)
		time.Sleep(time.Minute)
		require.Zero(t, w.cluster.Appends())
		_, err = c.testSend(t, 0, 6)
		require.NoError(t, err)
		require.EqualValues(t, 1, w.cluster.End("t", 0))
	})
}

func TestPayload(t *testing.T) {
	for _, v := range []int64{0, 1, 42, 1<<63 - 1} {
		for _, size := range []int{0, payloadMin, payloadMin + 1, 1024} {
			p := appendPayload([]byte("x"), v, size)[1:]
			require.Len(t, p, max(size, payloadMin))
			require.Equal(t, v, payloadValue(p))
			for i := range p[:payloadMin] {
				p[i] ^= 1
				require.Less(t, payloadValue(p), int64(histories.Unset), "flipped a bit of byte %d", i)
				p[i] ^= 1
			}
		}
	}
	for _, p := range []string{"", "hello", "assay:", "assay:0000000000000000042:00000000", string(appendPayload(nil, 1, 60)) + "x"} {
		require.Less(t, payloadValue([]byte(p)), int64(histories.Unset), p)
	}
}

func TestDecodeBatches(t *testing.T) {
	now := time.UnixMilli(1000)
	none := producer{id: -1, epoch: -1, sequence: -1}
	at := func(base int64, values ...int64) []byte {
		b := encodeBatch(values, 0, none, now)
		binary.BigEndian.PutUint64(b, uint64(base))
		return b
	}
	require.NoError(t, kafka.ValidateBatch(at(0, 1, 2, 3), 1<<20), "the broker takes what is made here")
	two := append(at(10, 1, 2), at(12, 3)...)
	got, err := decodeBatches(nil, two, 11)
	require.NoError(t, err)
	require.Equal(t, []histories.Message{{Offset: 11, Value: 2}, {Offset: 12, Value: 3}}, got)
	got, err = decodeBatches(nil, two[:len(two)-1], 0)
	require.NoError(t, err)
	require.Len(t, got, 2, "the cut off batch is left out")

	flipped := at(5, 1, 2)
	flipped[len(flipped)-3] ^= 1
	compressed := at(5, 1, 2)
	compressed[22] = 2
	binary.BigEndian.PutUint32(compressed[17:], batchCRC(compressed))
	for _, b := range [][]byte{flipped, compressed} {
		got, err = decodeBatches(nil, b, 0)
		require.NoError(t, err)
		require.Len(t, got, 2)
		require.Less(t, got[0].Value, int64(histories.Unset), "damage is a phantom by construction")
		require.Less(t, got[1].Value, int64(histories.Unset))
	}
	for _, bad := range [][]byte{make([]byte, 61), func() []byte { b := at(0, 1); b[16] = 1; return b }()} {
		_, err = decodeBatches(nil, bad, 0)
		require.Error(t, err)
	}
}

// Whatever a broker answers, decoding does not panic and says nothing below the offset that was
// asked for.
func FuzzDecodeBatches(f *testing.F) {
	f.Add(encodeBatch([]int64{1, 2, 3}, 0, producer{id: 7}, time.UnixMilli(5)), int64(1))
	f.Add([]byte(nil), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		got, _ := decodeBatches(nil, b, from)
		for _, m := range got {
			require.GreaterOrEqual(t, m.Offset, from)
		}
	})
}

// The values can be read by any Kafka client.
func TestPayloadIsPlainText(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		_, err := w.client(idempotent()).testSend(t, 0, 42)
		require.NoError(t, err)
		cl, err := kgo.NewClient(kgo.SeedBrokers(w.seeds...), kgo.Dialer(w.plain), kgo.ConsumeTopics("t"), kgo.DisableClientMetrics())
		require.NoError(t, err)
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		require.Equal(t, 1, fetches.NumRecords())
		require.Regexp(t, `^assay:0000000000000000042:[0-9a-f]{8}$`, string(fetches.Records()[0].Value))
	})
}
