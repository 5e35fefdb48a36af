package masterslave

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/internal/vfs"
)

// Argument: a request to create a topic is on its way to the other group for so long that the topic is deleted meanwhile, and made anew, and
// written to. If it were obeyed when it arrives, it would delete the new topic with what was acknowledged there. After the last delete, it
// would make a topic that nobody knows of.
func TestSafetyLateTopicCreate(t *testing.T) {
	inBubble(t, 4, with(sync2(), "groups", "2"), func(w *world) {
		ctx := context.Background()
		w.start(w.all()...)
		w.well(0)
		w.well(1)
		w.knowLeaders()
		r := w.nodes[1].r.Load()
		late := func(top Topic) response {
			resp, err := call(ctx, w.admin.Dial, "n3:9093", request{Op: opCreate, Group: 1, Topic: &topicRequest{Name: top.Name, ID: top.ID.String(), Partitions: top.Partitions}})
			require.NoError(t, err)
			return resp
		}
		first, _, err := r.CreateTopic(ctx, "t", 2, false)
		require.NoError(t, err)
		require.Empty(t, late(first).Error, "told twice is told once")
		require.NoError(t, r.DeleteTopic(ctx, "t", uuid.Nil))
		second, created, err := r.CreateTopic(ctx, "t", 2, false)
		require.NoError(t, err)
		require.True(t, created)
		sent := w.fill(3, 3)

		// The delete of the first topic, too, arrives only now.
		for _, leader := range []struct {
			node, group int32
			code        int16
		}{{3, 1, 0}, {1, 0, kerr.UnknownTopicOrPartition.Code}} {
			resp, err := call(ctx, w.admin.Dial, w.members[leader.node-1].Peer, request{Op: opDelete, Group: leader.group, Topic: &topicRequest{Name: "t", ID: first.ID.String()}})
			require.NoError(t, err)
			require.Equal(t, leader.code, resp.Code)
			require.Equal(t, second.ID, w.nodes[leader.node].r.Load().View().Machine.TopicByName("t").ID)
		}
		require.NotEmpty(t, late(first).Error)
		require.Equal(t, second.ID, w.nodes[3].r.Load().View().Machine.TopicByName("t").ID)
		require.Equal(t, sent, w.messages(3))

		require.NoError(t, r.DeleteTopic(ctx, "t", uuid.Nil))
		require.NotEmpty(t, late(second).Error)
		require.Nil(t, w.nodes[3].r.Load().View().Machine.TopicByName("t"))

		// A topic that the authority really has replaces one that it has not, but only if that one was there before it was asked.
		third, _, err := r.CreateTopic(ctx, "t", 2, false)
		require.NoError(t, err)
		ghost := Topic{ID: uuid.UUID{15: 1}, Name: "t", Partitions: 2}
		g := w.nodes[3].r.Load()
		require.NoError(t, g.do(ctx, func() {
			_, _, err = g.takeTopic(opCreate, topicRequest{Name: "t", ID: ghost.ID.String(), Partitions: 2}, third.ID)
		}))
		require.NoError(t, err)
		require.Equal(t, ghost.ID, g.View().Machine.TopicByName("t").ID)
		again, created, err := r.CreateTopic(ctx, "t", 2, false)
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, third.ID, again.ID)
		require.Equal(t, third.ID, g.View().Machine.TopicByName("t").ID)
		require.NoError(t, g.do(ctx, func() {
			_, _, err = g.takeTopic(opCreate, topicRequest{Name: "t", ID: first.ID.String(), Partitions: 2}, ghost.ID)
		}))
		require.Equal(t, kerr.RequestTimedOut, code(err))
		require.Equal(t, third.ID, g.View().Machine.TopicByName("t").ID)
	})
}

