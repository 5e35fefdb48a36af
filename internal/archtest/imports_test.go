package archtest

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/assay-project/assay"

// importRule forbids packages under From to import packages under any of Not (module-relative; "x" means x and below, "=x" only x).
type importRule struct {
	from string
	not  []string
	why  string
}

var importRules = []importRule{
	{"broker", []string{"histories", "checker", "harness", "workloads", "nemesis", "report", "cmd"}, "a broker that knows that it is judged can cheat"},
	{"histories", []string{"broker", "checker", "harness", "workloads", "nemesis", "report", "internal", "cmd"}, "histories imports the standard library only"},
	{"checker", []string{"broker", "harness", "workloads", "nemesis", "report", "internal/netsim", "internal/vfs", "cmd"}, "judges are pure and know only histories"},
	{"=harness", []string{"broker", "harness/cluster", "harness/target", "workloads", "nemesis", "report", "cmd"}, "the harness knows neither environment nor system"},
	{"workloads", []string{"broker", "harness/cluster", "harness/target", "nemesis", "report", "cmd"}, "a workload sees the system through harness interfaces"},
	{"nemesis", []string{"broker", "harness/cluster", "harness/target", "workloads", "report", "cmd"}, "a fault sees the system through harness interfaces"},
	{"internal/vfs", []string{"broker", "harness", "checker", "histories"}, "the disk knows nobody"},
	{"internal/netsim", []string{"broker", "harness", "checker", "histories"}, "the network knows nobody"},
}

// brokerUsers are the only packages outside the broker that may import it: where the two sides meet, and a fake for tests.
var brokerUsers = []string{"cmd", "harness/target", "harness/cluster", "internal/kafkafake"}

// siblings are folders whose direct subfolders must not import each other.
var siblings = []string{"broker/replication", "workloads", "checker", "harness/target", "harness/cluster"}

func under(pkg, prefix string) bool {
	if exact, ok := strings.CutPrefix(prefix, "="); ok {
		return pkg == exact
	}
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

// imports lists the module's packages with what they import from the module, and everything else, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").Output()
	require.NoError(t, err)
	m := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		m[strings.TrimPrefix(f[0], module+"/")] = f[1:]
	}
	require.Greater(t, len(m), 15, "go list found too few packages to mean anything")
	return m
}

func violations(pkgs map[string][]string) []string {
	var bad []string
	for pkg, imps := range pkgs {
		for _, imp := range imps {
			local, ok := strings.CutPrefix(imp, module+"/")
			if under(pkg, "histories") && strings.Contains(strings.Split(imp, "/")[0], ".") && !under(local, "histories") {
				bad = append(bad, pkg+" imports "+imp+": histories imports the standard library only")
			}
			if !ok {
				continue
			}
			for _, r := range importRules {
				for _, not := range r.not {
					if under(pkg, r.from) && under(local, not) {
						bad = append(bad, pkg+" imports "+local+": "+r.why)
					}
				}
			}
			if under(local, "broker") && !slices.ContainsFunc(append(brokerUsers, "broker"), func(u string) bool { return under(pkg, u) }) {
				bad = append(bad, pkg+" imports "+local+": the broker is met only in harness/target, harness/cluster and cmd")
			}
			for _, s := range siblings {
				a, b := child(pkg, s), child(local, s)
				if a != "" && b != "" && a != b {
					bad = append(bad, pkg+" imports its sibling "+local)
				}
			}
		}
	}
	return bad
}

func child(pkg, folder string) string {
	rest, ok := strings.CutPrefix(pkg, folder+"/")
	if !ok || under(rest, "internal") { // what siblings share
		return ""
	}
	return path.Join(folder, strings.Split(rest, "/")[0])
}

func TestImportDirections(t *testing.T) {
	require.Empty(t, violations(imports(t)))
}

func TestImportRulesCanFail(t *testing.T) {
	require.Len(t, violations(map[string][]string{
		"broker/node":        {module + "/harness"},
		"histories":          {"fmt", "github.com/stretchr/testify"},
		"checker/order":      {module + "/checker/delivery", module + "/checker"},
		"harness":            {module + "/harness/cluster/sim", module + "/checker"},
		"harness/experiment": {module + "/harness/cluster/sim"},
		"report":             {module + "/broker/node"},
		"cmd/assay":          {module + "/broker/node"},
	}), 5)
}
