package masterslave

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/internal/vfs"
)

func async() map[string]string { return map[string]string{"replication": "async"} }

func with(m map[string]string, more ...string) map[string]string {
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

// up starts everything and makes topic t.
func (w *world) up() {
	w.t.Helper()
	w.start(w.all()...)
	w.well(0)
	w.topic(w.all()[0], "t")
	w.well(0)
}

// VMS-01, VMS-05: a killed leader comes back with its page cache, leads the same epoch, and nothing is lost.
func TestKilledLeaderReturns(t *testing.T) {
	for name, opts := range map[string]map[string]string{"async": async(), "sync": sync2()} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, opts, func(w *world) {
				w.up()
				sent := w.fill(1, 50)
				w.crash(vfs.KeepCache, 1)
				_, err := sendTo(w.nodes[2].r.Load(), batchOf("x", -1, -1, -1))
				require.Equal(t, kerr.NotLeaderForPartition, code(err), "nobody takes over")
				w.start(1)
				w.well(0)
				require.EqualValues(t, 2, w.status(1).Epoch, "a restart keeps the epoch")
				require.Equal(t, sent, w.messages(1))
				require.Equal(t, sent, w.messages(2))
			})
		})
	}
}

// powerLoss takes the leader's power until something unsynced is gone. The tail is appended by one burst, and the image is a random
// subset, so more than one attempt may be needed; each is a fresh world.
func loseTail(t *testing.T, opts map[string]string, f func(w *world, acked []string)) {
	t.Helper()
	for seed := range uint64(20) {
		lost := false
		inSeededBubble(t, 2, seed, opts, func(w *world) {
			w.up()
			time.Sleep(2 * flushInterval) // the background flush: what comes now is not covered by it
			acked := w.fill(1, 30)
			w.until("the follower has it", func() bool { return w.status(2).End == w.status(1).End })
			end := w.status(1).End
			w.crash(vfs.PowerLoss, 1)
			w.start(1)
			w.leads(1)
			if w.status(1).End < end {
				lost = true
				f(w, acked)
			}
		})
		if lost {
			return
		}
	}
	require.Fail(t, "20 power losses lost nothing")
}

// VMS-02, VMS-08, VMS-24, bugzoo MS-01: a leader that lost its unflushed tail comes back shorter than its follower. The follower is refused and not
// counted, new writes are weak, and when the leader's log grows past the follower's the two histories stay apart.
func TestFollowerAheadIsRefused(t *testing.T) {
	loseTail(t, sync2(), func(w *world, acked []string) {
		w.until("the follower is refused", func() bool { return w.status(2).Role == RoleRefused })
		require.Contains(w.t, w.status(2).Refused, "ahead")
		require.False(w.t, w.status(1).Serving, "what was readable before is not there: nothing is served")
		kept := w.messages(1)
		require.Less(w.t, len(kept), len(acked), "VMS-08: acknowledged, and gone from the leader")
		require.Equal(w.t, acked, w.messages(2), "though the follower has it")
		for range len(acked) + 5 {
			_, err := w.send(1, "after")
			require.Equal(w.t, kerr.NotEnoughReplicasAfterAppend, code(err))
			require.EqualError(w.t, err, "copies 1 of 2")
		}
		require.Greater(w.t, w.status(1).End, w.status(2).End)
		time.Sleep(2 * time.Second)
		s := w.status(2)
		require.Equal(w.t, RoleRefused, s.Role)
		require.Equal(w.t, acked, w.messages(2), "nothing is overwritten")
		require.NotEmpty(w.t, w.status(1).Followers[0].Refused)
		require.False(w.t, w.status(1).Followers[0].Matched)
		h := GroupHealth([]Status{w.status(1), w.status(2)}, 2)
		require.True(w.t, h.Recovered(true))
		require.False(w.t, h.Recovered(false))

		// An operator decides: the follower's history stays, the leader's goes.
		res, err := w.promote(2, true)
		require.NoError(w.t, err)
		require.True(w.t, res.Forced, "node 1 has more history in the same epoch")
		w.well(0)
		require.Equal(w.t, acked, w.messages(1))
		require.Equal(w.t, acked, w.messages(2))
	})
}

// VMS-08 again: as long as the shortened leader has not been written to, a promote finds the follower's longer log by itself.
func TestPromotePrefersTheLongerLog(t *testing.T) {
	loseTail(t, sync2(), func(w *world, acked []string) {
		res, err := w.promote(0, false)
		require.NoError(w.t, err)
		require.EqualValues(w.t, 2, res.Leader)
		w.well(0)
		require.Equal(w.t, acked, w.messages(1))
	})
}

