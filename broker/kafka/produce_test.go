package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assay-project/assay/broker/kafka/kafkafake"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// onePart sends a Produce for one partition and returns its result.
func onePart(r *raw, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	r.t.Helper()
	return call[*kmsg.ProduceResponse](r, req).Topics[0].Partitions[0]
}

func TestProduceRefusals(t *testing.T) {
	w := loopback(t, 2, defaultConfig())
	w.createTopic("t", 2) // node 1 leads partition 0, node 2 partition 1
	set := func(at int, v byte) []byte { b := batch("v"); b[at] = v; return seal(b) }
	for _, c := range []struct {
		name string
		req  *kmsg.ProduceRequest
		want *kerr.Error
		text string
	}{
		{"acks 2", produceRequest(9, 2, "t", 0, batch("v")), kerr.InvalidRequiredAcks, "acks is 2"},
		{"other leader", produceRequest(9, -1, "t", 1, batch("v")), kerr.NotLeaderForPartition, "node 2 does"},
		{"unknown partition", produceRequest(9, -1, "t", 2, batch("v")), kerr.UnknownTopicOrPartition, "t"},
		{"negative partition", produceRequest(9, -1, "t", -2, batch("v")), kerr.UnknownTopicOrPartition, "t"},
		{"unknown topic", produceRequest(9, -1, "nope", 0, batch("v")), kerr.UnknownTopicOrPartition, "nope"},
		{"no batch", produceRequest(9, -1, "t", 0, nil), kerr.InvalidRecord, "no record batch"},
		{"two batches", produceRequest(9, -1, "t", 0, append(batch("v"), batch("w")...)), kerr.InvalidRecord, "exactly one"},
		{"too large", produceRequest(9, -1, "t", 0, batch(strings.Repeat("x", 1<<20))), kerr.MessageTooLarge, "message.max.bytes"},
		{"magic 1", produceRequest(9, -1, "t", 0, set(16, 1)), kerr.UnsupportedForMessageFormat, "magic 2"},
		{"magic 0 of an old client", produceRequest(0, 1, "t", 0, set(16, 0)), kerr.UnsupportedForMessageFormat, ""},
		{"magic 1 of an old client", produceRequest(2, 1, "t", 0, set(16, 1)), kerr.UnsupportedForMessageFormat, ""},
		{"zstd before version 7", produceRequest(6, -1, "t", 0, set(22, 4)), kerr.UnsupportedCompressionType, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := onePart(w.raw(0), c.req)
			require.Equal(t, c.want.Code, p.ErrorCode)
			require.EqualValues(t, -1, p.BaseOffset)
			if c.req.Version >= 8 {
				require.Contains(t, *p.ErrorMessage, c.text)
			}
		})
	}
	transactional := produceRequest(9, -1, "t", 0, batch("v"))
	transactional.TransactionID = kmsg.StringPtr("tx")
	require.Equal(t, kerr.InvalidTxnState.Code, onePart(w.raw(0), transactional).ErrorCode)
	require.Zero(t, w.cluster.End("t", 0), "nothing was stored")
	require.Zero(t, w.cluster.End("t", 1))
}

// What the backend says reaches the client: the code of the wrapped protocol error and the text
// around it.
func TestProduceTellsTheBackendsErrors(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	for _, c := range []struct {
		err  error
		code int16
		base int64
		text string
	}{
		{fmt.Errorf("copies 1 of 2: %w", kerr.NotEnoughReplicasAfterAppend), kerr.NotEnoughReplicasAfterAppend.Code, 0, "copies 1 of 2"},
		{fmt.Errorf("leadership moved: %w", kerr.RequestTimedOut), kerr.RequestTimedOut.Code, -1, "leadership moved"},
		{errors.New("disk on fire"), kerr.UnknownServerError.Code, -1, "disk on fire"},
	} {
		w.cluster.SetFaults(kafkafake.Faults{AfterAppend: func(context.Context, int32, string, int32, int64) error { return c.err }})
		p := onePart(w.raw(0), produceRequest(9, -1, "t", 0, batch("v")))
		require.Equal(t, c.code, p.ErrorCode)
		require.Equal(t, c.base, p.BaseOffset)
		require.Contains(t, *p.ErrorMessage, c.text)
	}
	require.EqualValues(t, 3, w.cluster.End("t", 0))
}

// A Produce that is not acknowledged yet does not keep the next ones from being appended, and the
// responses come in order.
func TestProduceIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		w.cluster.Hold()
		r := w.raw(0)
		const n = 100
		for i := range n {
			r.send(produceRequest(9, -1, "t", 0, batch(fmt.Sprint(i))))
		}
		time.Sleep(time.Second)
		require.EqualValues(t, n, w.cluster.End("t", 0), "appended while nothing is acknowledged")
		leader := onePart(w.raw(0), produceRequest(9, 1, "t", 0, batch("acks=1")))
		require.EqualValues(t, n, leader.BaseOffset, "acks=1 waits for no commit")
		w.cluster.Release()
		for i := range n {
			corr, resp := r.receive(produceRequest(9, -1, "t", 0, nil))
			require.EqualValues(t, i+1, corr)
			p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode)
			require.EqualValues(t, i, p.BaseOffset)
		}
	})
}

// At most MaxInFlight Produce requests of a connection wait; what comes after is not even read from
// the network's buffers for long.
func TestProduceInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig()
		cfg.MaxInFlight = 4
		w := simulated(t, cfg)
		w.createTopic("t", 1)
		w.cluster.Hold()
		r := w.raw(0)
		for range 50 {
			r.send(produceRequest(9, -1, "t", 0, batch("v")))
		}
		time.Sleep(time.Second)
		require.LessOrEqual(t, w.cluster.End("t", 0), int64(4+2), "the queue, one being answered, one waiting for the queue")
		w.cluster.Release()
		for range 50 {
			r.receive(produceRequest(9, -1, "t", 0, nil))
		}
	})
}

