package linear_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/linear"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

var msgs = histtest.Msgs

func TestLinear(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *histtest.Builder)
		want  []checker.Class
	}{
		{"sends and a final read in order", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Whole(0, 10, 11)
		}, nil},
		{"concurrent sends in either order", func(b *histtest.Builder) {
			s := b.Send(1, 0, 10)
			b.Send(2, 0, 11).OK(0)
			s.OK(1)
			b.Whole(0, 11, 10)
		}, nil},
		{"a later send below an earlier one", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(1)
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 11, 10)
		}, []checker.Class{checker.Nonlinearizable}},
		{"a poll that misses an acknowledged send", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 0).OK(0)
			b.Whole(0, 10)
		}, []checker.Class{checker.StaleRead}},
		{"a poll concurrent with the send may miss it", func(b *histtest.Builder) {
			p := b.Poll(2, 0, 0)
			b.Send(1, 0, 10).OK(0)
			p.OK(0)
			b.Whole(0, 10)
		}, nil},
		{"a poll that is cut short misses nothing", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Poll(2, 0, 0).OK(2, msgs(0, 10)...)
			b.Whole(0, 10, 11)
		}, nil},
		{"a poll that saw less than an earlier one", func(b *histtest.Builder) {
			s := b.Send(1, 0, 10)
			b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
			b.Poll(3, 0, 0).OK(0)
			s.OK(0)
			b.Whole(0, 10)
		}, []checker.Class{checker.StaleRead}},
		{"a poll that saw the end beyond what was sent", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 1).OK(2)
			b.Send(1, 0, 11).OK(1)
			b.Whole(0, 10, 11)
		}, nil}, // no: HW 2 from offset 1 without a message is cut short, and says nothing
		{"a poll that saw the end before it was there", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Poll(2, 0, 2).OK(2)
			b.Send(1, 0, 11).OK(1)
			b.Whole(0, 10, 11)
		}, []checker.Class{checker.Nonlinearizable}},
		{"an open send that is seen late", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Info()
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 11, 10)
		}, nil},
		{"an open send that is seen, then not", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Info()
			b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
			b.Send(3, 0, 11).OK(0)
			b.Whole(0, 11)
		}, []checker.Class{checker.Nonlinearizable}},
		{"a weak send may take effect after its completion", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Weak(1)
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 11, 10)
		}, nil},
		{"a weak send may be lost, and its offset taken", func(b *histtest.Builder) {
			b.Send(1, 0, 10).Weak(0)
			b.Send(2, 0, 11).OK(0)
			b.Whole(0, 11)
		}, nil},
		{"an acknowledged send that the final read lacks", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Whole(0, 10)
		}, []checker.Class{checker.Nonlinearizable}},
		{"two messages acknowledged at one offset", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(2, 0, 11).OK(0)
			b.Final(3, 0, 0).OK(9, msgs(0, 10)...)
		}, []checker.Class{checker.Nonlinearizable}},
		{"gaps in the offsets, as in Kafka", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(3)
			b.Send(1, 0, 11).OK(7)
			b.Final(2, 0, 0).OK(8, append(msgs(3, 10), msgs(7, 11)...)...)
		}, nil},
		{"a second copy is not this checker's business", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 0, 11).OK(1)
			b.Whole(0, 10, 11, 10)
		}, nil},
		{"acknowledged at another offset than where it is", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(1)
			b.Whole(0, 10)
		}, []checker.Class{checker.Nonlinearizable}},
		{"a batch", func(b *histtest.Builder) {
			b.Batch(1, 0, 10, 11, 12).OK(0)
			b.Whole(0, 10, 11, 12)
		}, nil},
		{"partitions are judged apart", func(b *histtest.Builder) {
			b.Send(1, 0, 10).OK(0)
			b.Send(1, 1, 11).OK(0)
			b.Whole(0, 10)
			b.Whole(1, 11)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := histtest.New()
			tt.build(b)
			res := linear.New(linear.Config{ReadsUnderLoad: true}).Check(t.Context(), b.History())
			var got []checker.Class
			for _, a := range res.Anomalies {
				got = append(got, a.Class)
				require.NotEmpty(t, a.Witnesses)
				require.NotEmpty(t, a.Values)
			}
			require.Equal(t, tt.want, got, "%+v", res)
			if tt.want == nil {
				require.Equal(t, checker.Valid, res.Verdict, res.Reason)
			} else {
				require.Equal(t, checker.Invalid, res.Verdict)
			}
		})
	}
}

