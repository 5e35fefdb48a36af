package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

// What an acknowledgement with acks=1 promises is the leader's append: fewer copies than the
// configuration's are no lie.
func TestCopiesPromised(t *testing.T) {
	for acks, want := range map[string]int{"all": 2, "1": 1, "0": 1} {
		s := Default()
		s.Options = map[string]string{"replication": "sync", "copies": "2", "acks": acks}
		p, err := Standard().prepare(s)
		require.NoError(t, err)
		_, terms := p.promise.After(contract.Facts{})
		require.Equal(t, contract.Terms{Copies: want, NoAcks: acks == "0", LinearReads: acks == "all"}, terms, "acks=%s", acks)
	}
}

func TestMain(m *testing.M) {
	sim.ChildMain(Standard().SimHandlers())
	os.Exit(m.Run())
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Spec)
		want   string // empty: valid
	}{
		"default":             {func(*Spec) {}, ""},
		"docker":              {func(s *Spec) { s.Env = EnvDocker; s.Nemesis = []string{"kill", "partition", "pause"} }, ""},
		"every sim fault":     {func(s *Spec) { s.Nemesis = []string{"power:leader", "fsync", "full", "corrupt", "wipe", "promote"} }, ""},
		"env":                 {func(s *Spec) { s.Env = "moon" }, `unknown environment "moon" (want sim or docker or local)`},
		"mode":                {func(s *Spec) { s.Mode = "isr" }, "master-slave"},
		"nodes":               {func(s *Spec) { s.Nodes = 65 }, "1 to 64"},
		"target":              {func(s *Spec) { s.Target = "kafka" }, `unknown target "kafka" (want reference`},
		"workload":            {func(s *Spec) { s.Workload = "queue" }, `unknown workload "queue" (want log`},
		"unknown option":      {func(s *Spec) { s.Options = map[string]string{"min.insync.replicas": "2"} }, "no option"},
		"batch":               {func(s *Spec) { s.Options = map[string]string{"batch": "0"} }, `batch="0"`},
		"option value":        {func(s *Spec) { s.Options = map[string]string{"flush": "often"} }, "allowed are"},
		"copies beyond nodes": {func(s *Spec) { s.Options = map[string]string{"replication": "sync", "copies": "4"} }, "copies=4"},
		"groups":              {func(s *Spec) { s.Nodes = 4; s.Options = map[string]string{"groups": "2"} }, ""},
		"fault":               {func(s *Spec) { s.Nemesis = []string{"meteor"} }, "unknown fault"},
		"role":                {func(s *Spec) { s.Nemesis = []string{"kill:controller"} }, "no role"},
		"minority of two":     {func(s *Spec) { s.Nodes = 2; s.Nemesis = []string{"kill:minority"} }, "minority"},
		"partition of one":    {func(s *Spec) { s.Nodes = 1; s.Nemesis = []string{"partition"} }, "--env sim"},
		"docker has no power": {func(s *Spec) { s.Env = EnvDocker; s.Nemesis = []string{"power"} }, "--env docker"},
		"docker has no fsync": {func(s *Spec) { s.Env = EnvDocker; s.Nemesis = []string{"fsync"} }, "--env docker"},
		"time too short":      {func(s *Spec) { s.Time = 5 * time.Second; s.Nemesis = []string{"kill", "wipe"} }, "too short"},
		"interval too short":  {func(s *Spec) { s.Interval = time.Second; s.Nemesis = []string{"slow"} }, "too short"},
		"time":                {func(s *Spec) { s.Time = time.Millisecond }, "--time"},
		"rate":                {func(s *Spec) { s.Rate = 1e9 }, "--rate"},
		"clients":             {func(s *Spec) { s.Clients = -1 }, "--clients"},
		"interval":            {func(s *Spec) { s.Interval = 0 }, "--interval"},
		"check timeout":       {func(s *Spec) { s.CheckTimeout = -1 }, "--check-timeout"},
		"keep":                {func(s *Spec) { s.Keep = "" }, "--keep"},
		"store":               {func(s *Spec) { s.Store = "" }, "--store"},
		"plan beside nemesis": {func(s *Spec) { s.Plan.Plan = &harness.Plan{}; s.Nemesis = []string{"kill"} }, "leave --nemesis out"},
		"plan of another mind": {func(s *Spec) {
			s.Plan.Plan = &harness.Plan{Strikes: []harness.Strike{{ID: 1, Fault: "meteor", For: 1}}}
		}, "meteor"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Default()
			c.change(&s)
			err := Standard().Validate(s)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestRefusedBeforeAnything: what cannot be run leaves no trace.
func TestRefusedBeforeAnything(t *testing.T) {
	s := Default()
	s.Store = filepath.Join(t.TempDir(), "runs")
	s.Nodes = 0
	_, err := Standard().Run(t.Context(), s, Hooks{})
	require.Error(t, err)
	_, err = Standard().RunSeeds(t.Context(), s, Seeds{N: 2, Jobs: 1}, Hooks{})
	require.Error(t, err)
	_, err = Standard().RunSeeds(t.Context(), Default(), Seeds{N: 0, Jobs: 1}, Hooks{})
	require.Error(t, err)
	require.NoDirExists(t, s.Store)
}

func TestCommand(t *testing.T) {
	s := Default()
	s.Seed = 7
	require.Equal(t, "assay run --seed 7", s.command(Standard()))
	s.Env, s.Nodes, s.Time, s.Interval = EnvDocker, 2, 90*time.Second, 1500*time.Millisecond
	s.Options = map[string]string{"replication": "sync", "copies": "2"}
	s.Nemesis = []string{"partition:leader/alone/with-clients", "kill"}
	s.Store = "my runs/it's"
	require.Equal(t, `assay run --env docker --set copies=2 --set replication=sync --nodes 2 --nemesis partition:leader/alone/with-clients,kill`+
		` --time 90s --interval 1.5s --store 'my runs/it'\''s' --seed 7 --seeds 3`, s.command(Standard(), "--seeds", "3"))
}

func short(t *testing.T) Spec {
	s := Default()
	s.Store, s.Time, s.Interval, s.Seed = t.TempDir(), 5*time.Second, 2500*time.Millisecond, 3
	return s
}

// TestManifestComesFirst: the manifest is complete before anything runs.
func TestManifestComesFirst(t *testing.T) {
	s := short(t)
	s.Keep, s.Nemesis = KeepAlways, []string{"kill"}
	var before harness.Manifest
	res, err := Standard().Run(t.Context(), s, Hooks{Version: "v1", Started: func(run *histories.Run) {
		require.NoError(t, run.ReadJSON(histories.ManifestFile, &before))
		require.NoFileExists(t, run.HistoryPath())
	}})
	require.NoError(t, err)
	require.Equal(t, "v1", before.Versions.Assay)
	require.Equal(t, "async", before.Options["replication"], "effective options, defaults included")
	require.NotEmpty(t, before.Plan.Strikes)
	require.Equal(t, res.Summary.Reproduce, before.Reproduce)
	require.EqualValues(t, 3, before.Seed)

	// The verdict that was written is the one that was returned, and judging again gives it again.
	var written struct{ Summary judge.Summary }
	b, err := os.ReadFile(filepath.Join(res.Summary.Run, histories.VerdictFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &written))
	require.Equal(t, res.Summary.Verdict, written.Summary.Verdict)
	again, err := Standard().Judge(t.Context(), res.Summary.Run, JudgeOptions{})
	require.NoError(t, err)
	require.Equal(t, res.Summary.Exit, again.Summary.Exit)
	require.Equal(t, res.Summary.Ops, again.Summary.Ops)
}

func TestKeep(t *testing.T) {
	s := short(t)
	res, err := Standard().Run(t.Context(), s, Hooks{})
	require.NoError(t, err)
	require.Equal(t, 0, res.Summary.Exit, res.Why())
	require.True(t, res.Removed)
	require.NoDirExists(t, res.Summary.Run)
	s.Keep = KeepAlways
	res, err = Standard().Run(t.Context(), s, Hooks{})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(res.Summary.Run, histories.ReportFile))
}

// TestUnwrittenReport: a result that could not be kept is an error, in the verdict as well as in
// what Run returns.
func TestUnwrittenReport(t *testing.T) {
	s := short(t)
	s.Keep = KeepAlways
	block := Hooks{Started: func(run *histories.Run) { require.NoError(t, os.MkdirAll(filepath.Join(run.ReportPath(), "x"), 0o755)) }}
	res, err := Standard().Run(t.Context(), s, block)
	require.ErrorContains(t, err, "writing the report")
	require.Equal(t, judge.ExitError, res.Summary.Exit)
	require.Equal(t, "error", res.Summary.Verdict)
	require.Contains(t, res.Summary.Unknown[0], "writing the report")
	require.True(t, res.NoReport)
}

// TestNoAcksIsNoStall: with acks=0 nobody ever says that a send is stored, so that nobody does says
// nothing about the system.
func TestNoAcksIsNoStall(t *testing.T) {
	s := short(t)
	s.Options = map[string]string{"acks": "0"}
	s.Time = 15 * time.Second
	res, err := Standard().Run(t.Context(), s, Hooks{})
	require.NoError(t, err)
	require.Equal(t, judge.ExitUnknown, res.Summary.Exit, res.Why())
	require.Empty(t, res.Summary.Anomalies)
}

// TestNoEngineIsRefused: without a Docker engine nothing is started or written.
func TestNoEngineIsRefused(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	s := short(t)
	s.Env = EnvDocker
	res, err := Standard().Run(t.Context(), s, Hooks{})
	require.Nil(t, res)
	require.ErrorContains(t, err, "cannot reach the Docker engine at unix:///nowhere/docker.sock")
	_, err = Standard().RunSeeds(t.Context(), s, Seeds{N: 3, Jobs: 1}, Hooks{})
	require.ErrorContains(t, err, "cannot reach the Docker engine")
	left, err := filepath.Glob(filepath.Join(s.Store, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestInterrupted: a run that is stopped early is judged as far as it came, and is at best unknown.
func TestInterrupted(t *testing.T) {
	s := short(t)
	s.Time = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	res, err := Standard().Run(ctx, s, Hooks{Started: func(run *histories.Run) {
		go func() {
			defer close(done)
			for { // until there is something to judge
				if info, err := os.Stat(run.HistoryPath()); err == nil && info.Size() > 1<<16 {
					cancel()
					return
				}
				select {
				case <-time.After(time.Millisecond):
				case <-t.Context().Done():
					return
				}
			}
		}()
	}})
	<-done
	require.NoError(t, err)
	require.True(t, res.Summary.Interrupted)
	require.Equal(t, judge.ExitUnknown, res.Summary.Exit)
	require.Positive(t, res.Summary.Ops.OK)
	require.DirExists(t, res.Summary.Run)
}

// TestTornHistory: what a killed run leaves behind can be judged.
func TestTornHistory(t *testing.T) {
	s := short(t)
	s.Keep = KeepAlways
	res, err := Standard().Run(t.Context(), s, Hooks{})
	require.NoError(t, err)
	run, err := histories.OpenRun(res.Summary.Run)
	require.NoError(t, err)
	b, err := os.ReadFile(run.HistoryPath())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(run.HistoryPath(), b[:len(b)/2], 0o644))
	require.NoError(t, os.Remove(run.Path(histories.VerdictFile)))
	again, err := Standard().Judge(t.Context(), run.Dir(), JudgeOptions{})
	require.NoError(t, err)
	require.Equal(t, judge.ExitUnknown, again.Summary.Exit)
	require.NotEmpty(t, again.Warnings)
	_, err = Standard().ReadVerdict(t.Context(), run.Dir())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(run.Path(histories.ManifestFile), []byte(`{"format":99}`), 0o644))
	_, err = Standard().Judge(t.Context(), run.Dir(), JudgeOptions{})
	require.ErrorContains(t, err, "format 99")
}

func TestSumUp(t *testing.T) {
	s := Default()
	one := func(exit int, classes ...checker.Class) judge.Summary {
		sum := judge.Summary{Exit: exit, Verdict: judge.VerdictName(exit), Ops: histories.OpCounts{OK: 10, Weak: 1}, VirtualMS: 5}
		for _, c := range classes {
			sum.Anomalies = append(sum.Anomalies, judge.AnomalySummary{Class: c, Count: 2, Permitted: exit == judge.ExitPermitted, Explanation: "why"})
		}
		if exit == judge.ExitUnknown {
			sum.Unknown = []string{"idle"}
		}
		return sum
	}
	for name, c := range map[string]struct {
		all  []judge.Summary
		exit int
	}{
		"none":                           {nil, judge.ExitUnknown},
		"valid":                          {[]judge.Summary{one(0), one(0)}, judge.ExitValid},
		"permitted over valid":           {[]judge.Summary{one(0), one(4, checker.LostWrite)}, judge.ExitPermitted},
		"unknown over permitted":         {[]judge.Summary{one(2), one(4)}, judge.ExitUnknown},
		"invalid over unknown":           {[]judge.Summary{one(2), one(3, checker.Phantom), one(4, checker.LostWrite)}, judge.ExitInvalid},
		"error over everything":          {[]judge.Summary{one(3), one(1), one(0)}, judge.ExitError},
		"the order of seeds is the same": {[]judge.Summary{one(4, checker.LostWrite), one(3, checker.LostWrite, checker.Phantom)}, judge.ExitInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			sum := sumUp(&s, c.all, "again")
			require.Equal(t, c.exit, sum.Exit)
			require.Equal(t, judge.VerdictName(c.exit), sum.Verdict)
			require.EqualValues(t, 10*len(c.all), sum.Ops.OK)
			require.Len(t, sum.Seeds, len(c.all))
			require.Equal(t, "again", sum.Reproduce)
			for i := 1; i < len(sum.Anomalies); i++ {
				require.False(t, sum.Anomalies[i-1].Permitted && !sum.Anomalies[i].Permitted, "what is excluded comes first")
			}
		})
	}
}

func TestReadPlan(t *testing.T) {
	dir := t.TempDir()
	plan := `{"seed":1,"strikes":[{"id":1,"fault":"kill","at_ns":1000000000,"for_ns":1000000000,"pick":5}]}`
	for name, content := range map[string]string{"plan": plan, "manifest": `{"format":1,"plan":` + plan + `}`} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		got, err := Standard().ReadPlan(path)
		require.NoError(t, err, name)
		require.Equal(t, path, got.File)
		require.Len(t, got.Plan.Strikes, 1)
	}
	for _, content := range []string{"", "[]", `{"seed":1,"strikes":[{"fault":"meteor"}]}`, strings.Repeat("x", 100)} {
		path := filepath.Join(dir, "bad")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		_, err := Standard().ReadPlan(path)
		require.ErrorContains(t, err, "--plan", content)
	}
}