// A Produce for many partitions is answered before the next one is started: what many of them would
// leave waiting has no other bound.
func TestWideProducesAreNotPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		w.cluster.Hold()
		r := w.raw(0)
		wide := produceRequest(9, -1, "t", 0, batch("v"))
		for range 600 {
			wide.Topics[0].Partitions = append(wide.Topics[0].Partitions, kmsg.NewProduceRequestTopicPartition())
		}
		for range 10 {
			r.send(wide)
		}
		time.Sleep(time.Second)
		require.EqualValues(t, 1, w.cluster.End("t", 0))
		w.cluster.Release()
		for i := range 10 {
			corr, resp := r.receive(wide)
			require.EqualValues(t, i+1, corr)
			require.EqualValues(t, i, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset)
		}
	})
}

// Other requests keep their place: a Metadata behind an unacknowledged Produce is answered after
// it, and a Produce behind a CreateTopics finds the topic.
func TestOtherRequestsStayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		r := w.raw(0)
		create, _ := filledAdmin(kmsg.NewPtrCreateTopicsRequest(), 7)
		create.SetVersion(7)
		produce := produceRequest(9, -1, "new-7", 0, batch("v"))
		describe := kmsg.NewPtrDescribeClusterRequest()
		w.cluster.Hold()
		r.send(create)
		r.send(produce)
		r.send(describe)
		time.Sleep(time.Second)
		w.cluster.Release()
		corr, _ := r.receive(create)
		require.EqualValues(t, 1, corr)
		corr, resp := r.receive(produce)
		require.EqualValues(t, 2, corr)
		require.Zero(t, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
		corr, _ = r.receive(describe)
		require.EqualValues(t, 3, corr)
	})
}

// The client's timeout ends the waiting with REQUEST_TIMED_OUT: whether the batch will be committed
// is unknown.
func TestProduceTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simulated(t, defaultConfig())
		w.createTopic("t", 1)
		w.cluster.Hold()
		req := produceRequest(9, -1, "t", 0, batch("v"))
		req.TimeoutMillis = 2500
		start := time.Now()
		p := onePart(w.raw(0), req)
		require.Equal(t, kerr.RequestTimedOut.Code, p.ErrorCode)
		require.Contains(t, *p.ErrorMessage, "2500 ms")
		require.InDelta(t, 2500, time.Since(start).Milliseconds(), 10)
		for asked, want := range map[int32]time.Duration{math.MaxInt32: 5 * time.Minute, -1: 0} {
			req = produceRequest(9, -1, "t", 0, batch("v"))
			req.TimeoutMillis = asked
			r := w.raw(0)
			start = time.Now()
			r.send(req)
			time.Sleep(want)
			_, resp := r.receive(req)
			require.Equal(t, kerr.RequestTimedOut.Code, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
			require.InDelta(t, want.Seconds(), time.Since(start).Seconds(), 1, "asked for %d ms", asked)
		}
	})
}

// acks=0 is never answered; an error closes the connection, after what was asked before has been
// answered.
func TestProduceWithoutAcks(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	r.send(produceRequest(9, 0, "t", 0, batch("a")))
	r.send(produceRequest(9, 0, "t", 0, batch("b")))
	require.Zero(t, call[*kmsg.DescribeClusterResponse](r, kmsg.NewPtrDescribeClusterRequest()).ErrorCode)
	require.EqualValues(t, 2, w.cluster.End("t", 0))
	acked := produceRequest(9, -1, "t", 0, batch("c"))
	r.send(acked)
	r.send(produceRequest(9, 0, "nope", 0, batch("d")))
	_, resp := r.receive(acked)
	require.Zero(t, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	r.closed()
}

func TestInitProducerID(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	r := w.raw(0)
	ask := func(id int64, epoch int16, tx *string) *kmsg.InitProducerIDResponse {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.ProducerID, req.ProducerEpoch, req.TransactionalID = 4, id, epoch, tx
		return call[*kmsg.InitProducerIDResponse](r, req)
	}
	seen := map[int64]bool{}
	for range 100 {
		resp := ask(-1, -1, nil)
		require.Positive(t, resp.ProducerID)
		require.False(t, seen[resp.ProducerID])
		seen[resp.ProducerID] = true
	}
	bumped := ask(77, 3, nil)
	require.EqualValues(t, 77, bumped.ProducerID)
	require.EqualValues(t, 4, bumped.ProducerEpoch)
	fresh := ask(77, 1<<15-1, nil)
	require.NotEqualValues(t, 77, fresh.ProducerID, "the epochs are used up")
	require.Zero(t, fresh.ProducerEpoch)
	require.Equal(t, kerr.InvalidRequest.Code, ask(77, -1, nil).ErrorCode)
	require.Equal(t, kerr.TransactionalIDAuthorizationFailed.Code, ask(-1, -1, kmsg.StringPtr("tx")).ErrorCode)
}

// The leader epoch and base offset of a stored batch are the backend's; its CRC covers neither.
func TestProduceKeepsTheBatch(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	sent := batch("a", "b", "c")
	onePart(r, produceRequest(9, -1, "t", 0, sent))
	onePart(r, produceRequest(9, -1, "t", 0, sent))
	resp := call[*kmsg.FetchResponse](r, fetchRequest(12, "t", 0, 4))
	got := resp.Topics[0].Partitions[0].RecordBatches
	require.EqualValues(t, 3, binary.BigEndian.Uint64(got), "the batch that contains offset 4")
	require.Equal(t, sent[16:], got[16:])
	require.EqualValues(t, 6, resp.Topics[0].Partitions[0].HighWatermark)
}
