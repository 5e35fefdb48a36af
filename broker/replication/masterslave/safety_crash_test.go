package masterslave

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// slowSync is long enough that a crash can fall between any two steps of a sequence of syncs, in steps of a fraction of it.
const slowSync = 10 * time.Millisecond

// moments are the instants of crashes after the start of something that syncs about as often as count says.
func moments(count int) (at []time.Duration) {
	for i := range 2 * count {
		at = append(at, time.Duration(i)*slowSync/2+slowSync/4)
	}
	return at
}

// everyCrash runs f in a fresh world with slow disks, for every kind of crash at every moment.
func everyCrash(t *testing.T, nodes, syncs int, opts map[string]string, f func(w *world, mode vfs.ImageMode, after time.Duration)) {
	t.Helper()
	for name, mode := range map[string]vfs.ImageMode{"kill": vfs.KeepCache, "power": vfs.PowerLoss} {
		for i, after := range moments(syncs) {
			t.Run(fmt.Sprintf("%s after %v", name, after), func(t *testing.T) {
				inSeededBubble(t, nodes, uint64(i+1), opts, func(w *world) {
					w.t = t
					for _, id := range w.all() {
						w.nodes[id].disk = vfs.NewDisk(uint64(100*i)+uint64(id), vfs.DiskOptions{SyncLatency: slowSync})
					}
					f(w, mode, after)
				})
			})
		}
	}
}

// Argument: a node that answers "recorded" and crashes must still know the epoch, and one that came back and says an epoch must not lose it by the
// next power loss: it may have promised something on it meanwhile.
func TestSafetyRecordedEpochSurvives(t *testing.T) {
	everyCrash(t, 3, 4, sync2(), func(w *world, mode vfs.ImageMode, after time.Duration) {
		w.up()
		answered := make(chan bool, 1)
		go func() {
			resp, err := call(context.Background(), w.admin.Dial, "n2:9093", request{Op: opRecord, Members: w.all(), Epoch: 7})
			answered <- err == nil && resp.Error == ""
		}()
		time.Sleep(after)
		recorded := len(answered) > 0 && <-answered
		w.crash(vfs.KeepCache, 1, 3) // nobody else can tell it
		w.crash(mode, 2)
		w.start(2)
		says := w.status(2).Epoch
		if recorded {
			require.EqualValues(w.t, 7, says)
		}
		w.crash(vfs.PowerLoss, 2)
		w.start(2)
		require.Equal(w.t, says, w.status(2).Epoch)
	})
}

// Argument: the candidate of a safe promote crashes at any step between recording the epoch and serving in it: before or after `leading`, before, in
// or after the epoch's first frame. What was acknowledged before stays, and so does what it acknowledged afterwards.
func TestSafetyCandidateCrashes(t *testing.T) {
	everyCrash(t, 3, 12, with(sync2(), "flush", "sync"), func(w *world, mode vfs.ImageMode, after time.Duration) {
		w.up()
		sent := w.fill(1, 3)
		w.crash(vfs.PowerLoss, 1)
		ended := make(chan struct{})
		go func() {
			_, _ = w.promote(0, false) // it may be cut short
			close(ended)
		}()
		time.Sleep(after)
		for _, id := range []int32{2, 3} {
			if w.status(id).Role == RoleLeader {
				if _, err := w.send(id, "new"); err == nil {
					sent = append(sent, "new")
				}
			}
		}
		w.crash(mode, 2)
		w.start(1, 2)
		<-ended
		w.until("a safe promote", func() bool {
			_, err := w.promote(0, false)
			return err == nil
		})
		w.well(0)
		for _, id := range w.all() {
			require.Subset(w.t, w.messages(id), sent)
			require.Equal(w.t, w.messages(1), w.messages(id))
		}
	})
}

