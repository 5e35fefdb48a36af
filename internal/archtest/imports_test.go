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

// layer says what the packages below a folder may import of this module ("x" means x and below,
// "=x" only x). A package may also import what is below its own layer.
type layer struct {
	of   string
	may  []string
	why  string
	libs bool // may import other modules
}

// layers holds every package: the first entry that fits counts, and a package that none fits is an
// error. Arrows go down only.
var layers = []layer{
	{of: "histories/histtest", may: []string{"histories"}, why: "it makes histories for tests", libs: true},
	{of: "histories", may: nil, why: "histories import the standard library only"},

	{of: "checker/contract", may: []string{"=checker", "histories"}, why: "a promise is data about anomalies and events", libs: true},
	{of: "checker/judge", may: []string{"checker", "histories"}, why: "the judge is pure: it knows histories, checkers and contracts", libs: true},
	{of: "checker/internal", may: []string{"=checker", "checker/internal", "histories"}, why: "judges are pure and know only histories", libs: true},
	{of: "checker", may: []string{"=checker", "checker/internal", "histories"}, why: "judges are pure and know only histories", libs: true},
	{of: "report", may: []string{"checker", "histories"}, why: "a report shows what others decided", libs: true},

	{of: "broker", may: []string{"broker", "internal/vfs"}, why: "a broker that knows that it is judged can cheat", libs: true},
	{of: "internal/vfs", may: nil, why: "the disk knows nobody", libs: true},
	{of: "internal/netsim", may: nil, why: "the network knows nobody", libs: true},
	{of: "internal/agent", may: nil, why: "the agent knows only its container", libs: true},
	{of: "internal/osproc", may: nil, why: "it knows the system's processes only", libs: true},
	{of: "internal/owner", may: []string{"internal/osproc"}, why: "it knows processes only", libs: true},
	{of: "internal/program", may: nil, why: "it knows executables only", libs: true},
	{of: "internal/bench", may: []string{"broker"}, why: "it measures the broker, and judges nothing", libs: true},
	{of: "internal/dockertest", may: []string{"internal"}, why: "it helps tests", libs: true},
	{of: "internal/archtest", may: nil, why: "it has tests only", libs: true},

	{of: "=harness", may: []string{"checker", "histories"}, why: "the harness knows neither environment nor system", libs: true},
	{of: "harness/fakecluster", may: []string{"=harness", "histories"}, why: "it fakes a cluster", libs: true},
	{of: "=harness/target", may: []string{"=harness", "checker/contract", "histories", "internal/vfs"}, why: "what a target is depends on no target", libs: true},
	{of: "harness/target/reference/promise", may: []string{"=checker", "checker/contract", "histories"}, why: "a promise imports no code of the system that gave it", libs: true},
	{of: "harness/target", may: []string{"=harness", "=harness/target", "checker/contract", "histories", "broker"}, why: "a target knows no environment", libs: true},
	{of: "harness/cluster", may: []string{"=harness", "=harness/target", "histories", "internal"}, why: "an environment knows no target", libs: true},
	{of: "workloads", may: []string{"=harness", "checker", "histories"}, why: "a workload sees the system through harness interfaces", libs: true},
	{of: "nemesis", may: []string{"=harness", "histories"}, why: "a fault sees the system through harness interfaces", libs: true},

	{of: "experiment", may: []string{"checker", "harness", "histories", "nemesis", "report", "workloads"}, why: "it joins the parts, and no code of a system", libs: true},
	{of: "assaytest", may: []string{"experiment", "checker/judge", "histories"}, why: "it stands on experiment", libs: true},
	{of: "cli", may: []string{"experiment", "report", "checker", "harness", "histories", "nemesis", "broker", "internal"}, why: "the command line stands on experiment", libs: true},
	{of: "cmd", may: []string{"cli", "experiment"}, why: "a binary is one call of cli", libs: true},
	{of: "ci", may: nil, why: "it tests from outside", libs: true},
	{of: "docs", may: []string{"assaytest", "experiment", "harness", "histories", "checker", "nemesis", "workloads", "cli"}, why: "examples use what users may", libs: true},
}

// siblings are folders whose direct subfolders must not import each other.
var siblings = []string{"broker/replication", "workloads", "checker", "harness/target", "harness/cluster"}

