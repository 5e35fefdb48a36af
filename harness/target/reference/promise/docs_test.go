package promise_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness/target/reference/promise"
)

var update = flag.Bool("update", false, "write the tables of docs/guarantees.md anew")

const guarantees = "../../../../docs/guarantees.md"

// TestGuaranteesAreTheRules holds docs/guarantees.md against the rules: its tables are made from
// them.
func TestGuaranteesAreTheRules(t *testing.T) {
	file, err := os.ReadFile(guarantees)
	require.NoError(t, err)
	text := string(file)
	for name, want := range map[string]string{"rules": rulesTable(), "faults": faultsTable()} {
		begin, end := fmt.Sprintf("<!-- %s: begin -->\n", name), fmt.Sprintf("<!-- %s: end -->", name)
		head, rest, ok := strings.Cut(text, begin)
		require.True(t, ok, "no table %q", name)
		got, foot, ok := strings.Cut(rest, end)
		require.True(t, ok, "table %q does not end", name)
		if *update {
			text = head + begin + want + end + foot
			continue
		}
		require.Equal(t, want, got, "docs/guarantees.md differs from the rules: go test ./harness/target/reference/promise -update writes it anew")
	}
	if *update {
		require.NoError(t, os.WriteFile(guarantees, []byte(text), 0o644))
	}
}

// rulesTable lists the rules.
func rulesTable() string {
	var b strings.Builder
	b.WriteString("| under this condition | is permitted | because | rows |\n|---|---|---|---|\n")
	for _, r := range promise.Rules() {
		var names []string
		for _, c := range r.Permits {
			names = append(names, "`"+string(c)+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.When, strings.Join(names, ", "), r.Reason, r.Rows)
	}
	return b.String()
}

// scenario is a column of the table of faults.
type scenario struct {
	name  string
	facts contract.Facts
}

func scenarios() []scenario {
	wiped := hit("wipe", "n1", true, 10, 20)
	return []scenario{
		{"kill, restart, pause, partition, slow, loss", without("kill", "restart", "pause", "partition", "slow", "loss")},
		{"power:leader", facts(hit("power", "n1", true, 10, 12))},
		{"power:follower", facts(hit("power", "n2", false, 10, 12))},
		{"power:all", facts(hit("power", "n1", true, 10, 12), hit("power", "n2", false, 10, 12), hit("power", "n3", false, 10, 12))},
		{"wipe:leader, safe promote", promoted(facts(wiped), safe)},
		{"wipe:leader, forced promote", promoted(facts(wiped), forced)},
		{"wipe:leader beside power:follower, safe promote", promoted(facts(wiped, hit("power", "n2", false, 11, 13)), safe)},
		{"wipe:majority", facts(wiped, hit("wipe", "n2", false, 10, 20))},
		{"promote:follower, forced", promoted(facts(), forced)},
		{"fsync, full", facts(hit("fsync", "n1", true, 10, 0), hit("full", "n1", true, 20, 0))},
	}
}

// faultsTable says what each configuration of three nodes permits under each fault.
func faultsTable() string {
	var b strings.Builder
	b.WriteString("| fault | async, flush=async | async, flush=sync | sync, copies=2, flush=async | sync, copies=2, flush=leader | sync, copies=2, flush=sync |\n|---|---|---|---|---|---|\n")
	configs := []promise.Config{async("async"), async("sync"), sync(2, "async"), sync(2, "leader"), sync(2, "sync")}
	for _, s := range scenarios() {
		fmt.Fprintf(&b, "| %s |", s.name)
		for _, c := range configs {
			k := after(c, s.facts)
			if strings.HasSuffix(s.name, "safe promote") && c.Replication == promise.Async {
				b.WriteString(" cannot be had |") // with one copy, a safe promote needs the wiped node's answer
				continue
			}
			var names []string
			for _, class := range classes(k) {
				names = append(names, "`"+string(class)+"`")
			}
			if len(names) == 0 {
				names = []string{"**nothing**"}
			}
			fmt.Fprintf(&b, " %s |", strings.Join(names, ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}
