package harness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/fakecluster"
	"github.com/assay-project/assay/nemesis"
	"github.com/assay-project/assay/workloads/log"
)

// result is what a run left behind.
type result struct {
	ex   harness.Execution
	h    histories.History
	err  error
	took time.Duration
}

// run runs a test on c in the bubble of the caller: 20 s at 100 ops/s by 4 clients, unless change says otherwise.
func run(ctx context.Context, t *testing.T, c harness.Cluster, faults string, change func(*harness.Test)) result {
	t.Helper()
	w, err := log.New(log.Config{Partitions: 2})
	require.NoError(t, err)
	specs, err := nemesis.ParseList(faults)
	require.NoError(t, err)
	plan, err := nemesis.MakePlan(nemesis.PlanConfig{Seed: 5, Faults: specs, Time: 20 * time.Second, Interval: 5 * time.Second})
	require.NoError(t, err)
	n, err := nemesis.New(plan)
	require.NoError(t, err)
	start := time.Now()
	var file bytes.Buffer
	test := harness.Test{
		Seed: 5, Cluster: c, Workload: w, Nemesis: n, Time: 20 * time.Second, Rate: 100, Clients: 4,
		Recorder: histories.NewRecorder(&file, func() time.Duration { return time.Since(start) }).Keep(),
	}
	if change != nil {
		change(&test)
	}
	var r result
	r.ex, r.err = harness.Run(ctx, test)
	r.took = time.Since(start)
	r.h = test.Recorder.History()
	require.NoError(t, histories.Validate(r.h))
	written, _, err := histories.Read(&file)
	require.NoError(t, err)
	require.Len(t, written, len(r.h))
	return r
}

// count returns how many ops of a function have a type.
func count(h histories.History, f string, typ histories.Type) int {
	n := 0
	for op := range h.Ops() {
		if op.F == f && op.Type == typ {
			n++
		}
	}
	return n
}

func notes(h histories.History, fault string) []histories.Op {
	var all []histories.Op
	for op := range h.Ops() {
		if op.F == histories.Note && op.Fault == fault {
			all = append(all, *op)
		}
	}
	return all
}

func TestQuietRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 3)
		r := run(t.Context(), t, c, "none", nil)
		require.NoError(t, r.err)
		require.False(t, r.ex.Interrupted)
		require.True(t, r.ex.Recovered)
		require.Zero(t, r.ex.Starved)
		require.EqualValues(t, harness.OpCounts{OK: 2000}, r.ex.Ops)
		require.Equal(t, 1000, count(r.h, histories.Send, histories.OK), "half of the ops are sends")
		require.Equal(t, 1000, count(r.h, histories.Poll, histories.OK))
		require.Equal(t, 2, count(r.h, histories.Final, histories.OK))
		require.Equal(t, 6, count(r.h, histories.Scan, histories.OK), "every replica of every partition")
		require.Empty(t, r.ex.Faults)
		require.Less(t, r.took, 21*time.Second)
		require.Equal(t, []string{"start", "topic log 2", "stop"}, c.Calls())

		group := notes(r.h, contract.NoteGroup)
		require.Len(t, group, 1)
		require.Equal(t, "n1,n2,n3", group[0].Node)
		require.Len(t, notes(r.h, harness.NoteRecovery), 1)
		leaders := notes(r.h, harness.NoteLeader)
		require.Len(t, leaders, 2)
		require.Equal(t, "n1", leaders[1].Node)
		require.EqualValues(t, 1, leaders[1].Part)
	})
}

// Ops come evenly: one in each interval of 1/rate.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{}, 1), "none", nil)
		i := int64(0)
		for op := range r.h.Ops() {
			if op.Type == histories.Invoke && (op.F == histories.Send || op.F == histories.Poll) {
				require.Equal(t, i, op.Time/int64(10*time.Millisecond))
				i++
			}
		}
		require.EqualValues(t, 2000, i)
	})
}

// When every process is busy, what is due is counted and not invoked: the schedule does not wait for the system.
func TestStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Latency: time.Second}, 1), "none", nil)
		require.NoError(t, r.err)
		done := r.ex.Ops.OK
		require.InDelta(t, 80, done, 8, "4 clients, one op a second each")
		require.EqualValues(t, 2000, done+r.ex.Starved)
	})
}

// The same seed makes the same load, another one another.
func TestSeedDecides(t *testing.T) {
	var values [3][]histories.Op
	for i, seed := range []uint64{1, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 3), "none", func(x *harness.Test) { x.Seed = seed })
			for op := range r.h.Ops() {
				if op.Type == histories.Invoke && (op.F == histories.Send || op.F == histories.Poll) {
					values[i] = append(values[i], histories.Op{Time: op.Time, F: op.F, Part: op.Part, Value: op.Value})
				}
			}
		})
	}
	require.Equal(t, values[0], values[1])
	require.NotEqual(t, values[0], values[2])
}

