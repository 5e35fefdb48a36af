package archtest

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/architecture.md anew")

var architectureFile = filepath.Join("..", "..", "docs", "architecture.md")

// architecture is the page that says where things are.
func architecture(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(architectureFile)
	require.NoError(t, err)
	return string(b)
}

// pattern writes a folder as the go command does: "=x" is x alone, "x" is x and all below.
func pattern(prefix string) string {
	if exact, ok := strings.CutPrefix(prefix, "="); ok {
		return "`" + exact + "`"
	}
	return "`" + prefix + "/...`"
}

// table is layers for people.
func table() string {
	var b strings.Builder
	b.WriteString("| package | may import | because |\n|---|---|---|\n")
	for _, l := range layers {
		may := make([]string, len(l.may))
		for i, m := range l.may {
			may[i] = pattern(m)
		}
		if len(may) == 0 {
			may = []string{"nothing of this module"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", pattern(l.of), strings.Join(may, ", "), l.why)
	}
	return b.String()
}

func TestPageHasTheImportRules(t *testing.T) {
	const begin, end = "<!-- layers: begin -->\n", "<!-- layers: end -->"
	head, rest, ok := strings.Cut(architecture(t), begin)
	require.True(t, ok)
	got, foot, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(architectureFile, []byte(head+begin+table()+end+foot), 0o644))
		return
	}
	require.Equal(t, table(), got, "docs/architecture.md differs from the rules: go test ./internal/archtest -update writes it anew")
}

// unnamed lists the packages that a page does not have as the first word of a line.
func unnamed(page string, pkgs []string) []string {
	var bad []string
	for _, pkg := range pkgs {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(pkg) + `\s`).MatchString(page) {
			bad = append(bad, pkg)
		}
	}
	return bad
}

func TestPageNamesEveryPackage(t *testing.T) {
	var pkgs []string
	for pkg := range imports(t) {
		pkgs = append(pkgs, pkg)
	}
	page := architecture(t)
	require.Empty(t, unnamed(page, pkgs))
	require.Equal(t, []string{"checker/taste"}, unnamed(page, []string{"checker/taste", "checker/order"}), "it can fail")
}

// goFiles are the Go files of the module, by their path and by their name alone.
func goFiles(t *testing.T) map[string]bool {
	t.Helper()
	root := filepath.Join("..", "..")
	all := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".go" {
			return err
		}
		rel, err := filepath.Rel(root, p)
		all[filepath.ToSlash(rel)], all[filepath.Base(p)] = true, true
		return err
	}))
	return all
}

// absent lists the Go files that a page names and that are nowhere. A page may name a file without
// its folder.
func absent(page string, files map[string]bool) []string {
	var bad []string
	for _, m := range regexp.MustCompile("`([a-z0-9_/]+\\.go)`").FindAllStringSubmatch(page, -1) {
		if !files[m[1]] {
			bad = append(bad, m[1])
		}
	}
	return bad
}

func TestPageNamesFilesThatExist(t *testing.T) {
	files := goFiles(t)
	require.Empty(t, absent(architecture(t), files))
	require.Equal(t, []string{"harness/gone.go", "gone.go"}, absent("`harness/gone.go`, `gone.go`, `harness/run.go`, `leader.go`", files), "it can fail")
}
