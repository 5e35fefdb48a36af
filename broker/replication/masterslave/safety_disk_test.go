package masterslave

import (
	"bufio"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// spread appends n messages without waiting for copies.
func (w *world) spread(id int32, n int) {
	w.t.Helper()
	r := w.nodes[id].r.Load()
	for i := range n {
		_, err := r.Append(context.Background(), partOf(r, "t"), batchOf(fmt.Sprintf("x%d", i), -1, -1, -1), false)
		require.NoError(w.t, err)
	}
}

// Argument: a promoted leader's disk has a flipped bit in the last acknowledged message, which only its and the old leader's log hold. The old
// leader returns and asks what they have in common. If the leader took what it cannot read for what it does not have, the old leader
// would cut off the one good copy.
func TestSafetyUnreadableIsNotDifferent(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 50)
		w.well(0)
		end := w.status(1).End
		w.crash(vfs.KeepCache, 1)
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		w.spread(2, 3000) // the place is compared by reading the disk, not from memory
		require.NoError(t, w.nodes[2].disk.FlipBit("00000000000000000000.seg", 40+end-1, 3))
		w.start(1)
		time.Sleep(time.Minute)
		require.Equal(t, sent, w.messages(1)[:len(sent)], "the good copy is kept")
		require.NotEqual(t, RoleRefused, w.status(1).Role, "nothing is known against its log")

		// The same when the follower has a tail of its own and so has to ask for boundaries.
		resp, err := call(context.Background(), w.admin.Dial, "n2:9093", request{Op: opMatch, Members: w.all(), Epoch: res.Epoch, Boundaries: []boundary{{Position: end, Chain: w.status(1).Chain}, {}}})
		require.NoError(t, err)
		require.Contains(t, resp.Error, "corrupt")
	})
}

// Argument: an answer to a match request decides how much of a log is cut off. One that makes no sense must cut nothing, and end nothing.
func TestSafetyMatchOfNothingCutsNothing(t *testing.T) {
	for _, match := range []int{500, 1 << 40} {
		inBubble(t, 2, sync2(), func(w *world) {
			w.up()
			w.fill(1, 3)
			l, err := w.net.Host("fake").Listen("tcp", ":1")
			require.NoError(t, err)
			answered := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err == nil {
					_, _, err = readMessage(bufio.NewReader(conn), only(msgRequest, maxControlBytes))
				}
				if err == nil {
					err = writeJSON(conn, msgResponse, response{Match: match})
				}
				answered <- err
			}()
			end := w.status(2).End
			err = w.nodes[2].r.Load().rejoin(context.Background(), Member{Peer: "fake:1"}, 2)
			require.ErrorIs(t, err, errWire)
			require.NoError(t, <-answered)
			require.GreaterOrEqual(t, w.status(2).End, end)
			require.NoError(t, l.Close())
		})
	}
}

// Argument: the same within one epoch. A follower that is behind must not be refused, as one with another history, for what the leader cannot read.
func TestSafetyUnreadableRefusesNobody(t *testing.T) {
	inBubble(t, 2, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 50)
		w.well(0)
		end := w.status(1).End
		w.crash(vfs.KeepCache, 2)
		w.spread(1, 3000)
		require.NoError(t, w.nodes[1].disk.FlipBit("00000000000000000000.seg", 40+end-1, 3))
		w.start(2)
		for range 500 {
			require.NotEqual(t, RoleRefused, w.status(2).Role)
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, sent, w.messages(2))
	})
}
