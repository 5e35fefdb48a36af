package nemesis_test

import (
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// A seed that was saved means the same experiment in every version: the same plan, the same
// victims, the same links. The file was made by the version before groups could overlap.
func TestSeedsMeanWhatTheyMeant(t *testing.T) {
	var b strings.Builder
	for _, sizes := range [][]int{{3}, {5}, {2, 2}, {1, 4, 5}} {
		for _, fault := range []string{
			"kill", "kill:leader", "kill:follower", "kill:minority", "kill:majority", "kill:all", "promote", "promote:follower", "loss:leader",
			"partition", "partition:follower", "partition:majority", "partition:all", "partition:minority/alone", "partition:all/oneway",
			"partition/ring", "partition:leader/oneway/with-clients", "partition/ring/with-clients", "partition:all/with-clients",
		} {
			synctest.Test(t, func(t *testing.T) { fmt.Fprintf(&b, "%v %s:%s\n", sizes, fault, drawn(t, fault, sizes)) })
		}
	}
	for seed := range uint64(3) {
		faults := []string{"slow:follower", "wipe:leader", "promote", "partition/ring", "kill"}
		plan, err := stock(t).MakePlan(nemesis.PlanConfig{Seed: seed, Faults: faults, Time: time.Minute, Interval: 10 * time.Second})
		require.NoError(t, err)
		for _, s := range plan.Strikes {
			fmt.Fprintf(&b, "seed %d: %d %s %v %v %x\n", seed, s.ID, s.Fault, s.At, s.For, s.Pick)
		}
	}
	want, err := os.ReadFile("testdata/seeds.txt")
	require.NoError(t, err)
	require.Equal(t, strings.Split(string(want), "\n"), strings.Split(b.String(), "\n"))
}

// drawn says whom a fault strikes with some picks and, of links, a hash of the rules.
func drawn(t *testing.T, fault string, sizes []int) string {
	t.Helper()
	c := started(t, fakecluster.Options{}, sizes...)
	faults, err := stock(t).Faults(fault)
	require.NoError(t, err)
	if faults[0].Supports(c) != nil {
		return " refused"
	}
	strikes := make([]harness.Strike, 4)
	for i := range strikes {
		strikes[i] = strike(fault, time.Duration(1+3*i)*time.Second, time.Second)
		strikes[i].Pick = uint64(i) * 7919
	}
	h, err := stage(t.Context(), t, c, strikes...)
	require.NoError(t, err)
	text := ""
	for op := range h.Ops() {
		switch op.F {
		case histories.Inject:
			text += " " + op.Node + "."
		case histories.Note:
			text += fmt.Sprintf(" group %d %s.", op.Part, op.Node)
		}
	}
	if rules := c.Rules(); len(rules) > 0 {
		hash := fnv.New32()
		fmt.Fprint(hash, rules)
		text += fmt.Sprintf(" %d links, %08x", len(rules), hash.Sum32())
	}
	return text
}
