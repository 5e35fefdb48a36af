package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIsRunNode: the agent waits for its own command only, whatever words a node's command has.
func TestIsRunNode(t *testing.T) {
	for args, want := range map[string]bool{
		"/assay agent run-node -- /assay node --config f": true,
		"/assay agent run-node -- true":                   true,
		"/assay agent run-node ":                          true,
		"/assay node --config run-node":                   false,
		"/bin/agent run-node agent run-node":              false,
		"/usr/bin/java -jar agent run-node":               false,
		"/assay agent delay":                              false,
		"/assay":                                          false,
		"":                                                false, // a kernel thread, or a process that has ended
	} {
		require.Equal(t, want, isRunNode([]byte(strings.ReplaceAll(args, " ", "\x00")+"\x00")), "%q", args)
	}
	require.False(t, isRunNode(nil))
}

func TestWriteFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "node.yaml")
	for _, content := range []string{"long content", "short"} { // the second start finds what the first one wrote
		encoded, err := EncodeFiles(map[string][]byte{path: []byte(content)})
		require.NoError(t, err)
		t.Setenv(FilesEnv, encoded)
		require.NoError(t, writeFiles())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(got))
		_, left := os.LookupEnv(FilesEnv)
		require.False(t, left, "the node does not inherit it")
	}
	require.NoError(t, writeFiles(), "a node without files")
	t.Setenv(FilesEnv, `{"relative":""}`)
	require.ErrorContains(t, writeFiles(), "want an absolute path")
}

func TestRunNodeOfNoSuchCommand(t *testing.T) {
	t.Setenv(ContainerEnv, "1")
	var out, errs bytes.Buffer
	require.Equal(t, 1, Main([]string{CmdRunNode, "--", "no-such-command", "x"}, strings.NewReader(""), &out, &errs))
	require.Contains(t, errs.String(), `start the node ["no-such-command" "x"]`)
}
