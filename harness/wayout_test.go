package harness_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/workloads/log"
)

// However a run ends, what was hurt is healed and the cluster is stopped.
func TestHealedOnEveryWayOut(t *testing.T) {
	forever := harness.Strike{ID: 1, Fault: "kill:all", At: 2 * time.Second, For: 15 * time.Second}
	check := func(t *testing.T, c *fakecluster.Cluster) {
		t.Helper()
		require.Empty(t, c.Hurt())
		require.Contains(t, c.Calls(), "kill n2")
		require.Equal(t, "stop", c.Calls()[len(c.Calls())-1])
	}
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{}, 3)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			r := run(ctx, t, c, "none", func(x *harness.Test) { x.Nemesis = planned(t, forever) })
			require.NoError(t, r.err)
			require.True(t, r.ex.Interrupted)
			require.False(t, r.ex.Recovered)
			require.Len(t, notes(r.h, histories.NoteInterrupted), 1)
			require.Zero(t, count(r.h, histories.Final, histories.Invoke))
			require.Less(t, r.took, 7*time.Second)
			check(t, c)
		})
	})
	t.Run("asked to stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{}, 3)
			var stop atomic.Bool
			time.AfterFunc(5*time.Second, func() { stop.Store(true) })
			r := run(t.Context(), t, c, "none", func(x *harness.Test) { x.Nemesis, x.Stop = planned(t, forever), stop.Load })
			require.NoError(t, r.err)
			require.True(t, r.ex.Interrupted)
			require.Less(t, r.took, 7*time.Second)
			check(t, c)
		})
	})
	t.Run("progress panics", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{}, 3)
			r := run(t.Context(), t, c, "none", func(x *harness.Test) {
				x.Nemesis = planned(t, forever)
				x.OnProgress = func(p harness.Progress) {
					if p.Elapsed > 4*time.Second {
						panic("no terminal")
					}
				}
			})
			require.ErrorContains(t, r.err, "no terminal")
			check(t, c)
		})
	})
	t.Run("client panics", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int64
			c := fakecluster.New(fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
				if n.Add(1) == 500 {
					panic("nil map")
				}
				return op, err
			}}, 3)
			r := run(t.Context(), t, c, "none", func(x *harness.Test) { x.Nemesis = planned(t, forever) })
			require.ErrorContains(t, r.err, "nil map")
			found := false
			for op := range r.h.Ops() {
				found = found || op.Type == histories.Info && strings.Contains(op.Err, "nil map")
			}
			require.True(t, found, "the op that crashed is info")
			check(t, c)
		})
	})
	t.Run("nemesis fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{BootErr: func(n harness.NodeID) error {
				if n == "n1" {
					return errors.New("no engine")
				}
				return nil
			}}, 3)
			r := run(t.Context(), t, c, "none", func(x *harness.Test) {
				x.Nemesis = planned(t, forever, harness.Strike{ID: 2, Fault: "slow", At: time.Second, For: 18 * time.Second})
			})
			require.ErrorContains(t, r.err, "no engine")
			require.Equal(t, []string{"down n1"}, c.Hurt(), "what cannot be healed is an error, all else is healed")
			require.Equal(t, "stop", c.Calls()[len(c.Calls())-1])
		})
	})
	t.Run("history cannot be written", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{}, 3)
			w, err := log.New(log.Config{})
			require.NoError(t, err)
			full := &fullDisk{left: 20_000}
			_, err = harness.Run(t.Context(), harness.Test{
				Cluster: c, Workload: w, Time: 10 * time.Second, Rate: 100, Clients: 2, Nemesis: planned(t, harness.Strike{Fault: "kill:all", At: 500 * time.Millisecond, For: 9 * time.Second}),
				Recorder: histories.NewRecorder(full, func() time.Duration { return 0 }),
			})
			require.ErrorContains(t, err, "no space left")
			check(t, c)
		})
	})
}

// fullDisk has room for some bytes.
type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left -= len(b); d.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(b), nil
}

// faulty is a cluster that cannot be started or set up.
type faulty struct {
	*fakecluster.Cluster
	start, open error
}

func (f faulty) Start(ctx context.Context) error { return errors.Join(f.Cluster.Start(ctx), f.start) }

func (f faulty) Open(ctx context.Context, p int) (harness.Client, error) {
	if f.open != nil {
		return nil, f.open
	}
	return f.Cluster.Open(ctx, p)
}

func TestClusterThatCannotBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{}, 3)
		r := run(t.Context(), t, faulty{Cluster: c, start: errors.New("no image")}, "none", nil)
		require.ErrorContains(t, r.err, "starting the cluster: no image")
		require.Contains(t, c.Calls(), "stop")
	})
	synctest.Test(t, func(t *testing.T) { // nothing to say about the system: no op is invoked, and that is not an error
		c := fakecluster.New(fakecluster.Options{}, 3)
		r := run(t.Context(), t, faulty{Cluster: c, open: errors.New("refused")}, "none", nil)
		require.NoError(t, r.err)
		require.Zero(t, r.ex.Ops)
	})
}

// deaf is a client that ignores its context.
type deaf struct {
	harness.Client
	release chan struct{}
}

func (d deaf) Invoke(context.Context, histories.Op) (histories.Op, error) {
	<-d.release
	return histories.Op{}, nil
}

// A client that does not return, even when its context has ended, is an error of the harness; its
// op stays open, and what it says later is not recorded.
func TestClientThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := deafCluster{fakecluster.New(fakecluster.Options{}, 3), release}
		r := run(t.Context(), t, c, "none", nil)
		require.ErrorContains(t, r.err, "has not returned")
		require.EqualValues(t, 4, r.ex.Ops.Info)
		require.Equal(t, 4, count(r.h, histories.Send, histories.Invoke)+count(r.h, histories.Poll, histories.Invoke))
		before := len(r.h)
		close(release)
		synctest.Wait()
		require.Len(t, r.h, before)
	})
}

type deafCluster struct {
	*fakecluster.Cluster
	release chan struct{}
}

func (d deafCluster) Open(ctx context.Context, p int) (harness.Client, error) {
	c, err := d.Cluster.Open(ctx, p)
	if p >= 4 {
		return c, err
	}
	return deaf{c, d.release}, err
}

func TestTestThatCannotBeRun(t *testing.T) {
	three := fakecluster.New(fakecluster.Options{}, 3)
	for says, change := range map[string]func(*harness.Test){
		"needs a cluster": func(x *harness.Test) { x.Cluster = nil },
		"a workload":      func(x *harness.Test) { x.Workload = nil },
		"time is 0s":      func(x *harness.Test) { x.Time = 0 },
		"rate is NaN":     func(x *harness.Test) { x.Rate = math.NaN() },
		"rate is 0":       func(x *harness.Test) { x.Rate = 0 },
		"has 0 clients":   func(x *harness.Test) { x.Clients = 0 },
		"no nodes":        func(x *harness.Test) { x.Cluster = fakecluster.New(fakecluster.Options{}) },
		"negative":        func(x *harness.Test) { x.Recovery = -1 },
		"cut the power": func(x *harness.Test) {
			x.Cluster = noPower{three}
			x.Nemesis = planned(t, harness.Strike{Fault: "power"})
		},
		"cannot be run": func(x *harness.Test) { x.OpTimeout = -1 },
		"is nobody": func(x *harness.Test) {
			x.Cluster = fakecluster.New(fakecluster.Options{}, 2)
			x.Nemesis = planned(t, harness.Strike{Fault: "kill:minority"})
		},
	} {
		r := run(t.Context(), t, three, "none", change)
		require.ErrorIs(t, r.err, harness.ErrTest)
		require.ErrorContains(t, r.err, says)
		require.NotContains(t, three.Calls(), "start", "it is refused before anything starts")
	}
}

type noPower struct{ harness.Cluster }

// A run that is asked to stop in any phase ends in that phase.
func TestInterruptedInEveryPhase(t *testing.T) {
	for _, phase := range []harness.Phase{harness.Starting, harness.Load, harness.Recovering, harness.Reading} {
		synctest.Test(t, func(t *testing.T) {
			var stop atomic.Bool
			last := harness.Phase("")
			c := fakecluster.New(fakecluster.Options{Unwell: func(s harness.NodeState) harness.NodeState {
				s.CaughtUp = s.CaughtUp && phase != harness.Recovering
				return s
			}}, 3)
			r := run(t.Context(), t, c, "none", func(x *harness.Test) {
				x.Stop = stop.Load
				x.OnProgress = func(p harness.Progress) {
					last = p.Phase
					if p.Phase == phase {
						stop.Store(true)
					}
				}
			})
			require.NoError(t, r.err)
			require.True(t, r.ex.Interrupted)
			require.Equal(t, phase, last)
			require.Len(t, notes(r.h, histories.NoteInterrupted), 1)
			require.Equal(t, "stop", c.Calls()[len(c.Calls())-1])
		})
	}
}
