//go:build unix

package assaytest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/harness/cluster/docker"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

// TestContainersAreRemoved: a test whose time is nearly over, and one that is interrupted, leaves
// no container. The test runs itself once more in a process of its own.
func TestContainersAreRemoved(t *testing.T) {
	const role = "ASSAYTEST_DOCKER"
	if dir := os.Getenv(role); dir != "" {
		s := spec(t)
		s.Env, s.Nemesis, s.Store, s.Time = "docker", []string{"kill"}, dir, 5*time.Minute
		assaytest.Run(t, s)
		return
	}
	dockertest.Need(t)
	for how, timeout := range map[string]string{"timeout": "24s", "interrupt": "4m"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0], "-test.run=^TestContainersAreRemoved$", "-test.v", "-test.timeout="+timeout)
			cmd.Env = append(os.Environ(), role+"="+dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			require.NoError(t, cmd.Start())
			var run string
			require.Eventually(t, func() bool {
				runs, err := filepath.Glob(filepath.Join(dir, "*", histories.ManifestFile))
				if err == nil && len(runs) == 1 {
					run = filepath.Dir(runs[0])
				}
				return run != ""
			}, 3*time.Minute, 50*time.Millisecond)
			id := run[strings.LastIndexByte(run, '-')+1:]
			if how == "interrupt" {
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					things, err := dockertest.Find(t.Context(), docker.LabelRun, id)
					require.NoError(c, err)
					require.Len(c, things, 7)
				}, 3*time.Minute, 100*time.Millisecond)
				require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
			}
			require.Error(t, cmd.Wait(), "the test fails")
			require.NotContains(t, out.String(), "panic: test timed out")
			require.Empty(t, dockertest.Leftovers(t, docker.LabelRun, id), out.String())
			if how == "timeout" {
				require.Contains(t, out.String(), "the run was interrupted")
				return
			}
			status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, ok)
			require.Equal(t, syscall.SIGINT, status.Signal(), "the signal ends the process in the end")
		})
	}
}
