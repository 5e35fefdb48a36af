package availability_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/availability"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

const s = time.Second

// sends adds one send each 100 ms to partition 0 in [from, to), with the outcome t.
func sends(b *histtest.Builder, from, to time.Duration, t histories.Type) {
	for at := from; at < to; at += 100 * time.Millisecond {
		p := b.At(at).Send(1, 0, int64(at))
		switch t {
		case histories.OK:
			p.OK(int64(at))
		case histories.Weak:
			p.Weak(int64(at))
		default:
			p.Fail()
		}
	}
}

func TestStall(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *histtest.Builder)
		want  int
	}{
		{"always there", func(b *histtest.Builder) { sends(b, 0, 30*s, histories.OK) }, 0},
		{"weak is there too", func(b *histtest.Builder) {
			b.Send(2, 0, 1).OK(0)
			sends(b, s, 30*s, histories.Weak)
		}, 0},
		{"away without any fault", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			sends(b, 10*s, 16*s, histories.Fail)
			sends(b, 16*s, 20*s, histories.OK)
		}, 1},
		{"away for less than the budget", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			sends(b, 10*s, 14*s, histories.Fail)
			sends(b, 14*s, 20*s, histories.OK)
		}, 0},
		{"away while a fault is on", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Inject("partition:leader", "n1")
			sends(b, 10*s, 20*s, histories.Fail)
			b.Heal("partition:leader", "n1")
			sends(b, 24*s, 30*s, histories.OK)
		}, 0},
		{"not back within the budget after the heal", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Inject("kill", "n1")
			sends(b, 10*s, 12*s, histories.Fail)
			b.Heal("kill", "n1")
			sends(b, 12*s, 23*s, histories.Fail)
		}, 1},
		{"never healed", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Inject("kill", "n1")
			sends(b, 10*s, 30*s, histories.Fail)
		}, 0},
		{"another fault is still on", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Inject("slow:follower", "n2")
			b.Inject("kill", "n1")
			b.Heal("kill", "n1")
			sends(b, 10*s, 30*s, histories.Fail)
			b.Heal("slow:follower", "n2")
		}, 0},
		{"a fault that needs no heal", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Inject("promote", "n2")
			sends(b, 10*s, 21*s, histories.Fail)
		}, 1},
		{"everything is healed at once", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Inject("kill", "n1")
			b.Inject("kill", "n2")
			b.Heal("", "")
			sends(b, 10*s, 21*s, histories.Fail)
		}, 1},
		{"too few tries to tell", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			sends(b, 15*s, 15*s+900*time.Millisecond, histories.Fail)
			sends(b, 20*s, 21*s, histories.OK)
		}, 0},
		{"just enough tries to tell", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			sends(b, 15*s, 16*s, histories.Fail)
			sends(b, 20*s, 21*s, histories.OK)
		}, 1},
		{"too few tries in vain, and the one that ends it", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			last := b.At(15*s).Send(2, 0, 1)
			sends(b, 15*s+100*time.Millisecond, 16*s, histories.Fail)
			b.At(20 * s)
			last.Weak(1)
			sends(b, 20*s, 21*s, histories.OK)
		}, 0},
		{"one partition away, another one there", func(b *histtest.Builder) {
			for i := range int64(300) {
				b.At(time.Duration(i)*100*time.Millisecond).Send(1, 0, i).OK(i)
				if p := b.Send(2, 1, 1000+i); i < 100 {
					p.OK(i)
				} else {
					p.Fail()
				}
			}
		}, 1},
		{"tried under a fault only, but recovered", func(b *histtest.Builder) {
			b.Inject("kill", "n1")
			sends(b, s, 3*s, histories.OK)
			b.Heal("kill", "n1")
			b.Recovered("")
		}, 0},
		{"not recovered", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Recovered("n1 is not caught up")
		}, 1},
		{"recovered", func(b *histtest.Builder) {
			sends(b, 0, 10*s, histories.OK)
			b.Recovered("")
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := histtest.New()
			tt.build(b)
			res := availability.New(availability.Config{Budget: 5 * s}).Check(t.Context(), b.History())
			require.Len(t, res.Anomalies, tt.want, "%+v", res)
			for _, a := range res.Anomalies {
				require.Equal(t, checker.Stall, a.Class)
				require.NotEmpty(t, a.Witnesses)
			}
			want := checker.Valid
			if tt.want > 0 {
				want = checker.Invalid
			}
			require.Equal(t, want, res.Verdict, res.Reason)
		})
	}
}

func TestFiguresAndExplanation(t *testing.T) {
	b := histtest.New()
	sends(b, 0, 10*s, histories.OK)
	b.At(10*s).Inject("kill", "n1")
	sends(b, 10*s+100*time.Millisecond, 18*s, histories.Fail)
	b.At(18*s).Heal("kill", "n1")
	sends(b, 20*s, 30*s, histories.Fail)
	res := availability.New(availability.Config{Budget: 5 * s}).Check(t.Context(), b.History())
	require.Len(t, res.Anomalies, 1)
	require.Equal(t, "partition 0 acknowledged nothing from 23.0s to 29.9s, though 70 sends were tried and no fault was on", res.Anomalies[0].Explanation)
	require.InDelta(t, 20_000-1, res.Figures["longest_gap_ms"], 2)
	require.InDelta(t, 11_900, res.Figures["longest_quiet_gap_ms"], 2)
}

func TestNothingToJudge(t *testing.T) {
	b := histtest.New()
	res := availability.New(availability.Config{Budget: s}).Check(t.Context(), b.History())
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Equal(t, "no send was tried", res.Reason)

	b = histtest.New()
	b.Inject("kill", "n1")
	b.Send(1, 0, 10).Fail()
	res = availability.New(availability.Config{Budget: s}).Check(t.Context(), b.History())
	require.Equal(t, checker.Unknown, res.Verdict)
	require.Contains(t, res.Reason, "while no fault was on")
}
