package guide

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/nemesis"
)

// row returns the cells of the row of a table whose first cell is in backticks as given; nil if
// there is none.
func row(page, first string) []string {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) > 1 && cells[0] == "`"+first+"`" {
			return cells
		}
	}
	return nil
}

// The page of the faults says of each what the code says: what it can destroy, and where it can be
// had.
func TestFaultsPage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "faults.md"))
	require.NoError(t, err)
	page := string(b)
	for _, k := range nemesis.Stock() {
		harm := row(page, string(k.Harm))
		require.NotNil(t, harm, "no harm %q", k.Harm)
		require.Contains(t, strings.Split(harm[2], ", "), k.Name, "the harm of %s is %s", k.Name, k.Harm)
	}
	entries, err := experiment.Standard().FaultEntries()
	require.NoError(t, err)
	for _, e := range entries {
		cells := row(page, e.Name)
		require.NotNil(t, cells, "no fault %q", e.Name)
		for i, env := range []string{experiment.EnvSim, experiment.EnvDocker, experiment.EnvLocal} {
			no := strings.HasPrefix(cells[2+i], "no")
			require.Equal(t, slices.Contains(e.Envs, env), !no, "%s in %s: %q", e.Name, env, cells[2+i])
		}
	}
}