// VMS-03, VMS-10: flush=sync loses nothing to a power loss, of the leader or of all.
func TestFlushSyncSurvivesPowerLoss(t *testing.T) {
	for name, opts := range map[string]map[string]string{"async": with(async(), "flush", "sync"), "sync": with(sync2(), "flush", "sync"), "leader": with(sync2(), "flush", "leader")} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				inSeededBubble(t, 2, seed, opts, func(w *world) {
					w.up()
					sent := w.fill(1, 30)
					w.crash(vfs.PowerLoss, 1, 2)
					w.start(1, 2)
					w.leads(1)
					require.Equal(t, sent, w.messages(1)[:len(sent)])
				})
			}
		})
	}
}

// VMS-10 with two followers: as many copies as it takes are in the followers' page caches, and the leader, which is one of the copies, has not flushed. It could come
// back without what it acknowledged.
func TestFlushLeaderCountsTheLeader(t *testing.T) {
	for name, opts := range map[string]map[string]string{"sync": sync2(), "async": async()} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, with(opts, "flush", "leader"), func(w *world) {
				w.nodes[1].disk = vfs.NewDisk(9, vfs.DiskOptions{SyncLatency: 400 * time.Millisecond})
				w.up()
				for i := range 5 {
					time.Sleep(time.Duration(i) * 70 * time.Millisecond)
					start := time.Now()
					_, err := w.send(1, "m")
					require.NoError(t, err)
					require.GreaterOrEqual(t, time.Since(start), 400*time.Millisecond, "it was acknowledged before it was flushed")
				}
				w.crash(vfs.PowerLoss, 1)
				w.start(1)
				w.leads(1)
				require.Len(t, w.messages(1), 5)
			})
		})
	}
}

// VMS-04: with replication=async the unreplicated tail goes with the leader's disk, and the promote says that it is not safe.
func TestAsyncLosesWithTheDisk(t *testing.T) {
	inBubble(t, 2, async(), func(w *world) {
		w.up()
		sent := w.fill(1, 5)
		w.well(0)
		heal := w.cut(1)
		w.fill(1, 5)
		w.crash(vfs.Empty, 1)
		heal()
		_, err := w.promote(0, false)
		require.ErrorIs(t, err, ErrUnsafe)
		require.EqualValues(t, 2, w.status(2).Epoch, "nothing was written")
		res, err := w.promote(0, true)
		require.NoError(t, err)
		require.True(t, res.Forced)
		require.False(t, res.Safe)
		w.start(1)
		w.well(0)
		require.Equal(t, sent, w.messages(1))
		require.Equal(t, sent, w.messages(2))
	})
}

// VMS-06: with two nodes and two copies, a wiped leader loses nothing, and the promote is safe.
func TestSyncSurvivesTheDisk(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 20)
		w.crash(vfs.Empty, 1)
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.start(1)
		w.well(0)
		require.Equal(t, sent, w.messages(1))
		require.Equal(t, sent, w.messages(2))
	})
}

// VMS-07: an acknowledgement does not say which follower has the copy. Promoting the other one is unsafe, and loses it when forced.
func TestForcedPromoteOfTheOtherFollowerLoses(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		heal := w.cut(3)
		sent := w.fill(1, 10)
		w.crash(vfs.Empty, 1)
		heal()
		_, err := w.promote(3, false)
		require.ErrorIs(t, err, ErrUnsafe)
		require.ErrorContains(t, err, "node 2 has more history than node 3")
		res, err := w.promote(3, true)
		require.NoError(t, err)
		require.True(t, res.Forced)
		w.start(1)
		w.well(0)
		for _, id := range w.all() {
			require.Empty(t, w.messages(id))
		}
		require.NotEmpty(t, sent)
	})
}

// The same promote without a wish picks the follower that has it.
func TestPromoteFindsTheCopy(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		heal := w.cut(3)
		sent := w.fill(1, 10)
		w.crash(vfs.Empty, 1)
		heal()
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.EqualValues(t, 2, res.Leader)
		w.start(1)
		w.well(0)
		for _, id := range w.all() {
			require.Equal(t, sent, w.messages(id))
		}
	})
}

// VMS-12, VMS-14: while no follower confirms there is no strong acknowledgement, the weak ones say why after the timeout, and nobody reads what
// is not replicated; when the follower is back, it all commits.
func TestWeakWithoutFollower(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		w.fill(1, 3)
		heal := w.cut(2)
		before := w.nodes[1].r.Load().View().Visible
		start := time.Now()
		offset, err := w.send(1, "weak")
		require.EqualValues(t, 3, offset, "the offset is valid")
		require.Equal(t, kerr.NotEnoughReplicasAfterAppend, code(err))
		require.EqualError(t, err, "copies 1 of 2")
		require.InDelta(t, 3, time.Since(start).Seconds(), 0.05)
		require.Equal(t, before, w.nodes[1].r.Load().View().Visible)
		heal()
		w.well(0)
		require.Greater(t, w.nodes[1].r.Load().View().Visible, before)
		require.Len(t, w.messages(2), 4)
	})
}

