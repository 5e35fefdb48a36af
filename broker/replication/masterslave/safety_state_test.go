package masterslave

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/internal/vfs"
)

// sameAfterRestart proves that the state that a node holds in memory is the one that its log gives: the node is killed, and finds the same again.
func (w *world) sameAfterRestart(id int32) {
	w.t.Helper()
	before := w.nodes[id].r.Load()
	w.crash(vfs.KeepCache, id)
	w.start(id)
	after := w.nodes[id].r.Load()
	require.Equal(w.t, before.log.Tail(), after.log.Tail())
	// Not Equal, which would print the whole state.
	require.True(w.t, reflect.DeepEqual(before.View().Machine, after.View().Machine), "node %d: the state in memory is not that of its log", id)
}

// Argument: what a deposed leader cuts off was applied to the state that the log gives: topics made and deleted, offsets, epochs, producers' sequences. If any of that
// outlived the truncation, the node would refuse or accept what its log does not say, and as a leader give offsets that others do not.
func TestSafetyTruncationRebuildsTheState(t *testing.T) {
	inBubble(t, 3, with(sync2(), "replication.timeout.ms", "200"), func(w *world) {
		ctx := context.Background()
		w.up()
		w.topic(1, "kept")
		w.topic(1, "deleted")
		w.fill(1, 40)
		_, err := w.sendAs(1, batchOf("a", 7, 0, 0))
		require.NoError(t, err)
		w.well(0)
		stays := w.status(1).End
		old := w.nodes[1].r.Load().View().Machine

		heal := w.cut(1)
		r := w.nodes[1].r.Load()
		for seq := range int32(7) { // more than are remembered
			_, err := w.sendAs(1, batchOf("b", 7, 0, seq+1))
			require.Error(t, err)
		}
		_, err = w.sendAs(1, batchOf("c", 8, 0, 0))
		require.Error(t, err)
		_, _, err = r.CreateTopic(ctx, "gone", 1, false)
		require.Error(t, err)
		require.Error(t, r.DeleteTopic(ctx, "deleted", uuid.Nil))
		w.spread(1, 1100) // more than a chunk of the index
		require.Nil(t, old.TopicByName("deleted"))
		require.NotNil(t, old.TopicByName("gone"))

		thaw := w.nodes[1].host.Freeze() // the operator does not reach it
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		thaw()
		heal()
		w.well(0)
		v := r.View()
		require.NotSame(t, old, v.Machine)
		require.False(t, v.Rebuilding)
		require.NotNil(t, v.Machine.TopicByName("deleted"))
		require.Nil(t, v.Machine.TopicByName("gone"))
		require.EqualValues(t, 41, w.part(1, "t").LogEnd())
		require.Greater(t, w.status(1).End, stays)
		w.sameAfterRestart(1)
		w.well(0)
		// As a leader it goes on where the log does.
		_, err = w.promote(1, false)
		require.NoError(t, err)
		w.well(0)
		at, err := w.sendAs(1, batchOf("d", 7, 0, 1))
		require.NoError(t, err)
		require.EqualValues(t, 41, at)
		for _, id := range w.all() {
			w.well(0)
			w.sameAfterRestart(id)
		}
	})
}

