package cli

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/judge"
)

// frozenTestEnv makes a simulation of this test binary stand still; see TestMain.
const frozenTestEnv = "ASSAY_TEST_FROZEN"

// frozen waits for a lock, which no bubble takes for a wait: its time does not go on.
func frozen(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
	var mu sync.Mutex
	mu.Lock()
	mu.Lock()
	return nil, nil
}

// TestFrozenSimulation: a simulation whose time stands still is given up after 10 s. That is an
// error of the harness, and the stacks of all goroutines are on standard error.
func TestFrozenSimulation(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv(frozenTestEnv, "1")
	r := runCLI(t, "run", "--time", "3s", "--seed", "1", "--json")
	require.Equal(t, judge.ExitError, r.code, r.stderr)
	var s judge.Summary
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &s))
	require.Equal(t, judge.ExitError, s.Exit)
	require.Contains(t, s.Unknown[0], "virtual time has stood still")
	require.Contains(t, r.stderr, "cli.frozen(", "its stack")
}