// visible=appended shows consumers what is not replicated, as RocketMQ does.
func TestVisibleAppended(t *testing.T) {
	inBubble(t, 2, with(sync2(), "visible", "appended"), func(w *world) {
		w.up()
		defer w.cut(2)()
		_, err := w.send(1, "weak")
		require.Error(t, err)
		v := w.nodes[1].r.Load().View()
		require.Equal(t, v.End, v.Visible)
		require.Less(t, v.Committed, v.End)
		r := w.nodes[1].r.Load()
		require.NoError(t, r.do(context.Background(), func() { r.fail("test", errRecorded) }))
		v = r.View()
		require.Equal(t, v.Committed, v.Visible, "of what a failed disk holds only that is known")
	})
}

// A weak answer of flush=sync tells missing copies from missing flushes.
func TestWeakUnflushed(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.nodes[2].disk = vfs.NewDisk(9, vfs.DiskOptions{SyncLatency: 10 * time.Second})
		w.start(w.all()...)
		w.well(0)
		_, _, err := w.nodes[1].r.Load().CreateTopic(context.Background(), "t", 1, false)
		require.Equal(t, kerr.RequestTimedOut, code(err))
		require.EqualError(t, err, "unflushed")
		_, err = w.send(1, "a")
		require.Equal(t, kerr.NotEnoughReplicasAfterAppend, code(err))
		require.EqualError(t, err, "unflushed")
		time.Sleep(20 * time.Second)
		require.Equal(t, w.status(1).End, w.status(1).Committed)
	})
}

// VMS-22: a leader whose network stands still for a minute goes on afterwards; nobody else has written.
func TestPausedLeader(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 5)
		thaw := w.nodes[1].host.Freeze()
		time.Sleep(time.Minute)
		require.NotEqual(t, RoleLeader, w.status(2).Role)
		require.NotEqual(t, RoleLeader, w.status(3).Role)
		thaw()
		w.well(0)
		sent = append(sent, w.fill(1, 5)...)
		w.well(0)
		require.Equal(t, sent, w.messages(3))
	})
}

// A deposed leader's tail that was never acknowledged is cut off under the newer epoch, and only that.
func TestDeposedLeaderTruncatesToTheCommonPrefix(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 300) // more than one round of boundaries
		heal := w.cut(1)
		for range 3 {
			_, err := w.send(1, "never acknowledged")
			require.Equal(t, kerr.NotEnoughReplicasAfterAppend, code(err))
		}
		_, err := Promote(context.Background(), PromoteRequest{}, w.members[1:], w.admin.Dial)
		require.ErrorContains(t, err, "lists the nodes of the group as [1 2 3], and not as [2 3]", "another list would name other leaders")
		w.nodes[1].host.Freeze() // the operator does not reach it either
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		sent = append(sent, w.fill(res.Leader, 5)...)
		w.crash(vfs.KeepCache, 1)
		heal()
		w.start(1)
		w.well(0)
		for _, id := range w.all() {
			require.Equal(t, sent, w.messages(id))
		}
	})
}

// A message that waits at a leader that is deposed is never acknowledged, but unknown.
func TestDeposedLeaderAnswersUnknown(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		heal := w.cut(1)
		defer heal()
		done := make(chan error, 1)
		go func() {
			_, err := w.send(1, "waits")
			done <- err
		}()
		time.Sleep(time.Second)
		_, err := w.promote(2, true)
		require.NoError(t, err)
		err = <-done
		require.Equal(t, kerr.RequestTimedOut, code(err))
		require.EqualError(t, err, "leadership moved")
		_, err = w.send(1, "later")
		require.Equal(t, kerr.NotLeaderForPartition, code(err))
	})
}

// Copies are distinct nodes: a follower that connects again and again is one.
func TestDistinctFollowersCount(t *testing.T) {
	inBubble(t, 3, map[string]string{"replication": "sync", "copies": "3"}, func(w *world) {
		w.up()
		w.fill(1, 3)
		defer w.cut(3)()
		for range 3 {
			w.crash(vfs.KeepCache, 2)
			w.start(2)
			w.until("matched", func() bool { return w.status(1).Followers[0].Matched })
			_, err := w.send(1, "x")
			require.EqualError(t, err, "copies 2 of 3")
		}
	})
}