// Argument: a node that joins crashes at any step. Once it says that it has joined, and so counts, it has every acknowledged message on its
// disk, whatever comes then.
func TestSafetyJoiningCrashes(t *testing.T) {
	everyCrash(t, 3, 10, sync2(), func(w *world, mode vfs.ImageMode, after time.Duration) {
		w.up()
		sent := w.fill(1, 5)
		w.well(0)
		w.crash(vfs.Empty, 3)
		w.start(3)
		time.Sleep(after)
		joined := !w.status(3).Joining
		w.crash(vfs.KeepCache, 1, 2) // nobody can help it
		w.crash(mode, 3)
		w.start(3)
		s := w.status(3)
		require.True(w.t, s.Joining || mode == vfs.KeepCache || joined || s.End > 0)
		if !s.Joining {
			require.Equal(w.t, sent, w.messages(3))
		}
		require.False(w.t, joined && s.Joining, "it had been counted")
		w.start(1, 2)
		w.well(0)
		require.Equal(w.t, sent, w.messages(3))
	})
}

// Argument: a deposed leader crashes at any step of cutting off its tail. It has what was acknowledged, and goes on cutting.
func TestSafetyTruncationCrashes(t *testing.T) {
	everyCrash(t, 3, 8, with(sync2(), "flush", "sync", "replication.timeout.ms", "100"), func(w *world, mode vfs.ImageMode, after time.Duration) {
		w.up()
		sent := w.fill(1, 3)
		heal := w.cut(1)
		for range 5 {
			_, err := w.send(1, "never acknowledged")
			require.Error(w.t, err)
		}
		w.crash(vfs.KeepCache, 1)
		heal()
		res, err := w.promote(0, false)
		require.NoError(w.t, err)
		sent = append(sent, w.fill(res.Leader, 2)...)
		w.start(1)
		w.until("it follows", func() bool { return w.status(1).Epoch == res.Epoch })
		time.Sleep(after)
		w.crash(mode, 1)
		w.start(1)
		require.Subset(w.t, w.messages(1), sent[:3])
		w.well(0)
		require.Equal(w.t, sent, w.messages(1))
	})
}

// Argument: a wiped node copies a stale leader and reaches its end; then it hears of the newer epoch in which it had confirmed more than that. The end
// that it was to reach was the stale leader's: it counts only once it has reached that of the newer one.
func TestSafetyJoiningBeginsAnewWithTheEpoch(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		_, err := w.promote(2, false)
		require.NoError(t, err)
		w.until("node 2 serves", func() bool { return w.status(2).Serving })
		w.fill(2, 3)
		w.crash(vfs.Empty, 3)
		w.crash(vfs.KeepCache, 2)
		w.start(1, 3)
		w.until("node 3 has what node 1 has", func() bool { return w.status(3).End > 0 && w.status(3).End == w.status(1).End })
		r := w.nodes[3].r.Load()
		require.NoError(t, r.do(context.Background(), func() {
			require.GreaterOrEqual(t, r.state.joinEnd, int64(0))
			r.takeAnswer(w.members[1], Status{Cluster: "test", Node: 2, Epoch: 4, Groups: 1, Copies: 2, Members: w.all()}, nil)
			require.EqualValues(t, 4, r.state.meta.Epoch)
			require.True(t, r.state.meta.Joining)
		}))
		w.start(2)
		w.well(0)
	})
}

// Argument: a node whose disk fails obeys a newer epoch from memory. It will have forgotten it after a restart, so it must not make a promote safe,
// however often it is asked.
func TestSafetyFailedDiskRecordsNothing(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.crash(vfs.KeepCache, 1)
		w.nodes[3].disk.FailSync(true)
		for range 2 {
			require.NotEmpty(t, w.ask(3, request{Op: opRecord, Members: w.all(), Epoch: 5}).Error)
			require.EqualValues(t, 5, w.status(3).Epoch, "it obeys")
		}
		w.nodes[3].disk.FailSync(false)
		require.Contains(t, w.ask(3, request{Op: opLead, Members: w.all(), Epoch: 5, Incarnation: w.status(3).Incarnation}).Error, "disk has failed")
		require.NotEmpty(t, w.ask(3, request{Op: opRecord, Members: w.all(), Epoch: 7}).Error, "what failed once is not trusted again")
		_, err := w.promote(2, false)
		require.ErrorIs(t, err, ErrUnsafe)
	})
}

