package masterslave

import (
	"bufio"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/broker/commitlog"
	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/internal/vfs"
)

// Argument: flushed positions travel beside the pulls, so one may arrive that speaks of another log than the one that counts now: of the log before
// a truncation, whose bytes at that position are others, or of a process that is dead and whose successor has lost them. Either would
// count a copy that is not durable.
func TestSafetyFlushedOfAnotherLog(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.crash(vfs.KeepCache, 2)
		r := w.nodes[1].r.Load()
		w.until("gone", func() bool { return !r.Status().Followers[0].Matched })
		require.NoError(t, r.do(context.Background(), func() {
			tail := r.log.Tail()
			f := r.state.lead.followers[0]
			pulls := func(session uint64, chain uint64) uint64 {
				p := pull{Node: 2, Epoch: 2, Session: session, From: tail.Position, Chain: chain, Flushed: 10}
				s, stale := r.takePull(p, r.match(r.seen(), p), session)
				require.False(t, stale)
				return s.Session
			}
			session := pulls(0, tail.Chain)
			pulls(session, tail.Chain)
			require.EqualValues(t, 10, f.flushed)

			pulls(session, tail.Chain+1) // refused: it will truncate
			r.takeFlushed(2, flushed{Session: session, Position: tail.Position})
			pulls(session, tail.Chain) // it has truncated and copied
			require.EqualValues(t, 10, f.flushed, "that was the old log's")

			fresh := pulls(0, tail.Chain) // the successor
			pulls(fresh, tail.Chain)
			r.takeFlushed(2, flushed{Session: session, Position: tail.Position})
			require.EqualValues(t, 10, f.flushed, "that was the dead process's")
			r.takeFlushed(2, flushed{Session: fresh, Position: tail.Position + 1000})
			require.Equal(t, tail.Position, f.flushed, "not beyond what it is known to have")

			r.fail("test", errRecorded)
			p := pull{Node: 2, Epoch: 2, Session: fresh, From: tail.Position, Chain: tail.Chain}
			s, _ := r.takePull(p, r.match(r.seen(), p), fresh)
			require.Equal(t, verdictBusy, s.Verdict, "nobody copies from a disk that has failed")
		}))
	})
}

// Argument: a retry of an idempotent producer reaches the next leader. If only the old leader has the first attempt, the retry must be stored
// and not be taken for a duplicate, also not by the old leader once it has cut off the first attempt; and if it is there, it must not be stored again,
// whoever leads and however often everything was restarted (bugzoo CL-01, CL-02).
func TestSafetyRetryAtTheNextLeader(t *testing.T) {
	inBubble(t, 3, with(sync2(), "replication.timeout.ms", "300"), func(w *world) {
		w.up()
		both, err := w.sendAs(1, batchOf("both", 7, 0, 0))
		require.NoError(t, err)
		w.well(0)
		heal := w.cut(1)
		_, err = w.sendAs(1, batchOf("alone", 7, 0, 1))
		require.EqualError(t, err, "copies 1 of 2")
		w.crash(vfs.KeepCache, 1)
		heal()
		_, err = w.promote(2, false)
		require.NoError(t, err)
		w.until("it serves", func() bool { return w.status(2).Serving })
		at, err := w.sendAs(2, batchOf("both", 7, 0, 0))
		require.NoError(t, err)
		require.Equal(t, both, at)
		alone, err := w.sendAs(2, batchOf("alone", 7, 0, 1))
		require.NoError(t, err)
		require.Equal(t, both+1, alone)
		w.start(1)
		w.well(0)
		for _, leader := range []int32{1, 3} {
			_, err = w.promote(leader, false)
			require.NoError(t, err)
			w.well(0)
			at, err = w.sendAs(leader, batchOf("alone", 7, 0, 1))
			require.NoError(t, err)
			require.Equal(t, alone, at)
		}
		w.crash(vfs.KeepCache, 1, 2, 3)
		w.start(1, 2, 3)
		w.well(0)
		at, err = w.sendAs(3, batchOf("alone", 7, 0, 1))
		require.NoError(t, err)
		require.Equal(t, alone, at)
		for _, id := range w.all() {
			require.Equal(t, []string{"both", "alone"}, w.messages(id))
		}
	})
}