func TestPollsCountOnlyWhereTheyArePromised(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Poll(2, 0, 0).OK(0)
	b.Whole(0, 10)
	require.Equal(t, checker.Invalid, linear.New(linear.Config{ReadsUnderLoad: true}).Check(t.Context(), b.History()).Verdict)
	require.Equal(t, checker.Valid, linear.New(linear.Config{}).Check(t.Context(), b.History()).Verdict)
}

func TestExplanation(t *testing.T) {
	b := histtest.New()
	b.At(time.Second).Send(1, 0, 4711).On("n1").OK(0)
	b.At(2*time.Second).Poll(2, 0, 0).On("n2").OK(0)
	b.Whole(0, 4711)
	res := linear.New(linear.Config{ReadsUnderLoad: true}).Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 1)
	require.Equal(t, "process 2 read partition 0 from n2 at 2.001s up to its end and missed message 4711, which was acknowledged at offset 0 at 1.001s, "+
		"before the read began at 2.0s", res.Anomalies[0].Explanation)
	require.Equal(t, []int64{0, 1, 2, 3}, res.Anomalies[0].Witnesses)
	require.Equal(t, []int64{4711}, res.Anomalies[0].Values)
}

func TestNothingToJudge(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).Weak(0)
	b.Whole(0, 10)
	res := linear.New(linear.Config{}).Check(t.Context(), b.History())
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Contains(t, res.Reason, "no message was acknowledged")

	b = histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Poll(2, 0, 0).OK(1, msgs(0, 10)...)
	res = linear.New(linear.Config{}).Check(t.Context(), b.History())
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Contains(t, res.Reason, "no final read")
}

func TestOutOfTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res := linear.New(linear.Config{}).Check(ctx, run(100, 3, 3))
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Contains(t, res.Reason, "out of time")
}

func TestVisualize(t *testing.T) {
	b := histtest.New()
	b.Send(1, 0, 10).OK(0)
	b.Poll(2, 0, 0).OK(0)
	b.Send(1, 1, 11).OK(0)
	b.Whole(0, 10)
	b.Whole(1, 11)
	c := linear.New(linear.Config{ReadsUnderLoad: true})
	for part := range int32(2) {
		var page bytes.Buffer
		require.NoError(t, c.Visualize(t.Context(), b.History(), part, &page))
		require.Contains(t, page.String(), "<html")
		require.Contains(t, page.String(), fmt.Sprintf("p1 send %d -\\u003e ", 10+part))
	}
	require.Error(t, c.Visualize(t.Context(), b.History(), 7, &bytes.Buffer{}))
}

// run makes a correct history of n operations over some partitions, by clients that are always busy.
func run(n, parts, clients int) histories.History {
	r := rand.New(rand.NewPCG(7, 8))
	logs := make([][]histories.Message, parts)
	var h histories.History
	add := func(op histories.Op) {
		op.Index, op.Time = int64(len(h)), int64(len(h))*1000
		h = append(h, op)
	}
	pending := make([]*histories.Op, clients)
	applied := make([]bool, clients)
	for sent := 0; sent < n; {
		p := r.IntN(clients)
		op := pending[p]
		switch {
		case op == nil:
			op := histories.New(histories.Invoke, p, histories.Poll)
			op.Part = int32(r.IntN(parts))
			if r.IntN(2) == 0 {
				op.F, op.Value = histories.Send, int64(sent)
			} else {
				op.From = max(0, int64(len(logs[op.Part])-r.IntN(10)))
			}
			add(op)
			pending[p], applied[p] = &op, false
			sent++
		case !applied[p]:
			log := &logs[op.Part]
			op.Type, applied[p] = histories.OK, true
			if op.F == histories.Send {
				op.Offset = int64(len(*log))
				*log = append(*log, histories.Message{Offset: op.Offset, Value: op.Value})
			} else {
				op.HW = int64(len(*log))
				op.Msgs = append([]histories.Message{}, (*log)[op.From:]...)
			}
		default:
			add(*op)
			pending[p] = nil
		}
	}
	for part, log := range logs {
		op := histories.New(histories.Invoke, clients+part, histories.Final)
		op.Part, op.From = int32(part), 0
		add(op)
		op.Type, op.HW, op.Msgs = histories.OK, int64(len(log)), log
		add(op)
	}
	return h
}

func BenchmarkLinear(b *testing.B) {
	for _, n := range []int{12_000, 1_000_000} {
		h := run(n, 3, 5)
		c := linear.New(linear.Config{ReadsUnderLoad: true, PorcupineOps: 5000})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if res := c.Check(context.Background(), h); res.Verdict != checker.Valid {
					b.Fatal(res.Reason)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}
