package masterslave

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// Epochs name their leaders, and the next one is the smallest that does.
func TestEpochsNameLeaders(t *testing.T) {
	for n := 1; n <= 7; n++ {
		require.Equal(t, 0, leaderOf(firstEpoch(n), n))
		require.Positive(t, firstEpoch(n))
		require.LessOrEqual(t, firstEpoch(n), int32(n))
		for above := int32(0); above < 40; above++ {
			for i := range n {
				e := nextEpoch(above, i, n)
				require.Equal(t, i, leaderOf(e, n))
				require.Greater(t, e, above)
				require.LessOrEqual(t, e, above+int32(n))
			}
		}
	}
}

// An empty group begins only when every node has answered, and only with the first of the list.
func TestEmptyGroupWaitsForAll(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.start(1, 2)
		time.Sleep(time.Minute)
		for _, id := range []int32{1, 2} {
			s := w.status(id)
			require.Zero(t, s.Epoch)
			require.Equal(t, RoleIdle, s.Role)
			require.True(t, s.Joining, "an empty disk makes no promote safe")
			require.False(t, s.Serving)
		}
		w.start(3)
		w.well(0)
		require.Equal(t, RoleLeader, w.status(1).Role)
	})
}

// A node alone begins at once.
func TestGroupOfOne(t *testing.T) {
	inBubble(t, 1, async(), func(w *world) {
		w.up()
		require.EqualValues(t, 1, w.status(1).Epoch)
		sent := w.fill(1, 3)
		w.crash(vfs.KeepCache, 1)
		w.start(1)
		w.leads(1)
		require.Equal(t, sent, w.messages(1))
		res, err := w.promote(1, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		require.EqualValues(t, 2, res.Epoch)
	})
}

// A node with an empty disk whose peers have an epoch joins: it serves nothing, makes no promote
// safe, counts for no acknowledgement, and does not lead although its epoch names it.
func TestWipedLeaderJoins(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 10)
		w.well(0)
		w.crash(vfs.Empty, 1)
		w.start(1)
		w.until("it heard of the epoch", func() bool { return w.status(1).Epoch == 3 })
		time.Sleep(10 * time.Second)
		s := w.status(1)
		require.Equal(t, RoleJoining, s.Role)
		require.False(t, s.Serving)
		require.Zero(t, s.End)
		_, err := w.promote(1, false)
		require.ErrorIs(t, err, ErrUnsafe)
		require.ErrorContains(t, err, "not caught up")

		// With one of the others down there are too few answers that count: the joining one is
		// none.
		w.crash(vfs.KeepCache, 3)
		_, err = w.promote(0, false)
		require.ErrorIs(t, err, ErrUnsafe)
		require.ErrorContains(t, err, "1 of 3 nodes")
		w.start(3)
		w.until("node 3 is there", func() bool { return w.status(3).Ready })
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		require.NotEqualValues(t, 1, res.Leader)
		w.well(0)
		require.Equal(t, sent, w.messages(1))
		require.False(t, w.status(1).Joining)
	})
}

// A wiped node may have promised a newer epoch than those it now hears of. It goes on joining until
// it has heard from so many others that one of them would know, and until then no acknowledgement
// counts on it.
//
// Without the rule: node 1 leads epoch 3 and is away; node 2 is promoted on nodes 2 and 3, and
// acknowledges with 3; node 3 loses its disk while node 2 is away and 1 is back; 1 and 3 then
// acknowledge in epoch 3, which node 2's return undoes.
func TestWipedNodeForgetsNoPromise(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.until("node 3 follows node 2", func() bool { return w.status(2).Serving })
		sent = append(sent, w.fill(2, 3)...)
		w.crash(vfs.Empty, 3)
		w.crash(vfs.KeepCache, 2)
		w.start(1, 3)
		w.leads(1)
		w.until("node 3 copies node 1", func() bool { return w.status(3).End == w.status(1).End })
		_, err = w.send(1, "in an epoch that is over")
		require.EqualError(t, err, "copies 1 of 2")
		require.True(t, w.status(3).Joining)
		w.start(2)
		w.well(0)
		require.Equal(t, RoleLeader, w.status(2).Role)
		for _, id := range w.all() {
			require.Equal(t, sent, w.messages(id))
		}
	})
}

// A deposed leader that comes back asks first, and does not lead again.
func TestDeposedLeaderLearnsAtStart(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		_, err := w.promote(0, false)
		require.NoError(t, err)
		w.start(1)
		for range 3000 {
			require.NotEqual(t, RoleLeader, w.status(1).Role)
			time.Sleep(20 * time.Microsecond)
		}
		w.well(0)
	})
}

