package guide

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pages are those whose code is compiled, and run, below this folder.
var pages = [...]string{"new-target.md", "new-workload.md", "new-fault.md", "new-checker.md"}

// lines are those of a text without their indentation, and without empty ones at its ends.
func lines(text string) []string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// blocks returns the Go code of a page.
func blocks(page string) [][]string {
	var all [][]string
	for _, m := range regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		all = append(all, lines(m[1]))
	}
	return all
}

// contains reports whether a file has a block, line for line.
func contains(file, block []string) bool {
	for i := range file {
		if len(file)-i >= len(block) && slices.Equal(file[i:i+len(block)], block) {
			return true
		}
	}
	return false
}

// missing says what is wrong with the code of a page, given the files that are compiled.
func missing(page string, files [][]string) []string {
	code := blocks(page)
	if len(code) == 0 {
		return []string{"it has no code"}
	}
	var bad []string
	for _, block := range code {
		if !slices.ContainsFunc(files, func(file []string) bool { return contains(file, block) }) {
			bad = append(bad, fmt.Sprintf("no file below docs/guide has the block that begins with %q", block[0]))
		}
	}
	return bad
}

func TestPagesShowCodeThatRuns(t *testing.T) {
	var files [][]string
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || filepath.Dir(path) == "." {
			return err
		}
		b, err := os.ReadFile(path)
		files = append(files, lines(string(b)))
		return err
	})
	require.NoError(t, err)
	require.Greater(t, len(files), 8)
	for _, name := range pages {
		b, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		require.Empty(t, missing(string(b), files), name)
		require.LessOrEqual(t, strings.Count(string(b), "\n"), 150, "%s is to be one page", name)
	}
}

func TestPageTestCanFail(t *testing.T) {
	file := [][]string{lines("package p\n\nfunc f() {\n\tg()\n\th()\n}\n")}
	page := func(code string) string { return "# A page\n\n```go\n" + code + "\n```\n\nText.\n" }
	require.Empty(t, missing(page("func f() {\n\tg()"), file))
	require.Empty(t, missing(page("\t\tg()\n\t\th()"), file), "indentation does not matter")
	require.Len(t, missing(page("func f() {\n\th()"), file), 1, "a line is left out")
	require.Len(t, missing(page("\tg()\n\ti()"), file), 1, "a line is another")
	require.Len(t, missing("# A page\n\n```\ng()\n```\n", file), 1, "no code")
	require.Len(t, missing(page("\tg()")+page("\ti()"), file), 1, "each block counts")
}
