package experiment

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

// recordedBy writes a run with a small history and the manifest of a default experiment, as
// changed.
func recordedBy(t *testing.T, change func(m *harness.Manifest)) (dir string) {
	t.Helper()
	p, err := Standard().prepare(Default())
	require.NoError(t, err)
	p.Store = t.TempDir()
	run, m, err := p.begin(Hooks{})
	require.NoError(t, err)
	if change != nil {
		change(m)
	}
	require.NoError(t, run.WriteJSON(histories.ManifestFile, m))
	lines := `{"i":0,"t":1,"type":"invoke","p":0,"f":"send","part":0,"value":1}
{"i":1,"t":2,"type":"ok","p":0,"f":"send","part":0,"value":1,"offset":0}
`
	require.NoError(t, os.WriteFile(run.HistoryPath(), []byte(lines), 0o644))
	return run.Dir()
}

// A run that was made by a program with other parts is not judged by what is left of it: the error
// names what is missing.
func TestMissingParts(t *testing.T) {
	for _, c := range []struct {
		change func(m *harness.Manifest)
		want   string
	}{
		{func(m *harness.Manifest) { m.Target = "kafka" }, `unknown target "kafka" (want reference`},
		{func(m *harness.Manifest) { m.Target = "" }, `unknown target ""`},
		{func(m *harness.Manifest) { m.Workload = "queue" }, `unknown workload "queue" (want log`},
		{func(m *harness.Manifest) { m.Mode = "dledger" }, `unknown mode "dledger" of target reference (want master-slave`},
		{func(m *harness.Manifest) { m.Options["read"] = "lease" }, `no option "read"`},
		{func(m *harness.Manifest) { m.Options["acks"] = "most" }, `acks="most"`},
		{func(m *harness.Manifest) { m.Options["groups"] = "9000000000" }, "groups=9000000000"},
		{func(m *harness.Manifest) { m.Nodes = 0 }, "0 nodes"},
		{func(m *harness.Manifest) { m.Format = 0 }, "format 0"},
		{func(m *harness.Manifest) { m.Format = harness.ManifestFormat + 1 }, "format 3; this version reads 1 to 2"},
	} {
		res, err := Standard().Judge(t.Context(), recordedBy(t, c.change), JudgeOptions{})
		require.ErrorContains(t, err, c.want)
		require.Nil(t, res)
	}
	for format := 1; format <= harness.ManifestFormat; format++ {
		dir := recordedBy(t, func(m *harness.Manifest) { m.Format, m.Env, m.Nemesis = format, "moon", []string{"meteor"} })
		res, err := Standard().Judge(t.Context(), dir, JudgeOptions{})
		require.NoError(t, err, "judging needs neither the environment nor the faults")
		require.Equal(t, judge.ExitUnknown, res.Summary.Exit)
		res, err = Standard().Judge(t.Context(), filepath.Join(dir, histories.HistoryFile), JudgeOptions{})
		require.NoError(t, err)
		require.Equal(t, judge.ExitUnknown, res.Summary.Exit)
		require.Contains(t, res.Warnings[0], "no manifest")
	}
}

// A target that would write options into the manifest which `assay check` does not find again is
// refused before the run.
func TestUnlistedOption(t *testing.T) {
	c := Standard()
	c.Targets = append(c.Targets, &target.Target{
		Name: "kv", Modes: []target.Mode{{Name: "plain"}},
		Configure: func(target.Config) (map[string]string, error) { return map[string]string{"derived": "1"}, nil },
		New:       func(target.Config, target.Place) (*target.System, error) { return nil, harness.ErrUnsupported },
		Promise:   func(target.Config) (contract.Promise, error) { return contract.Promise{}, nil },
	})
	s := Default()
	s.Target = "kv"
	require.ErrorContains(t, c.Validate(s), `target kv is configured with the option "derived", which it does not list`)
}

// drawer finds that partition 0 is not linearizable, and draws as it is told.
type drawer struct{ draw func(w io.Writer) error }

func (drawer) Name() string { return "drawer" }

func (drawer) Check(context.Context, histories.Reader) checker.Result {
	return checker.Result{Anomalies: []checker.Anomaly{{Class: checker.Nonlinearizable, Explanation: "x"}}}
}

func (d drawer) Visualize(_ context.Context, _ histories.Reader, _ int32, w io.Writer) error {
	return d.draw(w)
}

// The first checker that can draws what was found. One that fails or panics costs no verdict.
func TestPicture(t *testing.T) {
	fails := drawer{func(io.Writer) error { return io.ErrClosedPipe }}
	panics := drawer{func(io.Writer) error { panic("no paper") }}
	draws := drawer{func(w io.Writer) error { _, err := io.WriteString(w, "page"); return err }}
	judged := func(checkers ...checker.Checker) *Result {
		c := Standard()
		c.Workloads[0].Judging = func(contract.Terms) judge.Rules { return judge.Rules{Checkers: checkers} }
		res, err := c.Judge(t.Context(), recordedBy(t, nil), JudgeOptions{})
		require.NoError(t, err)
		require.Equal(t, judge.ExitInvalid, res.Summary.Exit)
		return res
	}
	require.Equal(t, "page", string(judged(fails, panics, draws).Picture))
	require.Empty(t, judged(fails, panics).Picture)
}
