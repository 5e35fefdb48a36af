package masterslave

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

func followerRead(m map[string]string) map[string]string { return with(m, "follower-read", "true") }

// Argument: a follower that has started again is told by a leader that has started again, too, and does not know yet what was committed. If it
// took that for the truth, its readers would see a log that has become shorter, or empty.
func TestSafetyFollowerIsNotToldByWhoDoesNotKnow(t *testing.T) {
	inBubble(t, 3, followerRead(map[string]string{"replication": "sync", "copies": "3"}), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.crash(vfs.KeepCache, 1, 2, 3)
		w.start(1, 2)
		w.until("node 2 follows", func() bool { return w.status(1).Followers != nil && w.status(1).Followers[0].Matched })
		for range 100 {
			v := w.nodes[2].r.Load().View()
			require.False(t, v.Readable)
			time.Sleep(10 * time.Millisecond)
		}
		w.start(3)
		w.until("node 2 is told", func() bool { v := w.nodes[2].r.Load().View(); return v.Readable && v.Committed == v.End })
	})
}

// Argument: a follower is told more than it has, and less than that by an operator's decision. It must never promise its readers what it does not
// have, lest they skip what will be written there.
func TestSafetyFollowerShowsWhatItHas(t *testing.T) {
	inBubble(t, 3, followerRead(sync2()), func(w *world) {
		w.up()
		w.crash(vfs.KeepCache, 3)
		big := strings.Repeat("x", 300<<10)
		for range 12 {
			_, err := w.send(1, big) // more than one answer can ship
			require.NoError(t, err)
		}
		undo := w.net.Shape([]netsim.Rule{{To: "n3", DelayMin: 20 * time.Millisecond, DelayMax: 20 * time.Millisecond}})
		defer undo()
		w.start(3)
		partly := false
		w.until("node 3 has it all", func() bool {
			v := w.nodes[3].r.Load().View()
			require.LessOrEqual(t, v.Visible, v.End)
			partly = partly || v.Readable && v.Committed == v.End && v.End < w.status(1).End
			return v.Readable && v.End == w.status(1).End
		})
		require.True(t, partly, "it was told more than it had")

		// What it was told goes by force.
		heal := w.cut(3)
		told := w.fill(1, 3)
		w.until("node 2 is told", func() bool { v := w.nodes[2].r.Load().View(); return v.Readable && v.Committed == v.End })
		before := w.status(2).End
		w.crash(vfs.Empty, 1)
		heal()
		res, err := w.promote(3, true)
		require.NoError(t, err)
		require.True(t, res.Forced)
		w.until("node 2 follows node 3", func() bool {
			v := w.nodes[2].r.Load().View()
			require.LessOrEqual(t, v.Visible, v.End)
			return v.End < before && w.status(2).Role == RoleFollower && v.End == w.status(3).End
		})
		require.NotSubset(t, w.messages(2), told)
	})
}

// Argument: a refused follower was told what was committed by a leader that has lost some of it. What it would show to its readers, the others will
// not see.
func TestSafetyRefusedFollowerShowsNothing(t *testing.T) {
	loseTail(t, followerRead(sync2()), func(w *world, acked []string) {
		w.until("the follower is refused", func() bool { return w.status(2).Role == RoleRefused })
		v := w.nodes[2].r.Load().View()
		require.False(w.t, v.Readable)
		require.Positive(w.t, v.Committed)
	})
}

// Argument: while a follower truncates, and while it joins, its log holds less than the state that readers are shown, or less than it once showed.
func TestSafetyNoReadsOfHalfALog(t *testing.T) {
	inBubble(t, 3, followerRead(with(sync2(), "replication.timeout.ms", "300")), func(w *world) {
		w.nodes[2].disk = vfs.NewDisk(5, vfs.DiskOptions{SyncLatency: 10 * time.Millisecond})
		w.up()
		w.fill(1, 3)
		w.well(0)
		w.until("node 2 is told", func() bool { return w.nodes[2].r.Load().View().Readable })
		heal := w.cut(3)
		w.fill(1, 3)
		w.crash(vfs.Empty, 1)
		heal()
		promoted := make(chan error, 1)
		go func() {
			_, err := w.promote(3, true)
			promoted <- err
		}()
		seen := false
		for range 60_000 { // a promote waits for the node that is gone
			v := w.nodes[2].r.Load().View()
			seen = seen || v.Rebuilding
			require.False(t, v.Rebuilding && v.Readable)
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, <-promoted)
		require.True(t, seen, "it truncated")

		w.until("node 3 serves", func() bool { return w.status(3).Serving })
		w.crash(vfs.KeepCache, 2) // so that node 1, which comes with an empty disk, cannot end joining
		w.start(1)
		w.until("node 1 has the log", func() bool { return w.status(1).End == w.status(3).End })
		for range 100 {
			v := w.nodes[1].r.Load().View()
			require.False(t, v.Readable)
			time.Sleep(10 * time.Millisecond)
		}
		require.True(t, w.status(1).Joining)
	})
}
