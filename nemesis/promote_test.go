package nemesis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
)

// A bare promote never forces: while it is not safe it is tried again, and then has no effect.
func TestBarePromoteNeverForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{}, 2)
		h, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 10*time.Second), strike("promote", 2*time.Second, 2*time.Second))
		require.NoError(t, err)
		rec := strikesOf(h)[1]
		require.Empty(t, rec.Effect)
		require.Contains(t, rec.Err, "no promote")
		require.Empty(t, promotesOf(h))
	})
	synctest.Test(t, func(t *testing.T) { // it succeeds once it is safe
		c := started(t, fakecluster.Options{}, 2)
		h, err := stage(t.Context(), t, c, strike("kill:follower", time.Second, 2*time.Second), strike("promote", 2*time.Second, 3*time.Second))
		require.NoError(t, err)
		require.Contains(t, strikesOf(h)[1].Effect, "safe")
	})
}

// A follower that is asked for by role is forced where it has to be.
func TestPromoteFollowerForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, fakecluster.Options{Lag: 3}, 2)
		client, err := c.Open(t.Context(), 0)
		require.NoError(t, err)
		op := histories.New(histories.Invoke, 0, histories.Send)
		_, err = client.Invoke(t.Context(), op)
		require.NoError(t, err)
		h, err := stage(t.Context(), t, c, strike("promote:follower", time.Second, time.Second))
		require.NoError(t, err)
		require.Contains(t, ops(h), "note promote n2 (epoch 2, leader n2, forced)")
	})
}
