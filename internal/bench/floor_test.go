package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFloor: the floor acknowledges records of several clients, with and without sync, and ends.
func TestFloor(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		l := Load{InFlight: 8, Time: 200 * time.Millisecond, Size: 100}
		m, err := Floor(context.Background(), l, t.TempDir(), fsync)
		for err != nil && strings.Contains(err.Error(), "nothing was acknowledged") && l.Time < time.Minute {
			l.Time *= 4 // a machine so busy that there was no time for one
			m, err = Floor(context.Background(), l, t.TempDir(), fsync)
		}
		require.NoError(t, err)
		require.Positive(t, m.PerSecond)
		require.LessOrEqual(t, m.P50, m.P99)
	}
}
