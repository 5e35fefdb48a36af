package masterslave

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// promoteWith promotes, and runs meanwhile before the nth connection to a node is opened: the first
// carries the question for its status, and when it is the candidate, one follows for each log that
// it is to hold, before the one with the epoch. The promoter dials on goroutines of its own;
// meanwhile runs on the test's, which it may end.
func (w *world) promoteWith(node int32, nth int32, at int32, meanwhile func()) (PromoteResult, error) {
	w.t.Helper()
	var dials atomic.Int32
	reached, goOn := make(chan struct{}), make(chan struct{})
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == w.members[at-1].Peer && dials.Add(1) == nth {
			close(reached)
			<-goOn
		}
		return w.admin.Dial(ctx, network, address)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // a test that ends here takes the promote with it
	var res PromoteResult
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		res, err = Promote(ctx, PromoteRequest{Node: node}, w.members, dial, WithRequestTimeout(time.Second))
	}()
	select {
	case <-reached:
		func() {
			defer close(goOn)
			meanwhile()
		}()
		<-ended
	case <-ended:
		require.Fail(w.t, "the promote ended before it opened the connection", "number %d to node %d", nth, at)
	}
	return res, err
}

// A promote of a node that falls behind between the questions and the recording of the epoch is
// refused too late: nobody leads any more. The group gets its leader back, by a promote that is
// safe itself, and goes on.
func TestRefusedPromoteGivesTheGroupBack(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		w.well(0)
		heal := func() {}
		_, err := w.promoteWith(2, 4, 2, func() {
			heal = w.cut(2)
			sent = append(sent, w.fill(1, 1)...)
		})
		require.ErrorIs(t, err, ErrUnsafe)
		require.ErrorContains(t, err, "has more history than node 2")
		require.ErrorContains(t, err, "node 1 leads as before, now in epoch 6")
		require.Equal(t, RoleLeader, w.status(1).Role)
		require.NotEqual(t, RoleLeader, w.status(2).Role)
		sent = append(sent, w.fill(1, 3)...)
		heal()
		w.well(0)
		require.Equal(t, sent, w.messages(2))
	})
}

// When it is not safe to give the group back, it stays without a leader, and the error says so.
func TestRefusedPromoteThatCannotGiveBack(t *testing.T) {
	for name, leader := range map[string]int32{"no former leader": 0, "too few nodes": 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, sync2(), func(w *world) {
				w.up()
				sent := w.fill(1, 3)
				w.well(0)
				gone := []int32{3}
				if leader == 0 {
					w.crash(vfs.KeepCache, 1)
				} else {
					gone = []int32{1, 3}
				}
				nth := int32(3) // a status, and the log of node 3
				if leader != 0 {
					nth = 4
				}
				_, err := w.promoteWith(2, nth, 2, func() { w.crash(vfs.KeepCache, gone...) })
				require.ErrorIs(t, err, ErrUnsafe)
				require.ErrorContains(t, err, "1 of 3 nodes answer")
				require.ErrorContains(t, err, "epoch 4 is recorded and nobody leads: promote again")
				require.NotEqual(t, RoleLeader, w.status(2).Role)
				w.start(1, 3)
				w.until("all are there", func() bool { return w.status(1).Ready && w.status(3).Ready })
				res, err := w.promote(0, false)
				require.NoError(t, err)
				w.well(0)
				require.Equal(t, sent, w.messages(res.Leader))
			})
		})
	}
}

// What makes a promote unsafe halfway may be over a moment later: a node was restarted. The promote
// starts over.
func TestPromoteStartsOver(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		res, err := w.promoteWith(0, 3, 2, func() {
			w.crash(vfs.KeepCache, 3)
			w.start(3)
			w.until("node 3 is ready", func() bool { return w.status(3).Ready })
		})
		require.NoError(t, err)
		require.True(t, res.Safe)
		require.EqualValues(t, 2, res.Leader)

		// The candidate itself: it has recorded the epoch, and is another process when it is told
		// to lead.
		w.start(1)
		w.well(0)
		res, err = w.promoteWith(2, 6, 2, func() {
			w.crash(vfs.KeepCache, 2)
			w.start(2)
			w.until("node 2 is ready", func() bool { return w.status(2).Ready })
		})
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.well(0)
		require.Equal(t, sent, w.messages(2))
	})
}

