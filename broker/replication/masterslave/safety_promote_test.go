package masterslave

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// Argument: node 1, empty and the first of the list, has heard that node 2 is empty; then an operator forces node 2 to lead without node 1's hearing
// of it; then node 1 hears that node 3 is empty, too, and begins the group with the first epoch. If that were above the promoted one, it
// would undo the promote and everything that was written under it.
func TestSafetyPromoteBeatsTheFirstEpoch(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.start(1, 2)
		w.until("node 1 has heard node 2", func() bool {
			n := 0
			r := w.nodes[1].r.Load()
			require.NoError(t, r.do(r.ctx, func() { n = len(r.state.heard) }))
			return n == 1
		})
		healPeers := w.cut(2)
		healAdmin := w.net.Shape([]netsim.Rule{{From: "admin", To: "n1", Drop: true}, {From: "n1", To: "admin", Drop: true}})
		res, err := w.promote(2, true)
		require.NoError(t, err)
		require.True(t, res.Forced)
		_, _, err = w.nodes[2].r.Load().CreateTopic(context.Background(), "t", 1, false)
		require.Error(t, err, "no copies yet")
		_, err = w.send(2, "under the promoted leader")
		require.Error(t, err)
		w.start(3)
		w.leads(1)
		healPeers()
		healAdmin()
		w.well(0)
		require.Equal(t, RoleLeader, w.status(2).Role)
		for _, id := range w.all() {
			require.Equal(t, []string{"under the promoted leader"}, w.messages(id))
		}
		time.Sleep(time.Second)
		require.Equal(t, res.Epoch, w.status(1).Epoch)
	})
}

// ask sends a control request as an operator's tool does.
func (w *world) ask(node int32, req request) response {
	w.t.Helper()
	resp, err := call(context.Background(), w.admin.Dial, w.members[node-1].Peer, req)
	require.NoError(w.t, err)
	return resp
}

// Argument: the message that tells a candidate to lead arrives long after another promote. The candidate that has heard of the other refuses; one
// that has not leads an epoch in which nobody acknowledges anything with it, until it hears.
func TestSafetyLateLead(t *testing.T) {
	for _, heard := range []bool{true, false} {
		inBubble(t, 3, with(sync2(), "replication.timeout.ms", "300"), func(w *world) {
			w.up()
			sent := w.fill(1, 3)
			w.well(0)
			late := request{Op: opLead, Members: w.all(), Epoch: 4}
			for _, id := range []int32{2, 3} {
				resp := w.ask(id, request{Op: opRecord, Members: w.all(), Epoch: 4})
				require.Empty(t, resp.Error)
				if id == 2 {
					late.Incarnation = resp.Status.Incarnation
				}
			}
			heal := func() {}
			if !heard {
				undoPeers := w.cut(2)
				undo := w.net.Shape([]netsim.Rule{{From: "admin", To: "n2", Drop: true}})
				res, err := w.promote(3, false)
				require.NoError(t, err)
				require.True(t, res.Safe)
				undo()
				heal = undoPeers
			} else {
				_, err := w.promote(3, false)
				require.NoError(t, err)
			}
			w.until("node 3 serves", func() bool { return w.status(3).Serving })
			sent = append(sent, w.fill(3, 3)...)
			resp := w.ask(2, late)
			require.Equal(t, heard, resp.Refused)
			if !heard {
				require.Equal(t, RoleLeader, w.status(2).Role)
				_, err := w.send(2, "never acknowledged")
				require.EqualError(t, err, "copies 1 of 2")
			}
			heal()
			w.well(0)
			require.Equal(t, RoleLeader, w.status(3).Role)
			for _, id := range w.all() {
				require.Equal(t, sent, w.messages(id))
			}
		})
	}
}

// Argument: the operator dies after some or all nodes have recorded the epoch, which names a node that is never told. Nobody may lead it by its
// name alone, not even after a restart; the next promote heals the group.
func TestSafetyOperatorDiesBeforeLead(t *testing.T) {
	for recorded := 1; recorded <= 3; recorded++ {
		for _, epoch := range []int32{4, 6} { // of a follower, and of the present leader
			inBubble(t, 3, sync2(), func(w *world) {
				w.up()
				sent := w.fill(1, 3)
				w.well(0)
				for id := range int32(recorded) {
					require.Empty(t, w.ask(id+1, request{Op: opRecord, Members: w.all(), Epoch: epoch}).Error)
				}
				w.until("all have heard", func() bool {
					return w.status(1).Epoch == epoch && w.status(2).Epoch == epoch && w.status(3).Epoch == epoch
				})
				w.crash(vfs.KeepCache, 1, 2, 3)
				w.start(1, 2, 3)
				for range 100 {
					for _, id := range w.all() {
						require.NotEqual(t, RoleLeader, w.status(id).Role)
					}
					time.Sleep(50 * time.Millisecond)
				}
				res, err := w.promote(0, false)
				require.NoError(t, err)
				require.True(t, res.Safe)
				w.well(0)
				sent = append(sent, w.fill(res.Leader, 1)...)
				w.well(0)
				require.Equal(t, sent, w.messages(2))
			})
		}
	}
}

// Argument: a follower stands still while another leader is promoted, and goes on with a connection to the old one that was never closed. It finds
// the new leader, and counts again.
func TestSafetyPausedFollowerFindsTheLeader(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.well(0)
		thaw := w.nodes[3].host.Freeze()
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.until("it serves", func() bool { return w.status(2).Serving })
		sent := w.fill(2, 3)
		time.Sleep(time.Minute)
		thaw()
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		sent = append(sent, w.fill(2, 3)...)
		require.Equal(t, sent, w.messages(3))
	})
}