// Every answer that a producer can get from this package, and whether its batch is in a log then: a refusal (the codes up to KAFKA_STORAGE_ERROR) means never,
// REQUEST_TIMED_OUT says nothing, and NOT_ENOUGH_REPLICAS_AFTER_APPEND means that it is on the leader.
func TestEveryAnswerToAnAppend(t *testing.T) {
	refused := func(w *world, r *Replica, p *partitions.Partition, batch []byte, want *kerr.Error) {
		w.t.Helper()
		end := r.log.End()
		_, err := r.Append(context.Background(), p, batch, true)
		require.Equal(w.t, want, code(err), "%v", err)
		require.Equal(w.t, end, r.log.End())
	}
	inBubble(t, 2, with(sync2(), "flush", "sync", "replication.timeout.ms", "500"), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		w.well(0)
		leader, follower := w.nodes[1].r.Load(), w.nodes[2].r.Load()
		p := w.part(1, "t")
		refused(w, follower, w.part(2, "t"), batchOf("x", -1, -1, -1), kerr.NotLeaderForPartition)
		refused(w, leader, p, []byte("no batch"), kerr.CorruptMessage)
		refused(w, leader, &partitions.Partition{Topic: p.Topic}, batchOf("x", -1, -1, -1), kerr.UnknownTopicOrPartition)
		refused(w, leader, p, batchOf(string(make([]byte, 9<<20)), -1, -1, -1), kerr.MessageTooLarge)
		_, err := w.sendAs(1, batchOf("first", 9, 1, 0))
		require.NoError(t, err)
		sent = append(sent, "first")
		refused(w, leader, p, batchOf("gap", 9, 1, 2), kerr.OutOfOrderSequenceNumber)
		refused(w, leader, p, batchOf("old", 9, 0, 1), kerr.InvalidProducerEpoch)
		refused(w, leader, p, batchOf("new", 9, 2, 1), kerr.OutOfOrderSequenceNumber)

		gone, cancel := context.WithCancel(context.Background())
		cancel()
		for range 10 {
			// Taken or not: either way it is not known, and a leader that took it must not be said to have refused.
			a, err := leader.Append(gone, p, batchOf("left", -1, -1, -1), true)
			if err == nil {
				err = a.Wait(gone)
			}
			if err != nil {
				require.True(t, code(err) == kerr.RequestTimedOut || err == context.Canceled, "%v", err)
			}
		}
		w.well(0)

		heal := w.cut(2)
		_, err = w.send(1, "weak")
		require.Equal(t, kerr.NotEnoughReplicasAfterAppend, code(err))
		require.Contains(t, w.messages(1), "weak")

		answers := make(chan error, 2)
		wait := func(text string) {
			a, err := leader.Append(context.Background(), p, batchOf(text, -1, -1, -1), true)
			require.NoError(t, err)
			go func() { answers <- a.Wait(context.Background()) }()
		}
		wait("waits when the disk fails")
		time.Sleep(50 * time.Millisecond)
		w.nodes[1].disk.SetFull(true)
		_, err = w.send(1, "no room")
		require.Equal(t, kerr.RequestTimedOut, code(err), "a part of it may be on the disk")
		err = <-answers
		require.Equal(t, kerr.RequestTimedOut, code(err))
		require.EqualError(t, err, "the disk failed before the batch was acknowledged")
		w.nodes[1].disk.SetFull(false)
		refused(w, leader, p, batchOf("failed", -1, -1, -1), kerr.KafkaStorageError)
		_, _, err = leader.CreateTopic(context.Background(), "u", 1, false)
		require.Equal(t, kerr.KafkaStorageError, code(err))

		w.crash(vfs.KeepCache, 1)
		w.start(1)
		w.leads(1)
		leader, p = w.nodes[1].r.Load(), w.part(1, "t")
		wait("waits when the node stops")
		w.stop(1)
		err = <-answers
		require.Equal(t, kerr.RequestTimedOut, code(err))
		require.EqualError(t, err, "the node is stopping")
		for i := range 10 {
			_, err := leader.Append(context.Background(), p, batchOf(fmt.Sprint("stopped", i), -1, -1, -1), true)
			require.True(t, code(err) == kerr.NotLeaderForPartition || code(err) == kerr.RequestTimedOut, "%v", err)
		}
		heal()
		w.start(1)
		w.well(0)
		for _, id := range w.all() {
			got := w.messages(id)
			require.Equal(t, sent, got[:len(sent)])
			require.Contains(t, got, "weak")
			for _, text := range []string{"x", "gap", "old", "new", "failed", "stopped0"} {
				require.NotContains(t, got, text)
			}
		}
	})
}