// shared are subfolders of siblings that the others may import.
var shared = []string{"checker/contract", "checker/judge"}

func under(pkg, prefix string) bool {
	if exact, ok := strings.CutPrefix(prefix, "="); ok {
		return pkg == exact
	}
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

// list runs go list over packages of the module, and returns its lines, split into words.
func list(t *testing.T, args ...string) [][]string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	require.NoError(t, err)
	var lines [][]string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Fields(line))
	}
	return lines
}

// imports lists the module's packages with what they import, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	m := map[string][]string{}
	for _, f := range list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...") {
		m[strings.TrimPrefix(f[0], module+"/")] = f[1:]
	}
	require.Greater(t, len(m), 15, "go list found too few packages to mean anything")
	return m
}

func violations(pkgs map[string][]string) []string {
	var bad []string
	for pkg, imps := range pkgs {
		i := slices.IndexFunc(layers, func(l layer) bool { return under(pkg, l.of) })
		if i < 0 {
			bad = append(bad, pkg+" is in no layer: say what it may import")
			continue
		}
		for _, imp := range imps {
			if why := layers[i].forbids(pkg, imp); why != "" {
				bad = append(bad, why)
			}
		}
	}
	return bad
}

// forbids says why a package may not import another; empty if it may.
func (l layer) forbids(pkg, imp string) string {
	local, ok := strings.CutPrefix(imp, module+"/")
	if !ok {
		if !l.libs && strings.Contains(strings.Split(imp, "/")[0], ".") {
			return pkg + " imports " + imp + ": " + l.why
		}
		return ""
	}
	if !under(local, l.of) && !slices.ContainsFunc(l.may, func(may string) bool { return under(local, may) }) {
		return pkg + " imports " + local + ": " + l.why
	}
	for _, s := range siblings {
		a, b := child(pkg, s), child(local, s)
		if a != "" && b != "" && a != b && !slices.Contains(shared, b) && !slices.Contains(shared, a) {
			return pkg + " imports its sibling " + local
		}
	}
	return ""
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

// What judges a run has no code of a system or of a cluster in it, however far down.
func TestJudgesAreIndependent(t *testing.T) {
	for _, pkg := range []string{"checker/judge", "report", "harness/target/reference/promise"} {
		for _, dep := range list(t, "-deps", module+"/"+pkg) {
			local, ok := strings.CutPrefix(dep[0], module+"/")
			if !ok {
				continue
			}
			for _, not := range []string{"broker", "=harness", "harness/cluster", "harness/fakecluster", "nemesis", "workloads", "experiment"} {
				require.False(t, under(local, not), "%s needs %s", pkg, local)
			}
		}
	}
}

func TestImportRulesCanFail(t *testing.T) {
	for pkg, imp := range map[string]string{
		"broker/node":                      module + "/harness",
		"histories":                        "github.com/stretchr/testify",
		"histories/histtest":               module + "/checker",
		"checker/order":                    module + "/checker/delivery",
		"checker/judge":                    module + "/harness",
		"checker/contract":                 module + "/checker/judge",
		"checker/internal/logview":         module + "/checker/order",
		"harness":                          module + "/harness/cluster/sim",
		"harness/target":                   module + "/harness/target/reference",
		"harness/target/reference":         module + "/harness/cluster/sim",
		"harness/target/reference/promise": module + "/broker/node",
		"harness/target/kafka":             module + "/harness/target/reference",
		"harness/cluster/sim":              module + "/harness/target/reference",
		"harness/cluster/docker":           module + "/harness/cluster/sim",
		"workloads/log":                    module + "/harness/target",
		"nemesis":                          module + "/checker/contract",
		"report":                           module + "/harness",
		"experiment":                       module + "/broker/node",
		"assaytest":                        module + "/cli",
		"cmd/assay":                        module + "/broker/node",
		"somewhere":                        "fmt",
	} {
		require.Len(t, violations(map[string][]string{pkg: {"fmt", imp}}), 1, "%s imports %s", pkg, imp)
	}
	require.Empty(t, violations(map[string][]string{
		"checker/order": {module + "/checker", module + "/checker/internal/logview"},
		"harness":       {module + "/checker", module + "/histories"},
		"workloads/log": {module + "/checker/judge", module + "/checker/order", module + "/harness"},
		"cmd/assay":     {module + "/cli"},
	}))
}