// Argument: two disks are lost at once and the third node is gone, so that nothing can be safe. A forced promote begins anew; the group does not
// acknowledge with nodes that may have forgotten something, and it does again as soon as every node has been heard.
func TestSafetyOnlyJoiningNodes(t *testing.T) {
	inBubble(t, 3, with(sync2(), "replication.timeout.ms", "300"), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.crash(vfs.Empty, 1, 2, 3)
		w.start(2, 3)
		time.Sleep(10 * time.Second)
		_, err := w.promote(0, false)
		require.ErrorIs(t, err, ErrUnsafe)
		res, err := w.promote(2, true)
		require.NoError(t, err)
		require.False(t, res.Safe)
		require.False(t, w.status(2).Joining, "whatever it lacks, the group has decided to go on without")
		_, _, err = w.nodes[2].r.Load().CreateTopic(context.Background(), "t", 1, false)
		require.EqualError(t, err, "copies 1 of 2")
		w.start(1)
		w.well(0)
		sent := w.fill(2, 3)
		w.well(0)
		require.Equal(t, sent, w.messages(1))
	})
}

// Argument: two histories were written in one epoch, and the operator promotes the present leader. The follower that was refused must not stay so
// for ever.
func TestSafetyPromoteEndsARefusal(t *testing.T) {
	loseTail(t, sync2(), func(w *world, acked []string) {
		w.until("the follower is refused", func() bool { return w.status(2).Role == RoleRefused })
		w.spread(1, len(acked)+5)
		_, err := w.promote(1, true)
		require.NoError(w.t, err)
		w.well(0)
		require.Equal(w.t, w.messages(1), w.messages(2))
		w.fill(1, 1)
	})
}

// Argument: a leader lost its unflushed tail, came back, and went on with another follower; so there are two histories of one epoch, and both hold
// what was acknowledged. The longer one is not the whole truth: no promote may call itself safe, whichever it would choose.
func TestSafetyTwoHistoriesAreNotSafe(t *testing.T) {
	for _, more := range []int{1, 100} { // the old history stays the longer one, or not
		tried := false
		for seed := uint64(0); seed < 20 && !tried; seed++ {
			inSeededBubble(t, 3, seed, sync2(), func(w *world) {
				w.up()
				time.Sleep(2 * flushInterval)
				w.well(0)
				heal := w.cut(3)
				w.fill(1, 30)
				end := w.status(2).End
				w.crash(vfs.PowerLoss, 1)
				w.crash(vfs.KeepCache, 3) // node 3 has only what was flushed before
				heal()
				w.start(1, 3)
				w.leads(1)
				if w.status(1).End == end {
					return
				}
				w.until("node 2 is refused", func() bool { return w.status(2).Role == RoleRefused })
				w.until("node 3 matches", func() bool { return w.status(1).Followers[1].Matched })
				w.fill(1, more)
				tried = true
				for _, node := range []int32{0, 1, 2} {
					_, err := w.promote(node, false)
					require.ErrorIs(t, err, ErrUnsafe)
				}
				require.EqualValues(t, 3, w.status(1).Epoch, "it could be seen beforehand, and nothing was changed")
				res, err := w.promote(0, true)
				require.NoError(t, err)
				require.False(t, res.Safe)
				w.well(0)
			})
		}
		require.True(t, tried, "20 power losses lost nothing")
	}
}

// Argument: a deposed leader that nobody could tell has a long tail that nobody acknowledged, and the newer leader is gone. The longest log is not the
// one with the most history.
func TestSafetyNewerBeatsLonger(t *testing.T) {
	inBubble(t, 3, with(sync2(), "replication.timeout.ms", "300"), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		w.well(0)
		heal := w.cut(1)
		undo := w.net.Shape([]netsim.Rule{{From: "admin", To: "n1", Drop: true}})
		w.spread(1, 50)
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.until("it serves", func() bool { return w.status(2).Serving })
		sent = append(sent, w.fill(2, 1)...)
		w.until("node 3 has it", func() bool { return w.status(3).End == w.status(2).End })
		w.crash(vfs.KeepCache, 2)
		undo()
		require.Greater(t, w.status(1).End, w.status(3).End)
		_, err = w.promote(1, false)
		require.ErrorIs(t, err, ErrUnsafe)
		res, err = w.promote(0, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		require.EqualValues(t, 3, res.Leader)
		heal()
		w.start(2)
		w.well(0)
		require.Equal(t, sent, w.messages(1))
	})
}

// Argument: a deposed leader comes back, and the first who answers does not know of the newer epoch either. It waits for the others before it leads, and
// so serves no reader a state that is over.
func TestSafetyStartWaitsForAllAnswers(t *testing.T) {
	inBubble(t, 3, map[string]string{"replication": "sync", "copies": "3"}, func(w *world) {
		w.up()
		w.well(0)
		w.crash(vfs.KeepCache, 1, 3)
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe, "every acknowledged message is everywhere")
		undo := w.net.Shape([]netsim.Rule{{From: "n2", To: "n3", Drop: true}, {From: "n3", To: "n2", Drop: true}, {From: "n2", To: "n1", DelayMin: 300 * time.Millisecond, DelayMax: 300 * time.Millisecond}})
		w.start(3)
		w.until("node 3 is ready", func() bool { return w.status(3).Ready })
		require.EqualValues(t, 3, w.status(3).Epoch)
		w.start(1)
		for range 300 {
			require.NotEqual(t, RoleLeader, w.status(1).Role)
			time.Sleep(10 * time.Millisecond)
		}
		undo()
		w.well(0)
		require.Equal(t, RoleLeader, w.status(2).Role)
	})
}