// After a restart nothing is read before as much is committed as the log held.
func TestReadsWaitForCommit(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		w.fill(1, 10)
		w.crash(vfs.KeepCache, 1, 2)
		w.start(1)
		w.leads(1)
		v := w.nodes[1].r.Load().View()
		require.True(t, v.Leading)
		require.False(t, v.Readable)
		require.Zero(t, v.Committed)
		_, err := w.send(1, "y")
		require.Equal(t, kerr.NotEnoughReplicasAfterAppend, code(err), "it takes writes")
		w.start(2)
		w.well(0)
		v = w.nodes[1].r.Load().View()
		require.True(t, v.Readable)
		require.Equal(t, v.End, v.Committed)
	})
}

// A duplicate is acknowledged by the rule of the original (bugzoo CL-02): not before it is replicated, and with its offset.
func TestDuplicateWaitsForTheOriginal(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		heal := w.cut(2)
		r := w.nodes[1].r.Load()
		p := w.part(1, "t")
		first, err := r.Append(context.Background(), p, batchOf("a", 7, 0, 0), true)
		require.NoError(t, err)
		again, err := r.Append(context.Background(), p, batchOf("a", 7, 0, 0), true)
		require.NoError(t, err)
		require.Equal(t, first.BaseOffset, again.BaseOffset)
		answers := make(chan error, 2)
		go func() { answers <- first.Wait(context.Background()) }()
		go func() { answers <- again.Wait(context.Background()) }()
		time.Sleep(2 * time.Second)
		require.Empty(t, answers)
		heal()
		require.NoError(t, <-answers)
		require.NoError(t, <-answers)
		require.Equal(t, []string{"a"}, w.messages(2))
		_, err = r.Append(context.Background(), p, batchOf("c", 7, 0, 2), true)
		require.Equal(t, kerr.OutOfOrderSequenceNumber, code(err))
		_, err = r.Append(context.Background(), p, batchOf("old", 7, -1, 1), true)
		require.Equal(t, kerr.InvalidProducerEpoch, code(err))

		// The new leader knows the producer from the log.
		_, err = w.promote(2, false)
		require.NoError(t, err)
		w.well(0)
		offset, err := w.sendAs(2, batchOf("a", 7, 0, 0))
		require.NoError(t, err)
		require.Equal(t, first.BaseOffset, offset)
		require.Equal(t, []string{"a"}, w.messages(2))
	})
}

// flush=sync ships what is flushed, and nothing else.
func TestFlushSyncShipsFlushedFrames(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.nodes[1].disk = vfs.NewDisk(9, vfs.DiskOptions{SyncLatency: 2 * time.Second})
		w.start(w.all()...)
		w.well(0)
		w.topic(1, "t")
		w.well(0)
		before := w.status(2).End
		go func() { _, _ = w.send(1, "slow") }()
		time.Sleep(time.Second)
		require.Greater(t, w.status(1).End, before)
		require.Equal(t, before, w.status(2).End)
		time.Sleep(3 * time.Second)
		require.Equal(t, w.status(1).End, w.status(2).End)
	})
}

// VMS-23, bugzoo ST-01: a failed flush is never acknowledged over; the node stops writing for good and still serves what was committed.
func TestFailedFlush(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.up()
		w.fill(1, 3)
		r := w.nodes[1].r.Load()
		w.nodes[1].disk.FailSync(true)
		_, err := w.send(1, "in doubt")
		require.Equal(t, kerr.RequestTimedOut, code(err))
		w.nodes[1].disk.FailSync(false)
		_, err = w.send(1, "refused")
		require.Equal(t, kerr.KafkaStorageError, code(err))
		<-r.Failed()
		s := w.status(1)
		require.Equal(t, RoleFailed, s.Role)
		require.NotEmpty(t, s.Failed)
		v := r.View()
		require.True(t, v.Readable)
		require.False(t, v.Leading)
		require.Equal(t, v.Committed, v.Visible)
		_, err = w.promote(1, true)
		require.ErrorContains(t, err, "disk has failed")
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.EqualValues(t, 2, res.Leader)
		w.until("the failed leader is deposed", func() bool { return w.status(1).Epoch == res.Epoch })
		require.False(t, r.View().Readable)
	})
}

// A follower whose disk has failed does not count, and says so.
func TestFailedFollower(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		w.nodes[2].disk.SetFull(true)
		_, err := w.send(1, "x")
		require.EqualError(t, err, "copies 1 of 2")
		require.Equal(t, RoleFailed, w.status(2).Role)
	})
}
