package checker_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/histories"
)

type fake struct {
	name  string
	check func() checker.Result
}

func (f fake) Name() string                                           { return f.name }
func (f fake) Check(context.Context, histories.Reader) checker.Result { return f.check() }

func says(v checker.Verdict) fake {
	return fake{v.String(), func() checker.Result { return checker.Result{Verdict: v} }}
}

func TestWorse(t *testing.T) {
	const u, v, i = checker.Unknown, checker.Valid, checker.Invalid
	for _, tt := range []struct{ a, b, want checker.Verdict }{
		{u, u, u}, {u, v, u}, {u, i, i}, {v, v, v}, {v, i, i}, {i, i, i}, {checker.Verdict(9), v, checker.Verdict(9)},
	} {
		require.Equal(t, tt.want, checker.Worse(tt.a, tt.b))
		require.Equal(t, tt.want, checker.Worse(tt.b, tt.a))
	}
}

func TestRun(t *testing.T) {
	ctx := t.Context()
	require.Equal(t, checker.Unknown, checker.Run(ctx, histories.History{}).Verdict, "nothing judged is not a pass")
	require.Equal(t, checker.Valid, checker.Run(ctx, histories.History{}, says(checker.Valid), says(checker.Valid)).Verdict)
	rep := checker.Run(ctx, histories.History{}, says(checker.Valid), says(checker.Unknown))
	require.Equal(t, checker.Unknown, rep.Verdict)
	require.Equal(t, []string{"unknown: not decided"}, rep.Reasons())
	require.Equal(t, checker.Invalid, checker.Run(ctx, histories.History{}, says(checker.Invalid), says(checker.Unknown)).Verdict)
}

func TestRunGuards(t *testing.T) {
	crash := fake{"crash", func() checker.Result { panic("index out of range") }}
	rep := checker.Run(t.Context(), histories.History{}, crash, says(checker.Valid))
	require.Equal(t, checker.Unknown, rep.Verdict)
	require.Contains(t, rep.Reasons()[0], "crash: checker crashed: index out of range")
	require.Len(t, rep.Results, 2, "the others still judge")

	lax := fake{"lax", func() checker.Result {
		return checker.Result{Verdict: checker.Valid, Anomalies: []checker.Anomaly{{Class: checker.LostWrite}}}
	}}
	rep = checker.Run(t.Context(), histories.History{}, lax)
	require.Equal(t, checker.Invalid, rep.Verdict, "an anomaly is never valid")
	require.Equal(t, 1, rep.Count(checker.LostWrite))
	require.Equal(t, 0, rep.Count(checker.Stall))
	require.Len(t, rep.Anomalies(), 1)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rep = checker.Run(ctx, histories.History{}, says(checker.Valid))
	require.Equal(t, checker.Unknown, rep.Verdict)
}

func TestVerdictText(t *testing.T) {
	for _, v := range []checker.Verdict{checker.Unknown, checker.Valid, checker.Invalid} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		var back checker.Verdict
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, v, back)
	}
	var v checker.Verdict
	require.Error(t, json.Unmarshal([]byte(`"fine"`), &v))
	require.Equal(t, checker.Unknown, v)
}
