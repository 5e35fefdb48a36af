package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
)

// supervisedTestEnv makes this test binary play a supervised child; see TestMain.
const supervisedTestEnv = "ASSAY_TEST_CHILD"

// playChild is what the child of TestSupervisor does.
func playChild(how string) {
	switch how {
	case "panic":
		go func() { panic("in a goroutine that nobody guards") }()
		select {}
	case "exit 4":
		exit(4)
	case "exit 2 unsaid":
		os.Exit(2)
	}
}

func TestSupervisor(t *testing.T) {
	for _, c := range []struct {
		how     string
		code    int
		cleaned bool
	}{
		{"exit 4", 4, false},
		{"panic", 1, true},
		{"exit 2 unsaid", 1, true},
	} {
		t.Run(c.how, func(t *testing.T) {
			var out, errOut bytes.Buffer
			a := &app{catalog: experiment.Standard(), stdout: &out, stderr: &errOut}
			self, err := os.Executable()
			require.NoError(t, err)
			child := exec.Command(self)
			child.Env = append(os.Environ(), supervisedTestEnv+"="+c.how)
			cleaned := false
			code := a.supervise(child, true, func(context.Context) error { cleaned = true; return nil })
			require.Equal(t, c.code, code, "%s", errOut.String())
			require.Equal(t, c.cleaned, cleaned)
			if c.cleaned {
				var s judge.Summary
				require.NoError(t, json.Unmarshal(out.Bytes(), &s))
				require.Equal(t, 1, s.Exit)
				require.Contains(t, errOut.String(), "the run broke off")
			}
		})
	}
}

func TestNeedsSupervisor(t *testing.T) {
	a := &app{catalog: experiment.Standard()}
	require.Len(t, a.supervised([]string{"run", "--env", "docker"}), 1)
	require.Len(t, a.supervised([]string{"run", "--env=docker"}), 1)
	require.Empty(t, a.supervised([]string{"run", "--env", "sim"}))
	require.Empty(t, a.supervised([]string{"list", "faults", "--env", "docker"}))
	t.Setenv(supervisedEnv, "1")
	require.Empty(t, a.supervised([]string{"run", "--env", "docker"}))
}
