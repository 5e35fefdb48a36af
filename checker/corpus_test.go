package checker_test

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/availability"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/linear"
	"github.com/assay-project/assay/checker/order"
	"github.com/assay-project/assay/checker/replicas"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

const corpus = "../histories/corpus"

// everything is all checkers, as strict as they come: two copies promised, reads under load linearizable, back within 10 s.
func everything() []checker.Checker {
	return []checker.Checker{
		delivery.New(), order.New(), replicas.New(replicas.Config{Copies: 2}),
		availability.New(availability.Config{Budget: 10 * time.Second}), linear.New(linear.Config{ReadsUnderLoad: true}),
	}
}

type golden struct {
	file    string
	verdict string
	classes []string
}

// table reads expected.tsv.
func table(t *testing.T) (rows []golden) {
	f, err := os.Open(filepath.Join(corpus, "expected.tsv"))
	require.NoError(t, err)
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		cols := strings.Split(s.Text(), "\t")
		require.Len(t, cols, 4, "%s", s.Text())
		g := golden{file: cols[0], verdict: cols[1]}
		if cols[2] != "-" {
			g.classes = strings.Split(cols[2], ",")
		}
		rows = append(rows, g)
	}
	require.NoError(t, s.Err())
	return rows
}

func TestCorpus(t *testing.T) {
	rows := table(t)
	for _, g := range rows {
		t.Run(g.file, func(t *testing.T) {
			h, w, err := histories.ReadFile(filepath.Join(corpus, g.file))
			require.NoError(t, err)
			require.False(t, w.Any())
			rep := checker.Run(t.Context(), h, everything()...)
			var classes []string
			for _, a := range rep.Anomalies() {
				require.NotEmpty(t, a.Explanation)
				require.True(t, slices.IsSorted(a.Witnesses))
				for _, i := range a.Witnesses {
					require.Less(t, i, int64(len(h)))
				}
				classes = append(classes, string(a.Class))
				t.Log(a.Class, ": ", a.Explanation)
			}
			slices.Sort(classes)
			require.Equal(t, g.classes, slices.Compact(classes), "%v", rep.Reasons())
			require.Equal(t, g.verdict, rep.Verdict.String(), "%v", rep.Reasons())

			f, err := histories.OpenFile(filepath.Join(corpus, g.file))
			require.NoError(t, err)
			streamed := checker.Run(t.Context(), f, everything()...)
			require.NoError(t, f.Err())
			require.Equal(t, rep.Anomalies(), streamed.Anomalies(), "a streamed history is judged the same")
		})
	}
	for _, dir := range []string{"good", "bad", "unknown"} {
		files, err := filepath.Glob(filepath.Join(corpus, dir, "*.jsonl"))
		require.NoError(t, err)
		for _, f := range files {
			rel := filepath.Join(dir, filepath.Base(f))
			require.True(t, slices.ContainsFunc(rows, func(g golden) bool { return g.file == rel }), "%s has no row in expected.tsv", rel)
		}
	}
}

// Every class that a checker can report has a bad history that reports it and a good twin.
func TestCorpusIsComplete(t *testing.T) {
	rows := table(t)
	for _, c := range []checker.Class{
		checker.LostWrite, checker.Unseen, checker.Duplicate, checker.Phantom, checker.AbortedRead, checker.InconsistentOffsets,
		checker.NonmonotonicSend, checker.NonmonotonicPoll, checker.PollSkip, checker.RolledBackRead, checker.StaleRead,
		checker.ReplicaDivergence, checker.WeakAckLie, checker.Nonlinearizable, checker.Stall,
	} {
		for _, want := range []golden{{"good/" + string(c) + ".jsonl", "valid", nil}, {"bad/" + string(c) + ".jsonl", "invalid", []string{string(c)}}} {
			i := slices.IndexFunc(rows, func(g golden) bool { return g.file == want.file })
			require.GreaterOrEqual(t, i, 0, want.file)
			require.Equal(t, want.verdict, rows[i].verdict)
			if want.classes != nil {
				require.Contains(t, rows[i].classes, want.classes[0])
			}
		}
	}
}

// A context that ends while a checker is at work makes it undecided: it says neither that all is well nor that anything is not.
func TestOutOfTime(t *testing.T) {
	h, _, err := histories.ReadFile(filepath.Join(corpus, "bad/lost-write.jsonl"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range everything() {
		if res := c.Check(ctx, h); c.Name() != "availability" { // which is one pass over what was read in time
			require.Equal(t, checker.Unknown, res.Verdict, c.Name())
			require.Contains(t, res.Reason, "out of time", c.Name())
		}
	}
}

// A default run of 60 s has 12,000 operations on 3 partitions.
func BenchmarkEverything12k(b *testing.B) {
	h := histtest.Load(24_000, 3, 5)
	for b.Loop() {
		if rep := checker.Run(b.Context(), h, everything()...); len(rep.Anomalies()) > 0 {
			b.Fatal(rep.Anomalies()[0].Explanation)
		}
	}
}