// Each error has its class; a process is retired by info, and by nothing else, and a failed read is fail whatever its error.
func TestClasses(t *testing.T) {
	boom := errors.New("connection reset")
	for _, c := range []struct {
		name string
		err  error
		send histories.Type
	}{
		{"ok", nil, histories.OK},
		{"weak", fmt.Errorf("copies 1 of 2: %w", harness.ErrWeak), histories.Weak},
		{"fail", fmt.Errorf("not leader: %w", harness.ErrNotApplied), histories.Fail},
		{"info", boom, histories.Info},
		{"both weak and refused is weak: some attempt stored it", errors.Join(harness.ErrWeak, harness.ErrNotApplied), histories.Weak},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opt := fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
					if op.F == histories.Send {
						return op, c.err
					}
					if op.F == histories.Poll && op.Part == 1 {
						return op, boom
					}
					return op, err
				}}
				r := run(t.Context(), t, fakecluster.New(opt, 3), "none", nil)
				require.NoError(t, r.err)
				require.Equal(t, 1000, count(r.h, histories.Send, c.send))
				require.Zero(t, count(r.h, histories.Poll, histories.Info))
				require.Positive(t, count(r.h, histories.Poll, histories.Fail))
				retired := make(map[int]bool)
				most := 0
				for op := range r.h.Ops() {
					if op.F != histories.Send && op.F != histories.Poll {
						continue
					}
					require.False(t, retired[op.Process])
					retired[op.Process] = op.Type == histories.Info
					most = max(most, op.Process)
					switch op.Type {
					case histories.OK:
					case histories.Weak:
						require.NotEqual(t, int64(histories.Unset), op.Offset)
						require.Equal(t, c.err.Error(), op.Err)
					case histories.Fail, histories.Info:
						require.NotEmpty(t, op.Err)
						require.EqualValues(t, histories.Unset, op.Offset, "a result that nobody may believe is not recorded")
					}
				}
				if c.send == histories.Info {
					require.Greater(t, most, 900)
				} else {
					require.Equal(t, 3, most)
				}
			})
		})
	}
}

// An op that takes longer than its timeout is info, and its process is replaced by one of its own slot.
func TestOpTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{}, 1)
		r := run(t.Context(), t, c, "none", func(x *harness.Test) {
			x.OpTimeout = 2 * time.Second
			x.Nemesis = planned(t, harness.Strike{ID: 1, Fault: "pause", At: 5 * time.Second, For: 5 * time.Second})
		})
		require.NoError(t, r.err)
		require.Positive(t, r.ex.Ops.Info)
		calls := make(map[int]int64)
		for op := range r.h.Ops() {
			switch {
			case op.Type == histories.Invoke:
				calls[op.Process] = op.Time
			case op.Type == histories.Info && op.Process >= 0:
				require.InDelta(t, 2*time.Second, op.Time-calls[op.Process], float64(time.Millisecond))
			}
		}
	})
}

func planned(t *testing.T, strikes ...harness.Strike) harness.Nemesis {
	t.Helper()
	n, err := nemesis.New(harness.Plan{Strikes: strikes})
	require.NoError(t, err)
	return n
}

func TestFaultsAreHealedAndRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakecluster.New(fakecluster.Options{Latency: time.Millisecond, Copies: 2}, 3)
		r := run(t.Context(), t, c, "kill,partition,pause", nil)
		require.NoError(t, r.err)
		require.Empty(t, c.Hurt())
		require.GreaterOrEqual(t, len(r.ex.Faults), 3)
		for _, f := range r.ex.Faults {
			require.NotEmpty(t, f.Effect, f.Name)
			require.Greater(t, f.HealedMS, f.AtMS)
			require.Less(t, f.HealedMS, int64(20_000))
		}
		require.Equal(t, r.ex.Faults, harness.Faults(r.h), "the history tells the same")
		require.True(t, r.ex.Recovered)
	})
}

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
			require.Len(t, notes(r.h, harness.NoteInterrupted), 1)
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

// A client that does not return, even when its context has ended, is an error of the harness; its op stays open, and what it says
// later is not recorded.
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

// A cluster that is not well in time is a finding, not an error, and the final reads are tried all the same.
func TestRecoveryNotReached(t *testing.T) {
	for says, unwell := range map[string]func(s harness.NodeState) harness.NodeState{
		"group 0: n2 does not answer (gone)": func(s harness.NodeState) harness.NodeState {
			if s.Node == "n2" {
				return harness.NodeState{Node: "n2", Detail: "gone"}
			}
			return s
		},
		"nobody leads":                 func(s harness.NodeState) harness.NodeState { s.Role = harness.RoleFollower; return s },
		"the leader n1 does not serve": func(s harness.NodeState) harness.NodeState { s.Serving = false; return s },
		"n3 (follower) has not caught up": func(s harness.NodeState) harness.NodeState {
			s.CaughtUp = s.Node != "n3"
			return s
		},
		"n3 is refused: ahead": func(s harness.NodeState) harness.NodeState {
			if s.Node == "n3" {
				s.Refused = "ahead"
			}
			return s
		},
		"n2 leads too": func(s harness.NodeState) harness.NodeState {
			if s.Node == "n2" {
				s.Role, s.Epoch = harness.RoleLeader, 0
			}
			return s
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := fakecluster.New(fakecluster.Options{Unwell: unwell}, 3)
			r := run(t.Context(), t, c, "none", func(x *harness.Test) { x.Recovery = 7 * time.Second })
			require.NoError(t, r.err)
			require.False(t, r.ex.Recovered)
			require.Contains(t, r.ex.Unwell, says)
			note := notes(r.h, harness.NoteRecovery)
			require.Len(t, note, 1)
			require.Contains(t, note[0].Err, says)
			require.Equal(t, 2, count(r.h, histories.Final, histories.OK))
			require.InDelta(t, 27*time.Second, r.took, float64(time.Second))
		})
	}
}

