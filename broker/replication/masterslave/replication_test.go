package masterslave

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func sync2() map[string]string { return map[string]string{"replication": "sync", "copies": "2"} }

// Three empty nodes: the first of the list leads the first epoch, the others join and count; a message is on every node.
func TestFirstStart(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.start(w.all()...)
		w.well(0)
		for _, id := range w.all() {
			s := w.status(id)
			require.EqualValues(t, 3, s.Epoch)
			require.EqualValues(t, 1, s.Leader)
			require.False(t, s.Joining)
		}
		require.Equal(t, RoleLeader, w.status(1).Role)
		w.topic(2, "t")
		sent := w.fill(1, 20)
		w.well(0)
		for _, id := range w.all() {
			require.Equal(t, sent, w.messages(id))
		}
		res, err := w.promote(2, false)
		require.NoError(t, err)
		require.True(t, res.Safe)
		require.EqualValues(t, 4, res.Epoch)
		w.well(0)
		require.Equal(t, RoleLeader, w.status(2).Role)
		sent = append(sent, w.fill(2, 5)...)
		w.well(0)
		for _, id := range w.all() {
			require.Equal(t, sent, w.messages(id))
		}
	})
}
