//go:build linux

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness/cluster/docker"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/internal/dockertest"
)

// commandTestEnv makes this test binary the whole command, supervisor included; see TestMain. Its
// value is the path of a fuse.
const commandTestEnv = "ASSAY_TEST_COMMAND"

// playCommand is main, but standard error panics as soon as a file is where the fuse ends. Who
// writes there in the middle of a run is the goroutine that shows the progress, which nobody
// guards.
func playCommand(fuse string) {
	a := &app{catalog: experiment.Standard(), stdin: os.Stdin, stdout: os.Stdout, stderr: bomb{os.Stderr, fuse}}
	a.process(os.Args[1:])
}

// bomb is a writer that panics once a file exists.
type bomb struct {
	io.Writer
	fuse string
}

func (b bomb) Write(p []byte) (int, error) {
	if _, err := os.Stat(b.fuse); err == nil && os.Getenv(supervisedEnv) != "" {
		panic("a panic in the middle of a run")
	}
	return b.Writer.Write(p)
}

// dockerRun is a run of the command in containers, as a process of its own.
type dockerRun struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err bytes.Buffer
	dir      string // of the run
	id       string // in labels
	fuse     string
}

// middleOfRun starts a run and returns when a node is dead, one is paused and one is cut off.
func middleOfRun(t *testing.T) *dockerRun {
	t.Helper()
	dockertest.Need(t)
	dir := t.TempDir()
	plan := `{"seed":1,"strikes":[
		{"id":1,"fault":"partition:leader/alone","at_ns":500000000,"for_ns":50000000000,"pick":1},
		{"id":2,"fault":"pause:follower","at_ns":1000000000,"for_ns":50000000000,"pick":2},
		{"id":3,"fault":"kill","at_ns":1500000000,"for_ns":50000000000,"pick":3}]}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plan.json"), []byte(plan), 0o644))
	r := &dockerRun{t: t, fuse: filepath.Join(dir, "fuse")}
	store := filepath.Join(dir, "runs")
	r.cmd = exec.Command(os.Args[0], "run", "--env", "docker", "--plan", filepath.Join(dir, "plan.json"), "--seed", "1", "--rate", "100",
		"--store", store, "--json", "--progress")
	r.cmd.Env = append(os.Environ(), commandTestEnv+"="+r.fuse)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	require.NoError(t, r.cmd.Start())
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // most have ended
		_ = r.cmd.Wait()
		if t.Failed() {
			t.Log(r.err.String())
		}
		r.clean() // mostly for nothing
	})
	require.Eventually(t, func() bool {
		runs, err := filepath.Glob(filepath.Join(store, "*", histories.HistoryFile))
		if err != nil || len(runs) == 0 {
			return false
		}
		r.dir = filepath.Dir(runs[0])
		h, err := os.ReadFile(runs[0])
		return err == nil && strings.Count(string(h), `"f":"inject"`) == 3
	}, 3*time.Minute, 50*time.Millisecond, "three faults are on") // the image may have to be built
	r.id = r.dir[strings.LastIndexByte(r.dir, '-')+1:]
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		things, err := dockertest.Find(t.Context(), docker.LabelRun, r.id)
		require.NoError(c, err)
		states := make(map[string]int)
		for _, thing := range things {
			states[thing.Kind+" "+thing.State]++
		}
		require.Equal(c, 1, states["container exited"])
		require.Equal(c, 1, states["container paused"])
	}, 10*time.Second, 50*time.Millisecond, "one is dead, one is paused")
	require.Len(t, r.left(), 7, "three containers, three volumes, a network")
	return r
}

func (r *dockerRun) left() []dockertest.Thing {
	r.t.Helper()
	return dockertest.Leftovers(r.t, docker.LabelRun, r.id)
}

// clean removes what is left of the run, whose process must have come to its end. It is what `assay
// clean` does, but for what other tests leave on purpose.
func (r *dockerRun) clean() docker.Report {
	r.t.Helper()
	var left []dockertest.Thing
	if r.id != "" {
		left = r.left()
	}
	if len(left) == 0 {
		return docker.Report{}
	}
	pid, err := strconv.Atoi(strings.Split(left[0].Labels[docker.LabelOwner], "/")[3])
	require.NoError(r.t, err)
	require.Eventually(r.t, func() bool { // it goes with its supervisor
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		return os.IsNotExist(err)
	}, 10*time.Second, 10*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), time.Minute) // a cleanup calls, too
	defer cancel()
	report, err := docker.CleanProcess(ctx, pid)
	require.NoError(r.t, err)
	return report
}