// A node goes on joining until it has all that its leader had when it joined.
func TestJoiningLastsUntilCaughtUp(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		for range 6 {
			_, err := w.send(1, strings.Repeat("x", maxShipBytes/2))
			require.NoError(t, err)
		}
		w.crash(vfs.Empty, 2)
		defer w.net.Shape([]netsim.Rule{{From: "n1", To: "n2", DelayMin: 20 * time.Millisecond, DelayMax: 20 * time.Millisecond}})()
		w.start(2)
		partial := false
		for w.status(2).End < w.status(1).End {
			s := w.status(2)
			partial = partial || s.End > 0
			require.True(t, s.Joining || !s.Ready, "%+v", s)
			time.Sleep(time.Millisecond)
		}
		require.True(t, partial)
		w.well(0)
	})
}

// A restart of every node keeps epoch, leader and messages.
func TestCleanRestart(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 10)
		w.well(0)
		for _, id := range w.all() {
			w.stop(id)
		}
		w.start(3, 2, 1)
		w.well(0)
		require.EqualValues(t, 3, w.status(1).Epoch)
		require.Equal(t, RoleLeader, w.status(1).Role)
		for _, id := range w.all() {
			require.Equal(t, sent, w.messages(id))
		}
	})
}

// The present leader can be promoted, too: a new epoch, the same leader, nothing lost.
func TestPromotePresentLeader(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.EqualValues(t, 1, res.Leader, "the leader wins between equals")
		require.EqualValues(t, 6, res.Epoch)
		w.well(0)
		sent = append(sent, w.fill(1, 3)...)
		w.well(0)
		require.Equal(t, sent, w.messages(2))
	})
}

// Whatever promoters race, an epoch has one leader, and one leads at the end.
func TestRacingPromoters(t *testing.T) {
	for seed := range uint64(10) {
		inSeededBubble(t, 3, seed, sync2(), func(w *world) {
			w.up()
			sent := w.fill(1, 20)
			w.well(0)
			led := map[int32]int32{}
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					res, err := w.promote(int32(i), false) // 0: choose
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						if other, there := led[res.Epoch]; there {
							assert.Equal(t, other, res.Leader)
						}
						led[res.Epoch] = res.Leader
					}
				}()
			}
			wg.Wait()
			if _, err := w.promote(0, false); err != nil {
				t.Log(err)
			}
			w.well(0)
			sent = append(sent, w.fill(w.status(1).Leader, 3)...)
			w.well(0)
			for _, id := range w.all() {
				require.Equal(t, sent, w.messages(id))
			}
		})
	}
}

// A candidate that was restarted since it recorded the epoch is not told to lead: it may hold less
// than it said.
func TestLeadNamesTheProcess(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		ask := func(req request) response {
			resp, err := call(context.Background(), w.admin.Dial, "n2:9093", req)
			require.NoError(t, err)
			return resp
		}
		resp := ask(request{Op: opRecord, Members: w.all(), Epoch: 4})
		require.Empty(t, resp.Error)
		require.Empty(t, ask(request{Op: opRecord, Members: w.all(), Epoch: 4}).Error, "it may have heard of it before it is asked")
		require.True(t, ask(request{Op: opRecord, Members: w.all(), Epoch: 3}).Refused)
		// It has not been told to lead, so its log is not yet the one to cut by; and of another
		// epoch it says nothing.
		require.Contains(t, ask(request{Op: opMatch, Members: w.all(), Epoch: 4, Boundaries: []boundary{{}}}).Error, "does not lead")
		require.Empty(t, ask(request{Op: opHolds, Members: w.all(), Epoch: 4, Boundaries: []boundary{{}}}).Error)
		require.NotEmpty(t, ask(request{Op: opHolds, Members: w.all(), Epoch: 3, Boundaries: []boundary{{}}}).Error)
		before := resp.Status.Incarnation
		w.crash(vfs.KeepCache, 2)
		w.start(2)
		require.Contains(t, ask(request{Op: opLead, Members: w.all(), Epoch: 4, Incarnation: before}).Error, "restarted")
		require.Contains(t, ask(request{Op: opLead, Members: w.all(), Epoch: 7, Incarnation: w.nodes[2].r.Load().incarnation}).Error, "not recorded")
		require.Contains(t, ask(request{Op: opRecord, Members: w.all(), Epoch: maxEpoch + 1}).Error, "beyond all reason")

		// An epoch that names another node is not this one's to lead, whoever asks: it would have
		// two leaders.
		resp = ask(request{Op: opRecord, Members: w.all(), Epoch: 5})
		require.Empty(t, resp.Error)
		require.Contains(t, ask(request{Op: opLead, Members: w.all(), Epoch: 5, Incarnation: resp.Status.Incarnation}).Error, "names another node")
		require.NotEqual(t, RoleLeader, w.status(2).Role)
		require.Contains(t, ask(request{Op: opRecord, Members: w.all(), Group: 1, Epoch: 9}).Error, "group")
	})
}

