package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFloor: the floor acknowledges records of several clients, with and without sync, and ends.
func TestFloor(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		f := benchFlags{time: 200 * time.Millisecond, size: 100}
		m, err := measureFloor(context.Background(), &f, t.TempDir(), fsync, 8)
		require.NoError(t, err)
		require.Positive(t, m.perSecond)
		require.LessOrEqual(t, m.p50, m.p99)
	}
}