// summary is the end of the run: its exit code, and the object that it printed.
func (r *dockerRun) summary() (code int, s judge.Summary) {
	r.t.Helper()
	_ = r.cmd.Wait() // the code tells
	require.NoError(r.t, json.Unmarshal(r.out.Bytes(), &s), "%s%s", r.out.String(), r.err.String())
	return r.cmd.ProcessState.ExitCode(), s
}

// judged requires that the history up to the end can be read and judged: nothing is concluded from
// it, and nothing is held against the system.
func (r *dockerRun) judged() judge.Summary {
	r.t.Helper()
	c := runCLI(r.t, "check", r.dir, "--json")
	var s judge.Summary
	require.NoError(r.t, json.Unmarshal([]byte(c.stdout), &s), "%s%s", c.stdout, c.stderr)
	require.Equal(r.t, judge.ExitUnknown, c.code, "%+v", s)
	require.Positive(r.t, s.Ops.OK)
	return s
}

// TestPanicInDocker: a panic in a goroutine that nobody guards ends the process at once, and yet
// nothing is left of the run but its directory.
func TestPanicInDocker(t *testing.T) {
	r := middleOfRun(t)
	require.NoError(t, os.WriteFile(r.fuse, nil, 0o644))
	code, s := r.summary()
	require.Equal(t, judge.ExitError, code)
	require.Equal(t, judge.ExitError, s.Exit)
	require.Contains(t, r.err.String(), "panic: a panic in the middle of a run")
	require.Contains(t, r.err.String(), "what it made is removed")
	require.Empty(t, r.left())
	r.judged()
}

// TestSignalsInDocker: Ctrl-C and SIGTERM heal, stop and judge.
func TestSignalsInDocker(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			r := middleOfRun(t)
			require.NoError(t, r.cmd.Process.Signal(signal))
			code, s := r.summary()
			require.Equal(t, judge.ExitUnknown, code, "%s", r.err.String())
			require.True(t, s.Interrupted)
			require.Len(t, s.Faults, 3)
			for _, f := range s.Faults {
				require.Positive(t, f.HealedMS, "%+v", f)
				require.NotEmpty(t, f.Effect, "%+v", f)
			}
			require.Empty(t, r.left())
			require.Contains(t, r.judged().Unknown, "the run was interrupted")
		})
	}
}

// TestKillInDocker: after a kill -9 of the command only what carries its labels is left, and
// cleaning removes it.
func TestKillInDocker(t *testing.T) {
	r := middleOfRun(t)
	require.NoError(t, r.cmd.Process.Kill())
	_ = r.cmd.Wait()
	require.Len(t, r.left(), 7)
	report := r.clean()
	require.Len(t, report.Containers, 3)
	require.Len(t, report.Volumes, 3)
	require.Len(t, report.Networks, 1)
	require.Empty(t, r.left())
	r.judged()
}

// TestVerdictsInDocker is items 3 and 4 of the issue, shortened: whole runs in containers, with
// verdicts and measured effects.
func TestVerdictsInDocker(t *testing.T) {
	dockertest.Need(t)
	for name, c := range map[string]struct {
		args []string
		exit int
	}{
		"async loses":            {[]string{"--nodes", "2", "--set", "replication=async", "--nemesis", "slow:follower,wipe:leader,promote"}, judge.ExitPermitted},
		"sync keeps":             {[]string{"--nodes", "2", "--set", "replication=sync", "--set", "copies=2", "--nemesis", "slow:follower,wipe:leader,promote"}, judge.ExitValid},
		"the page cache is kept": {[]string{"--nemesis", "kill,partition,pause"}, judge.ExitValid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s judge.Summary
			for _, seed := range []string{"1", "2", "3"} {
				s = runJSON(t, append(c.args, "--env", "docker", "--time", "24s", "--rate", "150", "--store", t.TempDir(), "--seed", seed)...)
				if c.exit != judge.ExitPermitted || s.Exit != judge.ExitValid {
					break // which messages meet the wipe is not decided by the seed alone, so that a run may lose nothing
				}
			}
			require.Equal(t, c.exit, s.Exit, "%+v", s)
			require.Greater(t, s.Ops.OK, int64(500))
			require.NotEmpty(t, s.Faults)
			for _, f := range s.Faults {
				require.NotEmpty(t, f.Effect, "%+v", f)
				require.Greater(t, f.HealedMS, f.AtMS, "%+v", f)
			}
		})
	}
}
