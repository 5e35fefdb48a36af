package main

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
		f := benchFlags{time: 200 * time.Millisecond, size: 100}
		m, err := measureFloor(context.Background(), &f, t.TempDir(), fsync, 8)
		for err != nil && strings.Contains(err.Error(), "nothing was acknowledged") && f.time < time.Minute {
			f.time *= 4 // a machine so busy that there was no time for one
			m, err = measureFloor(context.Background(), &f, t.TempDir(), fsync, 8)
		}
		require.NoError(t, err)
		require.Positive(t, m.perSecond)
		require.LessOrEqual(t, m.p50, m.p99)
	}
}