// A node that was restarted while the others recorded the epoch does not count: its disk may be
// another one.
func TestRestartedNodeDoesNotCount(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.crash(vfs.KeepCache, 3)
		// Node 2 answers, and is another process when it is asked again: the links are slow enough
		// to get between.
		undo := w.net.Shape([]netsim.Rule{{From: "admin", To: "n2", DelayMin: 300 * time.Millisecond, DelayMax: 300 * time.Millisecond}})
		defer undo()
		type outcome struct {
			res   PromoteResult
			again bool
			err   error
		}
		p, err := newPromoter(PromoteRequest{Node: 1}, w.members, w.admin.Dial)
		require.NoError(t, err)
		done := make(chan outcome)
		go func() {
			res, again, err := p.attempt(context.Background())
			done <- outcome{res, again, err}
		}()
		w.until("node 2 has heard of it", func() bool { return w.status(2).Epoch == 6 })
		time.Sleep(750 * time.Millisecond) // a dial and a request, 300 ms each, then the same again
		w.crash(vfs.KeepCache, 2)
		w.start(2)
		got := <-done
		require.True(t, got.again, "the next attempt may be safe")
		require.ErrorIs(t, got.err, ErrUnsafe)
		var errs []string
		for _, a := range got.res.Answers {
			errs = append(errs, a.Error)
		}
		require.Contains(t, fmt.Sprint(errs), "restarted")
	})
}

// Bugzoo RF-04: an entry of an older epoch is not committed by copies of it alone, but through the
// frame with which the epoch began.
func TestOldEntriesCommitThroughTheEpochFrame(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		old := w.cut(1)
		_, err := w.send(1, "old")
		require.Error(t, err)
		_, err = w.promote(1, false)
		require.NoError(t, err)
		r := w.nodes[1].r.Load()
		require.NoError(t, r.do(context.Background(), func() {
			l := r.state.lead
			require.Less(t, r.state.epochAt.end-100, l.epochEnd)
			f := l.followers[0]
			*f = progress{node: f.node, session: 99, matched: true, appended: l.epochEnd - 1}
			r.advance(time.Now())
			require.Zero(t, l.committed, "two nodes have the old entry, and that is not enough")
			require.EqualError(t, l.weak(r, 1), "copies 1 of 2", "what a producer waits for is the epoch's frame, too")
			f.appended = l.epochEnd
			r.advance(time.Now())
			require.Equal(t, l.epochEnd, l.committed)
		}))
		old()
	})
}

// A follower that is gone, or has been refused, does not count any more; what was committed with it
// stays so, or readers would see the log become shorter.
func TestCommittedNeverGoesBack(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		defer w.cut(1)()
		time.Sleep(time.Minute) // until both followers are gone
		r := w.nodes[1].r.Load()
		w.spread(1, 1)
		require.NoError(t, r.do(context.Background(), func() {
			l, end := r.state.lead, r.log.End()
			fast, lagging := l.followers[0], l.followers[1]
			*fast = progress{node: fast.node, session: 98, matched: true, appended: end}
			*lagging = progress{node: lagging.node, session: 99, matched: true, appended: l.epochEnd}
			r.advance(time.Now())
			require.Equal(t, end, l.committed)
			r.takeLeave(fast.node, 98)
			r.advance(time.Now())
			require.Equal(t, end, l.committed)
		}))
	})
}