// A promote that failed does not depose the leader that another operator has made meanwhile, and a
// forced one gives nothing back.
func TestRefusedPromoteLeavesTheLeaderAlone(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		p, err := newPromoter(PromoteRequest{Node: 2}, w.members, w.admin.Dial)
		require.NoError(t, err)
		p.former, p.recorded = 1, 4
		res, err := w.promote(3, false)
		require.NoError(t, err)
		refused := errors.New("refused")
		err = p.giveBack(context.Background(), refused)
		require.ErrorIs(t, err, refused)
		require.ErrorContains(t, err, "node 3 leads in epoch 5")
		require.Equal(t, res.Epoch, w.status(3).Epoch)

		require.Empty(t, w.ask(1, request{Op: opRecord, Members: w.all(), Epoch: 6}).Error)
		w.until("nobody leads", func() bool { return w.status(3).Role != RoleLeader })
		p.req.Force = true
		require.ErrorContains(t, p.giveBack(context.Background(), refused), "epoch 6 is recorded and nobody leads")
		require.EqualValues(t, 6, w.status(1).Epoch)
	})
}

// A node that has recorded a higher epoch meanwhile would depose the new leader as soon as it is
// heard. The promote starts over, above it.
func TestPromoteStartsOverAboveAHigherEpoch(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		res, err := w.promoteWith(0, 2, 3, func() {
			require.Empty(t, w.ask(3, request{Op: opRecord, Members: w.all(), Epoch: 8}).Error)
		})
		require.NoError(t, err)
		require.Greater(t, res.Epoch, int32(8))
		w.well(0)
	})
}

// A node is told to lead before its start round is over. The end of the round must not begin its
// leadership again: what it has committed since would be forgotten, and readers refused.
func TestLeadDuringTheStartRound(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.fill(1, 1)
		w.well(0)
		w.crash(vfs.KeepCache, 1, 2, 3)
		w.start(2)
		lead := func() (l *leadership) {
			r := w.nodes[2].r.Load()
			require.NoError(t, r.do(context.Background(), func() { l = r.state.lead }))
			return l
		}
		resp := w.ask(2, request{Op: opRecord, Members: w.all(), Epoch: 4})
		require.False(t, resp.Status.Ready)
		require.Empty(t, w.ask(2, request{Op: opLead, Members: w.all(), Epoch: 4, Incarnation: resp.Status.Incarnation}).Error)
		began := lead()
		require.NotNil(t, began)
		time.Sleep(2 * startRound)
		require.Same(t, began, lead())
	})
}

// Which node is to be preferred, and how many answers are enough.
func TestPromoteRules(t *testing.T) {
	node := func(id int32, s Status) answer {
		s.Node, s.Copies = id, max(s.Copies, 2)
		return answer{member: Member{ID: id}, status: s}
	}
	for _, c := range []struct {
		what          string
		worse, wanted Status
	}{
		{"the newer epoch, however short", Status{LastEpoch: 3, End: 900}, Status{LastEpoch: 4, End: 100}},
		{"the longer log of one epoch", Status{LastEpoch: 4, End: 100}, Status{LastEpoch: 4, End: 101}},
		{"not one that joins, whatever it has", Status{LastEpoch: 5, End: 900, Joining: true}, Status{LastEpoch: 3, End: 1}},
		{"the leader among equals", Status{LastEpoch: 4, End: 100, Role: RoleFollower}, Status{LastEpoch: 4, End: 100, Role: RoleLeader}},
	} {
		a, b := node(1, c.worse), node(2, c.wanted)
		require.True(t, better(b, a), c.what)
		require.False(t, better(a, b), c.what)
	}
	p := &promoter{members: make([]Member, 3)}
	all := Status{LastEpoch: 3, End: 100}
	for _, c := range []struct {
		what    string
		answers []answer
		says    string
	}{
		{"two of three for two copies", []answer{node(1, all), node(2, all)}, ""},
		{"one of three for two copies", []answer{node(1, all)}, "2 are needed"},
		{"one of three for three copies", []answer{node(1, Status{Copies: 3})}, ""},
		{"the fewest copies that anybody asks for", []answer{node(1, Status{Copies: 3}), node(2, Status{Joining: true})}, "2 are needed"},
		{"a joining node is no answer", []answer{node(1, all), node(2, Status{Joining: true})}, "1 of 3"},
		{"nor is a failed one", []answer{node(1, all), node(2, Status{Failed: "fsync"})}, "1 of 3"},
		{"a joining candidate", []answer{node(1, Status{Joining: true}), node(2, all), node(3, all)}, "not caught up"},
		{"somebody has more", []answer{node(1, all), node(2, Status{LastEpoch: 3, End: 101})}, "node 2 has more history than node 1"},
	} {
		if reason := p.unsafe(c.answers, c.answers[0]); c.says == "" {
			require.Empty(t, reason, c.what)
		} else {
			require.Contains(t, reason, c.says, c.what)
		}
	}
}
