package masterslave

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/netsim"
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