// Bugzoo MS-01: what a follower says of itself moves nothing beyond the leader's own log, and
// nothing before its log has matched; an older connection's word does not count any more.
func TestProgressIsNotTakenOnTrust(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.up()
		w.crash(vfs.KeepCache, 2)
		r := w.nodes[1].r.Load()
		w.until("gone", func() bool { return !r.Status().Followers[0].Matched })
		require.NoError(t, r.do(context.Background(), func() {
			tail := r.log.Tail()
			p := pull{Node: 2, Epoch: 2, From: tail.Position, Chain: tail.Chain, Flushed: 1 << 40}
			end := r.log.End()
			judge := func(p pull) (shipment, bool, *progress) {
				held := p.Session
				s, stale := r.takePull(p, r.match(r.seen(), p), held)
				return s, stale, r.state.lead.followers[0]
			}
			s, _, f := judge(p)
			require.Equal(t, verdictOK, s.Verdict)
			require.Zero(t, f.appended, "a new connection starts at nothing")
			p.Session = s.Session
			_, _, f = judge(p)
			require.Equal(t, end, f.appended)
			require.Equal(t, end, f.flushed, "not beyond what it has")

			ahead := p
			ahead.From = end + 1000
			s, _, f = judge(ahead)
			require.Equal(t, verdictAhead, s.Verdict)
			require.Zero(t, f.appended)
			r.takeFlushed(2, flushed{Session: p.Session, Position: end})
			require.Zero(t, f.flushed, "nothing counts before it matches")

			other := p
			other.Chain++
			s, _, f = judge(other)
			require.Equal(t, verdictDiverged, s.Verdict)
			require.Zero(t, f.appended)
			inside := p
			inside.From -= 5
			s, _, _ = judge(inside)
			require.Equal(t, verdictDiverged, s.Verdict, "not a boundary")

			low := p
			low.Flushed = 10
			s, _, f = judge(low)
			require.Equal(t, verdictOK, s.Verdict)
			require.EqualValues(t, 10, f.flushed, "what was flushed before the refusal says nothing")

			older := p
			fresh := p
			fresh.Session = 0
			s, _, _ = judge(fresh)
			require.NotEqual(t, older.Session, s.Session)
			_, stale, f := judge(older)
			require.True(t, stale, "an older connection is closed")
			require.Zero(t, f.appended)
			r.takeFlushed(2, flushed{Session: older.Session, Position: end})
			require.Zero(t, f.flushed)

			past := p
			past.Epoch = 1
			s, _, _ = judge(past)
			require.Equal(t, verdictEpoch, s.Verdict)

			_, stale = r.takePull(p, r.match(r.seen(), p), 0)
			require.True(t, stale, "a session that this connection was not given")
			fresh.Session = r.state.lead.followers[0].session
			_, _, f = judge(fresh)
			require.Equal(t, end, f.appended)
			r.takeLeave(2, older.Session)
			require.Equal(t, end, f.appended, "the end of an older connection is not that of the newer one")
			r.takeLeave(2, fresh.Session)
			require.Zero(t, f.appended)

			newer := fresh
			newer.Epoch = 3
			s, _ = r.takePull(newer, r.match(r.seen(), newer), newer.Session)
			require.Equal(t, verdictEpoch, s.Verdict)
			require.Nil(t, r.state.lead, "the follower knows of a newer epoch")
			require.EqualValues(t, 3, r.state.meta.Epoch)
		}))
	})
}

// Everything works on links on which every packet takes 20 to 100 ms.
func TestSlowLinks(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		defer w.net.Shape([]netsim.Rule{{DelayMin: 20 * time.Millisecond, DelayMax: 100 * time.Millisecond}})()
		w.up()
		sent := w.fill(1, 10)
		w.well(0)
		w.crash(vfs.Empty, 1)
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.start(1)
		w.well(0)
		require.Equal(t, sent, w.messages(1))
	})
}

// Loss, too: three of ten packets.
func TestLossyLinks(t *testing.T) {
	inBubble(t, 3, with(sync2(), "replication.timeout.ms", "60000"), func(w *world) {
		w.up()
		undo := w.net.Shape([]netsim.Rule{{Loss: 0.3}})
		sent := w.fill(1, 30)
		undo()
		w.well(0)
		require.Equal(t, sent, w.messages(3))
	})
}