// Argument: the promote was decided on what the candidate said that its log holds, which need not have been flushed. If it lost some of that after
// `leading` is on its disk, it would come back and lead with less; if it lost the epoch's first frame after it was followed, it would
// write another history under it.
func TestSafetyLeaderHasWhatItSaid(t *testing.T) {
	everyCrash(t, 2, 8, sync2(), func(w *world, mode vfs.ImageMode, after time.Duration) {
		w.up()
		w.fill(1, 20)
		w.crash(vfs.PowerLoss, 1)
		said := w.ask(2, request{Op: opRecord, Members: w.all(), Epoch: 3}).Status
		require.NotNil(w.t, said)
		answered := make(chan Status, 1)
		go func() {
			resp, err := call(context.Background(), w.admin.Dial, "n2:9093", request{Op: opLead, Members: w.all(), Epoch: 3, Incarnation: said.Incarnation})
			if err == nil && resp.Error == "" {
				answered <- *resp.Status
			}
		}()
		time.Sleep(after)
		w.crash(mode, 2)
		w.nodes[2].host = w.net.Host("n2")
		r, err := Open(w.config(2))
		require.NoError(w.t, err)
		if r.state.meta.Leading {
			require.GreaterOrEqual(w.t, r.log.End(), said.End)
		}
		if len(answered) > 0 {
			require.EqualValues(w.t, 3, r.log.LastEpoch())
			require.Equal(w.t, (<-answered).End, r.log.End())
		}
		require.NoError(w.t, r.Close())
	})
}

// Argument: a leader that comes back goes on in its epoch, and adds nothing to it: followers have its log, and one frame more would be another
// beginning of the epoch.
func TestSafetyRestartAddsNothing(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.well(0)
		end := w.status(1).End
		for range 3 {
			w.crash(vfs.KeepCache, 1)
			w.start(1)
			w.leads(1)
			w.well(0)
			require.Equal(t, end, w.status(1).End)
		}
	})
}

// Argument: a disk whose meta file is gone, or older than its log, has promised something that it does not know any more. It must not count as one
// that has not, nor go on in an epoch that is over.
func TestSafetyDiskWithoutItsMeta(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		_, err := w.promote(2, false)
		require.NoError(t, err)
		w.well(0)
		w.stop(3)
		disk := w.nodes[3].disk
		require.NoError(t, storeMeta(disk, meta{Cluster: "test", Node: 3, Groups: 1, Members: w.all(), Epoch: 3}))
		_, err = Open(w.config(3))
		require.ErrorIs(t, err, ErrMeta)
		require.ErrorContains(t, err, "frames of epoch 4")
		require.NoError(t, disk.Remove(metaName))
		heal := w.cut(3)
		w.start(3)
		time.Sleep(5 * time.Second)
		require.True(t, w.status(3).Joining)
		require.False(t, w.status(3).Serving)
		heal()
		w.well(0)
		require.False(t, w.status(3).Joining)
		require.Equal(t, sent, w.messages(3))
	})
}

// Argument: a joining node asks so many others that one of them knows what it had promised. Those that may have forgotten it, too, do not count.
func TestSafetyJoiningNodesVouchForNobody(t *testing.T) {
	inBubble(t, 4, sync2(), func(w *world) {
		w.up()
		w.well(0)
		w.crash(vfs.KeepCache, 2, 3)
		w.crash(vfs.Empty, 4)
		w.start(4)
		w.until("node 4 has the log", func() bool { return w.status(4).End == w.status(1).End })
		r := w.nodes[4].r.Load()
		hears := func(node int32, joining bool) (still bool) {
			require.NoError(t, r.do(context.Background(), func() {
				r.takeAnswer(w.members[node-1], Status{Cluster: "test", Node: node, Epoch: 4, Groups: 1, Copies: 2, Members: w.all(), Joining: joining}, nil)
				still = r.state.meta.Joining
			}))
			return still
		}
		require.True(t, hears(2, true))
		require.False(t, hears(2, false))
	})
}
