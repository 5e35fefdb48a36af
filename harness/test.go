package harness

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/assay-project/assay/histories"
)

// Test is one experiment. Cluster, Workload, Recorder, Time, Rate and Clients are required.
type Test struct {
	// Seed decides every random choice of the load. The choices of the faults are in the Nemesis'
	// plan.
	Seed     uint64
	Cluster  Cluster // started and stopped by Run
	Workload Workload
	Nemesis  Nemesis // nil: no faults
	// Time is how long load and faults last. Set-up, recovery and final reads come on top.
	Time    time.Duration
	Rate    float64 // ops per second, sends and reads together
	Clients int     // processes at one time
	// Recovery bounds the wait for the cluster to be well again after the faults; 0 means
	// DefaultRecovery.
	Recovery time.Duration
	// OpTimeout bounds one op under load; 0 means DefaultOpTimeout.
	OpTimeout time.Duration
	// Divergence reports whether the configuration permits a replica of a group to stay refused by
	// its leader, given what the nemesis did so far (its ops of the history). nil: never.
	Divergence func(nemesis histories.Reader, group int) bool
	// Recorder gets every op. Its clock should start with Run.
	Recorder *histories.Recorder
	Logger   *slog.Logger // nil: nothing is logged
	// OnProgress is called about once a second from one goroutine at a time. It must not wait for
	// anything in a synctest bubble.
	OnProgress func(Progress)
	// Stop is polled from several goroutines; when it reports true the run ends early, healed and
	// stopped. It is how the world outside a synctest bubble interrupts a run inside one. nil:
	// never.
	Stop func() bool
}

// Defaults of Test.
const (
	DefaultRecovery  = 60 * time.Second
	DefaultOpTimeout = 5 * time.Second
)

// Bounds that are not worth a field.
const (
	setupTimeout = 2 * time.Minute  // Cluster.Start and Workload.Setup, each
	stopTimeout  = time.Minute      // Cluster.Stop
	healTimeout  = 2 * time.Minute  // the nemesis, after the load or after ctx ended
	finalTimeout = 30 * time.Second // one partition's final read or one replica's scan, with retries
	cancelGrace  = time.Second      // an op, after its context ended
	stopPoll     = 100 * time.Millisecond
	progressTick = time.Second
)

// ErrTest is wrapped by errors about a Test that cannot be run.
var ErrTest = errors.New("the test cannot be run")

// check validates t and fills in defaults.
func (t *Test) check() error {
	switch {
	case t.Cluster == nil || t.Workload == nil || t.Recorder == nil:
		return fmt.Errorf("%w: it needs a cluster, a workload and a recorder", ErrTest)
	case t.Time <= 0:
		return fmt.Errorf("%w: its time is %v, and must be positive", ErrTest, t.Time)
	case !(t.Rate > 0 && t.Rate <= 1e6): // also refuses NaN
		return fmt.Errorf("%w: its rate is %v, and must be positive and at most a million ops per second", ErrTest, t.Rate)
	case t.Clients <= 0 || t.Clients > 10_000:
		return fmt.Errorf("%w: it has %d clients, and needs 1 to 10000", ErrTest, t.Clients)
	case t.Recovery < 0 || t.OpTimeout < 0:
		return fmt.Errorf("%w: a negative duration", ErrTest)
	case len(t.Cluster.Nodes()) == 0:
		return fmt.Errorf("%w: its cluster has no nodes", ErrTest)
	}
	if t.Recovery == 0 {
		t.Recovery = DefaultRecovery
	}
	if t.OpTimeout == 0 {
		t.OpTimeout = DefaultOpTimeout
	}
	if t.Logger == nil {
		t.Logger = slog.New(slog.DiscardHandler)
	}
	if _, err := functionsOf(t.Workload); err != nil {
		return fmt.Errorf("%w: %w", ErrTest, err)
	}
	if t.Nemesis != nil {
		if err := t.Nemesis.Supports(t.Cluster); err != nil {
			return fmt.Errorf("%w: %w", ErrTest, err)
		}
	}
	return nil
}

// Phase is a part of a run.
type Phase string

// Phases in their order.
const (
	Starting   Phase = "start"
	Load       Phase = "load"
	Recovering Phase = "recovery"
	Reading    Phase = "final reads"
)

// Progress is how far a run is.
type Progress struct {
	Phase   Phase
	Elapsed time.Duration      // since the start of the phase
	Total   time.Duration      // of the load; the bound of the recovery; else 0
	Ops     histories.OpCounts // completed under load so far
	Faults  []string           // that are on
}

// Execution is what a run did. What it means is for package judge to say.
type Execution struct {
	Ops histories.OpCounts // under load
	// Interrupted: ctx ended or Stop asked for it before the load was over; there was no recovery
	// and there are no final reads.
	Interrupted bool
	// Recovered: the cluster was well again within the bound. Why it was not is in Unwell.
	Recovered bool
	Unwell    string
	// Starved counts ops that were due while every process was busy; they were never invoked.
	Starved int64
	// Took is the time of the whole run, by the clock of package time: virtual inside a synctest
	// bubble.
	Took time.Duration
}
