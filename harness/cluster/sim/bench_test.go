package sim

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/histories"
)

// minute runs 60 virtual seconds of a 3-node cluster. ns/op is the wall time of one such minute,
// with start and stop.
func minute(b *testing.B, load func(b *testing.B, ctx context.Context, c *Cluster)) {
	b.ReportAllocs()
	for range b.N { // not b.Loop: it must stay outside the bubble
		synctest.Test(&testing.T{}, func(*testing.T) {
			ctx := context.Background()
			c, err := New(specOf(3, "replication", "sync", "copies", "2"))
			require.NoError(b, err)
			require.NoError(b, c.Start(ctx))
			require.NoError(b, createTopic(ctx, c, 3))
			load(b, ctx, c)
			require.NoError(b, c.Stop(ctx))
		})
	}
}

func BenchmarkIdleMinute(b *testing.B) {
	minute(b, func(*testing.B, context.Context, *Cluster) { time.Sleep(time.Minute) })
}

// BenchmarkLoadedMinute is 200 op/s by five clients, half of them reads.
func BenchmarkLoadedMinute(b *testing.B) {
	minute(b, func(b *testing.B, ctx context.Context, c *Cluster) {
		const clients, rate = 5, 200
		var wg sync.WaitGroup
		for p := range clients {
			cl, err := c.Open(ctx, p)
			require.NoError(b, err)
			wg.Go(func() {
				next := make(map[int32]int64)
				for i := range 60 * rate / clients {
					op := histories.New(histories.Invoke, p, histories.Send)
					if i%2 == 1 {
						op.F = histories.Poll
					}
					op.Part = int32(i / 2 % 3)
					if op.F == histories.Poll {
						op.From = next[op.Part]
					} else {
						op.Value = int64(p*1_000_000 + i)
					}
					op, err := cl.Invoke(ctx, op)
					if !assert.NoError(b, err) {
						return
					}
					if n := len(op.Msgs); op.F == histories.Poll && n > 0 {
						next[op.Part] = op.Msgs[n-1].Offset + 1
					}
					time.Sleep(time.Second * clients / rate)
				}
			})
		}
		wg.Wait()
	})
}