func TestCatalog(t *testing.T) {
	faults, err := Standard().FaultEntries()
	require.NoError(t, err)
	envs := map[string][]string{}
	for _, f := range faults {
		envs[f.Name] = f.Envs
		require.NotEmpty(t, f.Doc)
		require.NotContains(t, f.Roles, "greatest")
	}
	require.Equal(t, []string{EnvSim, EnvDocker, EnvLocal}, envs["kill"])
	require.Equal(t, []string{EnvSim, EnvDocker}, envs["partition"])
	require.Equal(t, []string{EnvSim}, envs["power"])
}

// A fault is listed where any target has the abilities for it, whatever another target or
// environment lacks.
func TestFaultsOfAnyTarget(t *testing.T) {
	nowhere := &target.Target{
		Name: "nowhere", Modes: []target.Mode{{Name: "only"}}, Options: []harness.Option{{Name: "a", Default: "1"}},
		New: func(c target.Config, _ target.Place) (*target.System, error) {
			require.Equal(t, map[string]string{"a": "1"}, c.Options, "those in force")
			return nil, harness.ErrUnsupported
		},
	}
	c := Standard()
	c.Targets = append([]*target.Target{nowhere}, c.Targets...)
	c.Environments = append(c.Environments, Environment{Name: "moon", New: func(ClusterConfig) (harness.Cluster, func() error, error) {
		return nil, nil, errors.New("too far")
	}})
	with, err := c.FaultEntries()
	require.NoError(t, err)
	without, err := Standard().FaultEntries()
	require.NoError(t, err)
	require.Equal(t, without, with)
}