// With divergence permitted, a refused follower is as well as it can be, and so is the leader that it keeps from serving.
func TestRecoveryWithDivergence(t *testing.T) {
	refused := func(s harness.NodeState) harness.NodeState {
		if s.Node == "n3" {
			s.Refused, s.CaughtUp = "ahead", false
		}
		return s
	}
	notServing := func(s harness.NodeState) harness.NodeState {
		s = refused(s)
		s.Serving = false
		return s
	}
	asked := 0
	diverge := func(x *harness.Test) {
		x.Divergence = func(h histories.Reader) bool {
			asked++
			require.Len(t, notes(slices.Collect(values(h)), contract.NoteGroup), 1, "it sees what the nemesis did")
			return true
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Unwell: refused}, 3), "none", diverge)
		require.True(t, r.ex.Recovered)
		require.Less(t, r.took, 21*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Unwell: notServing}, 3), "none", diverge)
		require.True(t, r.ex.Recovered)
		require.GreaterOrEqual(t, r.took, 25*time.Second, "only when it stays so")
	})
	require.Equal(t, 2, asked)
}

func values(h histories.Reader) func(func(histories.Op) bool) {
	return func(yield func(histories.Op) bool) {
		for op := range h.Ops() {
			if !yield(*op) {
				return
			}
		}
	}
}

// A final read goes on in chunks, by one process, until the committed end, and is tried again when it fails.
func TestFinalReadsInChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		c := fakecluster.New(fakecluster.Options{Mangle: func(op histories.Op, err error) (histories.Op, error) {
			if op.F == histories.Final {
				if tries.Add(1)%3 == 0 {
					return op, errors.New("not leader yet")
				}
				op.Msgs = op.Msgs[:min(len(op.Msgs), 100)]
			}
			return op, err
		}}, 3)
		r := run(t.Context(), t, c, "none", nil)
		require.NoError(t, r.err)
		require.Greater(t, count(r.h, histories.Final, histories.OK), 8)
		require.Positive(t, count(r.h, histories.Final, histories.Fail))
		got := make(map[int32]int64)
		for op := range r.h.Ops() {
			if op.F == histories.Final && op.Type == histories.OK {
				require.Equal(t, got[op.Part], op.From)
				got[op.Part] += int64(len(op.Msgs))
			}
		}
		require.EqualValues(t, 1000, got[0]+got[1])
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []harness.Progress
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{}, 3), "slow", func(x *harness.Test) {
			x.OnProgress = func(p harness.Progress) { seen = append(seen, p) }
		})
		require.NoError(t, r.err)
		phases := make(map[harness.Phase]int)
		faults := 0
		last := harness.OpCounts{}
		for _, p := range seen {
			phases[p.Phase]++
			faults += len(p.Faults)
			require.GreaterOrEqual(t, p.Ops.OK, last.OK)
			last = p.Ops
		}
		require.Equal(t, 1, phases[harness.Starting])
		require.InDelta(t, 20, phases[harness.Load], 1)
		require.Equal(t, 2, phases[harness.Reading])
		require.Positive(t, faults)
		require.EqualValues(t, 2000, last.OK)
	})
}

// Two groups: a partition is read from its own group only.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), t, fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 2, 2), "kill:leader", nil)
		require.NoError(t, r.err)
		require.Len(t, notes(r.h, contract.NoteGroup), 2)
		for op := range r.h.Ops() {
			if op.F == histories.Scan {
				require.Contains(t, map[int32][]string{0: {"n1", "n2"}, 1: {"n3", "n4"}}[op.Part], op.Node)
			}
		}
		require.Equal(t, 4, count(r.h, histories.Scan, histories.OK))
		require.Equal(t, "n3", notes(r.h, harness.NoteLeader)[1].Node)
	})
}

// The harness works outside a synctest bubble, on the real clock.
func TestOnTheRealClock(t *testing.T) {
	c := fakecluster.New(fakecluster.Options{Latency: time.Millisecond}, 3)
	r := run(t.Context(), t, c, "none", func(x *harness.Test) {
		x.Time, x.Rate = 300*time.Millisecond, 500
		x.Nemesis = planned(t, harness.Strike{ID: 1, Fault: "kill", At: 50 * time.Millisecond, For: 100 * time.Millisecond})
	})
	require.NoError(t, r.err)
	require.Positive(t, r.ex.Ops.OK)
	require.Empty(t, c.Hurt())
	require.NotEmpty(t, r.ex.Faults[0].Effect)
	require.Less(t, r.took, 5*time.Second)
}
