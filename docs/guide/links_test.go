package guide

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// broken lists the links of a page, which stands in a folder, to files that are not there.
func broken(page, folder string) []string {
	text := regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`").ReplaceAllString(page, "") // no code
	var bad []string
	for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
		to, _, _ := strings.Cut(m[1], "#")
		if to == "" || strings.Contains(to, "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(to))); err != nil {
			bad = append(bad, m[1])
		}
	}
	return bad
}

func TestLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	var files []string
	for _, folder := range []string{root, filepath.Join(root, "docs")} {
		found, err := filepath.Glob(filepath.Join(folder, "*.md"))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.Greater(t, len(files), 12)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Empty(t, broken(string(b), filepath.Dir(file)), file)
	}
	require.Equal(t, []string{"gone.md#x"}, broken("[a](gone.md#x), [b](https://example.com), [c](links_test.go), [d](#e)", "."), "it can fail")
}
