package nemesis_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// stock is the set of the stock faults and some more.
func stock(t require.TestingT, more ...nemesis.Kind) *nemesis.Set {
	set, err := nemesis.NewSet(append(nemesis.Stock(), more...)...)
	require.NoError(t, err)
	return set
}

// stage runs a plan of strikes of stock faults against c, and returns the history.
func stage(ctx context.Context, t *testing.T, c harness.Cluster, strikes ...harness.Strike) (histories.History, error) {
	t.Helper()
	return stageOf(ctx, t, stock(t), c, strikes...)
}

// stageOf does the same with the faults of a set.
func stageOf(ctx context.Context, t *testing.T, set *nemesis.Set, c harness.Cluster, strikes ...harness.Strike) (histories.History, error) {
	t.Helper()
	for i := range strikes {
		strikes[i].ID = 100 - i // an id is for people, and means nothing
	}
	n, err := set.New(harness.Plan{Strikes: strikes})
	require.NoError(t, err)
	require.NoError(t, n.Supports(c))
	start := time.Now()
	rec := histories.NewRecorder(io.Discard, func() time.Duration { return time.Since(start) }).Keep()
	s := harness.Stage{
		Cluster: c, Start: start, Clients: 2, Processes: func() []int { return []int{4, 5} }, Logger: slog.New(slog.DiscardHandler),
		Restore: func(ctx context.Context) error {
			maker, ok := harness.Can[harness.TopicMaker](c)
			if !ok {
				return harness.ErrUnsupported
			}
			return maker.CreateTopic(ctx, "log", 1)
		},
		Record: rec.Record,
	}
	err = n.Run(ctx, s)
	require.Empty(t, n.Now())
	return rec.History(), err
}

func strike(fault string, at, lasts time.Duration) harness.Strike {
	return harness.Strike{Fault: fault, At: at, For: lasts, Pick: 11}
}

func started(t *testing.T, opt fakecluster.Options, sizes ...int) *fakecluster.Cluster {
	t.Helper()
	c := fakecluster.New(opt, sizes...)
	require.NoError(t, c.Start(t.Context()))
	return c
}

// ops writes the ops of a history as "inject kill:leader n1", leaving out the group notes.
func ops(h histories.History) []string {
	var all []string
	for op := range h.Ops() {
		s := strings.TrimSpace(op.F + " " + op.Fault + " " + op.Node)
		if op.Effect != "" {
			s += " (" + op.Effect + ")"
		}
		if op.Err != "" {
			s += " !" + op.Err
		}
		all = append(all, s)
	}
	return all
}

// strikesOf are the strikes of a history.
func strikesOf(h histories.History) []histories.Strike { return histories.EventsOf(h).Strikes }

// notesOf are the notes of one kind.
func notesOf(h histories.History, note string) []histories.Noted {
	return slices.DeleteFunc(histories.EventsOf(h).Notes, func(n histories.Noted) bool { return n.Note != note })
}

// promotesOf are the promotes that happened.
func promotesOf(h histories.History) []histories.Noted {
	return slices.DeleteFunc(notesOf(h, histories.NotePromote), func(n histories.Noted) bool { return n.Promote == nil })
}

// caughtUpAt is when a node was noted to have caught up, the first time.
func caughtUpAt(t *testing.T, h histories.History, node string) time.Duration {
	t.Helper()
	for _, n := range notesOf(h, histories.NoteCaughtUp) {
		if n.Node() == node {
			return time.Duration(n.Time)
		}
	}
	t.Fatalf("%s has not caught up", node)
	return 0
}

// plain has no ability beyond Cluster's.
type plain struct{ harness.Cluster }