// Two groups: each partition lives in one, topics in both, and one goes on without the other.
func TestGroups(t *testing.T) {
	inBubble(t, 4, with(sync2(), "groups", "2"), func(w *world) {
		w.start(w.all()...)
		w.well(0)
		w.well(1)
		w.until("all know both leaders", func() bool {
			for _, m := range w.nodes {
				a, _ := m.r.Load().GroupLeader(0)
				b, _ := m.r.Load().GroupLeader(1)
				if a != 1 || b != 3 {
					return false
				}
			}
			return true
		})
		w.topic(4, "t")
		top, created, err := w.nodes[2].r.Load().CreateTopic(context.Background(), "t", 7, false)
		require.NoError(t, err)
		require.False(t, created)
		require.EqualValues(t, 2, top.Partitions, "the topic is as it was made")
		w.well(0)
		w.well(1)
		for _, id := range w.all() {
			m := w.nodes[id].r.Load().View().Machine
			require.Equal(t, top.ID, m.TopicByName("t").ID)
			group := w.members[id-1].Group
			require.NotNil(t, m.TopicByName("t").Local(group, 2))
			require.Nil(t, m.TopicByName("t").Local(1-group, 2))
		}
		w.crash(vfs.KeepCache, 3)
		_, err = w.send(1, "group 0 goes on")
		require.NoError(t, err)
		_, err = w.send(4, "group 1 has no leader")
		require.Equal(t, kerr.NotLeaderForPartition, code(err))
		_, _, err = w.nodes[1].r.Load().CreateTopic(context.Background(), "u", 0, false)
		require.Equal(t, kerr.RequestTimedOut, code(err))
		require.Nil(t, w.nodes[1].r.Load().View().Machine.TopicByName("u"), "nothing is made by halves while a group has no leader")
		_, err = w.nodes[1].r.Load().askLeader(context.Background(), 0, opCreate, topicRequest{Name: "u"})
		require.NoError(t, err, "as by a node that ended between two groups")
		w.start(3)
		w.leads(3)
		w.well(1)
		_, created, err = w.nodes[1].r.Load().CreateTopic(context.Background(), "u", 0, false)
		require.NoError(t, err, "asking again completes it")
		require.False(t, created)
		w.well(1)
		require.NotNil(t, w.nodes[4].r.Load().View().Machine.TopicByName("u"))

		require.NoError(t, w.nodes[2].r.Load().DeleteTopic(context.Background(), "t", [16]byte{}))
		w.well(0)
		w.well(1)
		for _, id := range w.all() {
			require.Nil(t, w.nodes[id].r.Load().View().Machine.TopicByName("t"), fmt.Sprint(id))
		}
		err = w.nodes[2].r.Load().DeleteTopic(context.Background(), "t", [16]byte{})
		require.Equal(t, kerr.UnknownTopicOrPartition, code(err))
	})
}

// A group that lost every disk begins with its first epoch, below those that it had. The other
// groups find its leader nevertheless.
func TestOtherGroupsFindALowerEpoch(t *testing.T) {
	inBubble(t, 4, with(sync2(), "groups", "2"), func(w *world) {
		w.start(w.all()...)
		w.well(0)
		w.well(1)
		_, err := Promote(context.Background(), PromoteRequest{Group: 1, Node: 4}, w.members, w.admin.Dial)
		require.NoError(t, err)
		w.well(1)
		knows := func(leader int32) func() bool {
			return func() bool {
				for _, id := range []int32{1, 2} {
					if got, _ := w.nodes[id].r.Load().GroupLeader(1); got != leader {
						return false
					}
				}
				return true
			}
		}
		w.until("group 0 knows node 4", knows(4))
		w.crash(vfs.KeepCache, 3)
		time.Sleep(time.Minute)
		require.True(t, knows(4)(), "an answer that does not come changes nothing")
		w.start(3)
		w.well(1)
		w.crash(vfs.Empty, 3, 4)
		w.start(3, 4)
		w.well(1)
		w.until("group 0 knows node 3", knows(3))
		w.topic(2, "t")
	})
}

// A disk of another node, group or cluster is refused.
func TestForeignDisk(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.stop(2)
		w.nodes[3].host = w.net.Host("x")
		cfg := w.config(2)
		cfg.FS = w.nodes[2].disk
		cfg.Node = 3
		_, err := Open(cfg)
		require.ErrorIs(t, err, ErrMeta)
		require.ErrorContains(t, err, "belongs to node 2")
		cfg.Node, cfg.Cluster = 2, "other"
		_, err = Open(cfg)
		require.ErrorIs(t, err, ErrMeta)
		cfg.Cluster, cfg.Node = "test", 9
		_, err = Open(cfg)
		require.ErrorContains(t, err, "not in the list")
		cfg.Node, cfg.Members = 2, cfg.Members[:1]
		_, err = Open(cfg)
		require.Error(t, err)
	})
}

// A follower serves consumers when it is allowed to: below what its leader told it, and not before
// that.
func TestFollowerRead(t *testing.T) {
	inBubble(t, 2, with(sync2(), "follower-read", "true"), func(w *world) {
		w.up()
		w.fill(1, 5)
		w.until("the follower is told", func() bool { v := w.nodes[2].r.Load().View(); return v.Readable && v.Visible == v.End })
		w.crash(vfs.KeepCache, 1)
		time.Sleep(10 * time.Second)
		require.True(t, w.nodes[2].r.Load().View().Readable, "it goes on when the leader is gone")
		w.crash(vfs.KeepCache, 2)
		w.start(2)
		time.Sleep(5 * time.Second)
		require.False(t, w.nodes[2].r.Load().View().Readable, "nobody has told it anything since its start")
	})
}