// Argument: a topic is created, and whoever asks again is told that it is there, before it has its copies. With the leader's disk it would be gone, after it was
// acknowledged.
func TestSafetyTopicIsThereWhenItIsCommitted(t *testing.T) {
	inBubble(t, 2, with(sync2(), "replication.timeout.ms", "300"), func(w *world) {
		w.up()
		heal := w.cut(2)
		for range 2 {
			_, _, err := w.nodes[1].r.Load().CreateTopic(context.Background(), "u", 1, false)
			require.Equal(t, kerr.RequestTimedOut, code(err))
			require.NotNil(t, w.nodes[1].r.Load().View().Machine.TopicByName("u"))
		}
		heal()
		w.well(0)
		_, created, err := w.nodes[1].r.Load().CreateTopic(context.Background(), "u", 1, false)
		require.NoError(t, err)
		require.False(t, created)
	})
}

// Argument: a producer's handle of a partition outlives the topic, or the log that it was found in. A batch for it would not be found by anybody,
// or under another topic of that name.
func TestSafetyAppendToADeletedTopic(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		r := w.nodes[1].r.Load()
		old := w.part(1, "t")
		require.NoError(t, r.DeleteTopic(context.Background(), "t", uuid.Nil))
		w.topic(1, "t")
		for range 2 {
			_, err := r.Append(context.Background(), old, batchOf("late", -1, -1, -1), true)
			require.Equal(t, kerr.UnknownTopicOrPartition, code(err))
		}
		sent := w.fill(1, 1)
		w.well(0)
		require.Equal(t, sent, w.messages(2))
		require.Empty(t, r.Status().Failed)
	})
}

// Argument: the authority loses every disk, and with them the topics. Made again under other ids, these would replace those of the groups that
// have lost nothing, with all that was acknowledged there.
func TestSafetyAuthorityForgets(t *testing.T) {
	inBubble(t, 4, with(sync2(), "groups", "2"), func(w *world) {
		ctx := context.Background()
		w.start(w.all()...)
		w.well(0)
		w.well(1)
		w.knowLeaders()
		first, _, err := w.nodes[4].r.Load().CreateTopic(ctx, "t", 6, false)
		require.NoError(t, err)
		sent := w.fill(3, 3)
		w.crash(vfs.Empty, 1, 2)
		w.start(1, 2)
		w.well(0)
		w.until("the topic is made again", func() bool {
			got, created, err := w.nodes[4].r.Load().CreateTopic(ctx, "t", 2, true)
			if err != nil {
				return false
			}
			require.True(t, created, "only asked")
			require.Equal(t, first, got)
			got, created, err = w.nodes[4].r.Load().CreateTopic(ctx, "t", 2, false)
			require.NoError(t, err)
			require.True(t, created)
			require.Equal(t, first, got)
			return true
		})
		require.Equal(t, sent, w.messages(3))
		require.Empty(t, w.messages(1))
		require.NoError(t, w.nodes[4].r.Load().DeleteTopic(ctx, "t", uuid.Nil))
		other, created, err := w.nodes[4].r.Load().CreateTopic(ctx, "t", 2, false)
		require.NoError(t, err)
		require.True(t, created)
		require.NotEqual(t, first.ID, other.ID, "what was deleted is gone")
		require.Empty(t, w.messages(3))
	})
}

// knowLeaders waits until every node knows both groups' leaders.
func (w *world) knowLeaders() {
	w.until("all know both leaders", func() bool {
		for _, m := range w.nodes {
			a, _ := m.r.Load().GroupLeader(0)
			b, _ := m.r.Load().GroupLeader(1)
			if a < 0 || b < 0 {
				return false
			}
		}
		return true
	})
}

// All topics together are bounded: each partition takes memory on every node.
func TestTopicsHaveABound(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.start(w.all()...)
		w.well(0)
		r := w.nodes[1].r.Load()
		var err error
		n := 0
		for ; err == nil; n++ {
			_, _, err = r.CreateTopic(context.Background(), fmt.Sprint("t", n), partitions.MaxPartitions, false)
		}
		require.Equal(t, kerr.InvalidPartitions, code(err))
		require.Equal(t, maxAllPartitions/partitions.MaxPartitions+1, n)
		require.NoError(t, r.DeleteTopic(context.Background(), "t3", uuid.Nil))
		_, _, err = r.CreateTopic(context.Background(), "again", partitions.MaxPartitions, false)
		require.NoError(t, err)
	})
}