// Argument: a follower's puller is between two steps when the node records a newer epoch. The next step must not happen in the old one: no report of
// an epoch that is over, and nothing copied from its leader.
func TestSafetyPullerStopsWithItsEpoch(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		w.fill(1, 1)
		w.well(0)
		r := w.nodes[2].r.Load()
		require.NoError(t, r.do(context.Background(), func() {
			_, ok := r.nextPull(2, 1)
			require.True(t, ok)
			require.NoError(t, r.adopt(4))
			_, ok = r.nextPull(2, 1)
			require.False(t, ok)
			require.ErrorIs(t, r.takeShipment(2, shipment{Verdict: verdictOK, Epoch: 2}), errElsewhere)
			require.ErrorIs(t, r.cut(2, 0), errElsewhere)
			r.takeRefusal(2, pull{}, shipment{})
			require.Empty(t, r.state.refused)
		}))
	})
}

// Argument: what readers were told ends with the log that is cut off. And a log that has frames of the leader's own epoch is never cut.
func TestSafetyTruncationForgets(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		r := w.nodes[2].r.Load()
		require.NoError(t, r.do(context.Background(), func() {
			s := &r.state
			require.Error(t, r.cut(2, 0), "its last frame is of epoch 2")
			require.Positive(t, r.log.End())
			require.NoError(t, r.adopt(4))
			s.committed = r.log.End()
			require.NoError(t, r.cut(4, 0))
			require.Zero(t, s.committed)
			require.Zero(t, r.log.Flushed())
		}))
	})
}

// Argument: a flush ends, and the follower's teller is about to tell it when it loses the processor. Meanwhile the follower truncates its log, and copies other bytes to
// that place, not yet flushed; its next pull makes the log match again. What the teller says then would count a copy that is not durable.
func TestSafetyFlushedIsToldAsItIs(t *testing.T) {
	inBubble(t, 2, with(sync2(), "flush", "sync"), func(w *world) {
		w.up()
		w.fill(1, 3)
		w.well(0)
		w.crash(vfs.KeepCache, 1)
		r := w.nodes[2].r.Load()
		l, err := w.net.Host("fake").Listen("tcp", ":1")
		require.NoError(t, err)
		conn, err := w.nodes[2].host.Dial(context.Background(), "tcp", "fake:1")
		require.NoError(t, err)
		leader, err := l.Accept()
		require.NoError(t, err)
		p := &puller{r: r, conn: &patient{Conn: conn, read: time.Second, write: time.Second}, turn: make(chan struct{}, 1), told: 7}
		p.turn <- struct{}{}
		told := make(chan error, 1)
		go func() { told <- p.sendFlushed() }()
		synctest.Wait()
		require.Positive(t, r.log.Flushed())
		require.NoError(t, r.do(context.Background(), func() {
			require.NoError(t, r.adopt(4))
			require.NoError(t, r.cut(4, 0))
			_, err := r.appendFrame(partitions.KindEpoch, partitions.AppendEpochPayload(nil, 1))
			require.NoError(t, err)
			<-p.turn
			_, body, err := readMessage(bufio.NewReader(leader), only(msgFlushed, maxPullBytes))
			require.NoError(t, err)
			f, err := decodeFlushed(body)
			require.NoError(t, err)
			require.Zero(t, f.Position)
		}))
		require.NoError(t, <-told)
		require.NoError(t, conn.Close())
		require.NoError(t, l.Close())
	})
}

// Argument: a leader is deposed while a pull waits at it. What it reads from its log then need not be the log of the epoch that the follower is in; so
// its answer is that it does not lead. And should frames of a newer epoch come nevertheless, the follower must not follow on top of them.
func TestSafetyNothingShippedAcrossEpochs(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		w.fill(1, 1)
		w.well(0)
		defer w.cut(2)()
		from, to := w.nodes[1].r.Load(), w.nodes[2].r.Load()
		at := to.log.Tail().Position
		var raw []byte
		require.NoError(t, from.do(context.Background(), func() {
			require.NoError(t, from.adopt(3)) // names node 2
			_, err := from.log.Append(3, commitlog.Kind(partitions.KindEpoch), partitions.AppendEpochPayload(nil, 2))
			require.NoError(t, err)
			raw, _, err = from.log.ReadRaw(at, from.log.End(), 1<<20)
			require.NoError(t, err)
		}))
		s, err := (&peerConn{r: from}).ship(pull{Node: 2, Epoch: 2, From: at}, shipment{Verdict: verdictOK, Epoch: 2}, false)
		require.NoError(t, err)
		require.Equal(t, verdictEpoch, s.Verdict)
		require.Empty(t, s.Frames)

		require.NoError(t, to.do(context.Background(), func() {
			require.ErrorContains(t, to.takeShipment(2, shipment{Verdict: verdictOK, Epoch: 2, End: 1 << 20, Frames: raw}), "frame of epoch 3")
			require.NotEmpty(t, to.state.failure)
		}))
	})
}
