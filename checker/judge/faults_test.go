package judge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// TestFaultTargets: a record names the role that was struck, the default one too.
func TestFaultTargets(t *testing.T) {
	for spec, want := range map[string][2]string{
		"kill": {"kill", "one"}, "kill:one": {"kill", "one"}, "kill:leader": {"kill", "leader"}, "promote": {"promote", "one"}, "partition": {"partition", "one"},
		"partition/ring": {"partition", "one/ring"}, "partition/alone/with-clients": {"partition", "one/alone/with-clients"},
		"partition:leader/alone": {"partition", "leader/alone"},
	} {
		op := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
		op.Fault, op.Node = spec, "n1"
		got := judged(judge.Input{History: histories.History{op}}, fine).Faults
		require.Len(t, got, 1)
		require.Equal(t, want, [2]string{got[0].Name, got[0].Target}, spec)
	}
}
