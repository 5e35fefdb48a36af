package outside_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/experiment"
)

// TestLocal: the same parts as processes of this machine, in real time. A node is this test binary
// once more.
func TestLocal(t *testing.T) {
	for name, c := range scenarios() {
		if c.simOnly {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.spec(t)
			s.Env, s.Time, s.Interval = experiment.EnvLocal, 8*time.Second, 3*time.Second
			c.through(t, s)
		})
	}
}

// local: the same by the binary, which is then what runs as a node.
func local(t *testing.T, own binary) {
	for _, name := range []string{"log", "log with the bug", "register with the bug"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := scenarios()[name]
			_, got := own.json(t, append(c.args(t, experiment.EnvLocal), "--time", "8s")...)
			c.holds(t, &got)
			_, again := own.json(t, "check", got.Run)
			require.Equal(t, got.Verdict, again.Verdict)
			require.Equal(t, got.Anomalies, again.Anomalies)
		})
	}
}
