// Package outside_test runs the parts of this module through the stock ones: engine, nemesis,
// judge, report and command line.
package outside_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/histories"

	"example.com/outside/logserver"
	"example.com/outside/parts"
	"example.com/outside/register"
)

// TestMain: with --env local, the nodes are processes of this test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == logserver.Command {
		os.Exit(logserver.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// scenario is an experiment with parts of this module, and what has to come of it.
type scenario struct {
	workload string
	faults   []string
	options  map[string]string
	exit     int
	class    checker.Class // that has to be found; "": nothing may be
	simOnly  bool          // no other environment can do it
}

// scenarios show every part once where all is right, and once where something is wrong.
func scenarios() map[string]scenario {
	return map[string]scenario{
		"log": {workload: "log", faults: []string{"kill"}},
		"log with the bug": {
			workload: "log", faults: []string{"kill:leader"},
			options: map[string]string{"bug": logserver.BugAckBeforeWrite},
			exit:    judge.ExitInvalid, class: checker.LostWrite,
		},
		"batches": {
			workload: "log", faults: []string{"kill:follower"},
			options: map[string]string{"batch": "3", "partitions": "5"},
		},
		"own faults": {workload: "log", faults: []string{"resync", "drain"}},
		"own faults beside stock ones": {
			workload: "log", faults: []string{"resync", "power", "partition:follower/alone", "slow"},
			simOnly: true,
		},
		"register": {workload: "register", faults: []string{"kill", "drain"}},
		"register with the bug": {
			workload: "register", faults: []string{"kill:leader"},
			options: map[string]string{"bug": logserver.BugAckBeforeWrite, "registers": "5"},
			exit:    judge.ExitInvalid, class: register.NotARegister,
		},
		"register with another bug": {
			workload: "register", options: map[string]string{"bug": logserver.BugStaleCache},
			exit: judge.ExitInvalid, class: register.NotARegister,
		},
	}
}

// spec is the scenario for Go.
func (c *scenario) spec(t *testing.T) experiment.Spec {
	t.Helper()
	s := experiment.Default()
	s.Target, s.Workload, s.Nemesis, s.Options = "logserver", c.workload, c.faults, c.options
	s.Time, s.Interval, s.Seed = 15*time.Second, 3*time.Second, 5
	s.Store, s.Keep = t.TempDir(), experiment.KeepAlways
	return s
}

// through runs it by assaytest.
func (c *scenario) through(t *testing.T, s experiment.Spec) *experiment.Result {
	t.Helper()
	options := []assaytest.Option{assaytest.With(parts.Catalog())}
	if c.exit == judge.ExitInvalid {
		options = append(options, assaytest.ExpectInvalid())
	}
	res := assaytest.Run(t, s, options...)
	c.holds(t, &res.Summary)
	return res
}

// holds holds a summary against what has to come of the scenario.
func (c *scenario) holds(t *testing.T, s *judge.Summary) {
	t.Helper()
	require.Equal(t, c.exit, s.Exit, "%+v", s)
	require.Positive(t, s.Ops.OK)
	found := c.class == "" && len(s.Anomalies) == 0
	for _, a := range s.Anomalies {
		require.False(t, a.Permitted)
		require.NotEmpty(t, a.Witnesses)
		found = found || a.Class == c.class
	}
	require.True(t, found, "%s in %+v", c.class, s.Anomalies)
	require.Equal(t, len(c.faults) == 0, len(s.Faults) == 0)
	for _, f := range s.Faults {
		require.NotEmpty(t, f.Effect, "%s on %v", f.Name, f.Nodes)
		switch f.Name {
		case "drain":
			require.Equal(t, "3 of 3 nodes drained", f.Effect)
		case "resync":
			require.Regexp(t, `^\d+ messages dropped$`, f.Effect)
		}
	}
}

// TestThroughAssaytest: the parts work in `go test`, what is wrong is found, and whoever judges the
// saved run again comes to the same.
func TestThroughAssaytest(t *testing.T) {
	for name, c := range scenarios() {
		t.Run(name, func(t *testing.T) {
			res := c.through(t, c.spec(t))
			again, err := parts.Catalog().Judge(t.Context(), res.Summary.Run, experiment.JudgeOptions{})
			require.NoError(t, err)
			require.Equal(t, res.Summary.Verdict, again.Summary.Verdict)
			require.Equal(t, res.Summary.Anomalies, again.Summary.Anomalies)
			page, err := os.ReadFile(filepath.Join(res.Summary.Run, "report.html"))
			require.NoError(t, err)
			require.Contains(t, string(page), string(c.class))
			require.Equal(t, c.class != "", res.Picture != nil, "a checker of one's own draws, too")
		})
	}
}

// TestHarmOfOnesOwnFault: what a foreign fault can destroy is recorded, and the stock nemesis
// watches until its victim has caught up: it asks the groups of the foreign target.
func TestHarmOfOnesOwnFault(t *testing.T) {
	c := scenarios()["own faults"]
	events := histories.EventsOf(c.through(t, c.spec(t)).History)
	resyncs := 0
	for i := range events.Strikes {
		s := &events.Strikes[i]
		if s.Name != "resync" {
			require.Equal(t, histories.HarmNone, s.Harm)
			continue
		}
		resyncs++
		require.Equal(t, histories.HarmDisk, s.Harm)
		require.NotContains(t, s.Nodes, "n1", "which leads")
		caughtUp := false
		for _, n := range events.Notes {
			caughtUp = caughtUp || n.Note == histories.NoteCaughtUp && n.Node() == s.Nodes[0] && n.Time > s.From
		}
		require.True(t, caughtUp)
	}
	require.Positive(t, resyncs)
	require.Equal(t, map[int][]string{0: {"n1", "n2", "n3"}}, events.Groups())
	require.Equal(t, "n1", events.Leader(0))
}

// TestWeakAnswers: what the foreign client says of an answer comes to the judge.
func TestWeakAnswers(t *testing.T) {
	c := scenarios()["batches"]
	require.Positive(t, c.through(t, c.spec(t)).Summary.Ops.Weak)
}

// TestTheTargetIsSmall: a target of a whole system is one file that somebody writes in an
// afternoon.
func TestTheTargetIsSmall(t *testing.T) {
	files, err := filepath.Glob("logtarget/*.go")
	require.NoError(t, err)
	require.Len(t, files, 1)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.LessOrEqual(t, bytes.Count(b, []byte("\n")), 150)
}

// TestPartsThatDoNotFit: what cannot work is refused before anything starts.
func TestPartsThatDoNotFit(t *testing.T) {
	for want, change := range map[string]func(*experiment.Spec){
		`workload register needs clients that can do "write"`: func(s *experiment.Spec) { s.Target, s.Workload = "reference", "register" },
		"fault promote": func(s *experiment.Spec) { s.Nemesis = []string{"promote"} },
		"in containers": func(s *experiment.Spec) { s.Env = experiment.EnvDocker },
		`"registers"`:   func(s *experiment.Spec) { s.Options = map[string]string{"registers": "2"} },
	} {
		c := scenario{workload: "log"}
		s := c.spec(t)
		change(&s)
		require.ErrorContains(t, parts.Catalog().Validate(s), want)
	}
}
