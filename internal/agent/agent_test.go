package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMainOutsideAContainer(t *testing.T) {
	t.Setenv(ContainerEnv, "")
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 2, "usage"},
		{[]string{CmdApply, "surplus"}, 2, "usage"},
		{[]string{CmdApply, "--nonsense"}, 2, "usage"},
		{[]string{CmdApply}, 1, "refusing"},
		{[]string{CmdClear}, 1, "refusing"},
		{[]string{CmdRunNode}, 2, "usage"},
		{[]string{CmdRunNode, "--"}, 2, "usage"},
		{[]string{CmdRunNode, "--config", "x", "--", "true"}, 2, "usage"},
		{[]string{CmdRunNode, "--", "true", "--rules"}, 1, "refusing"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, tc.code, Main(tc.args, strings.NewReader("{}"), &out, &errs), "%q", tc.args)
		require.Contains(t, errs.String(), tc.says)
		require.Empty(t, out.String())
	}
}

func TestUnknownCommand(t *testing.T) {
	t.Setenv(ContainerEnv, "1")
	var out, errs bytes.Buffer
	require.Equal(t, 2, Main([]string{"dance"}, strings.NewReader(""), &out, &errs))
	require.Equal(t, 1, Main([]string{CmdApply}, strings.NewReader("not JSON"), &out, &errs))
	require.Contains(t, errs.String(), "decode the rules")
}

func TestFilesSurviveEncoding(t *testing.T) {
	files := map[string][]byte{"/etc/node.yaml": []byte("a: 1\n"), "/data/binary": {0, 0xff, '"', '\\', '\n'}, "/empty": {}}
	encoded, err := EncodeFiles(files)
	require.NoError(t, err)
	got, err := DecodeFiles(encoded)
	require.NoError(t, err)
	require.Equal(t, files, got)
}

func TestFilesRefused(t *testing.T) {
	for _, name := range []string{"", "node.yaml", "/", "/etc/../node.yaml", "/etc/", "//x", "../x"} {
		_, err := EncodeFiles(map[string][]byte{name: nil})
		require.ErrorContains(t, err, "want an absolute path", "%q", name)
		_, err = DecodeFiles(`{"` + name + `":""}`)
		require.ErrorContains(t, err, "want an absolute path", "%q", name)
	}
	_, err := EncodeFiles(map[string][]byte{"/a": make([]byte, 90_000)})
	require.NoError(t, err)
	_, err = EncodeFiles(map[string][]byte{"/a": make([]byte, 100_000)})
	require.ErrorContains(t, err, "put large ones into the image")
	for _, bad := range []string{``, `[]`, `{"/a":1}`, `{"/a":"not base64"}`, `{"/a":""} x`} {
		_, err := DecodeFiles(bad)
		require.Error(t, err, "%q", bad)
	}
}

// FuzzDecodeFiles: whatever is decoded has absolute paths only, and its encoding decodes to the
// same.
func FuzzDecodeFiles(f *testing.F) {
	f.Add(`{"/etc/node.yaml":"YTogMQo="}`)
	f.Add(`{"../x":""}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, encoded string) {
		files, err := DecodeFiles(encoded)
		if err != nil || len(encoded) > maxFiles/2 {
			return
		}
		for name := range files {
			require.True(t, strings.HasPrefix(name, "/"), "%q", name)
		}
		again, err := EncodeFiles(files)
		require.NoError(t, err)
		got, err := DecodeFiles(again)
		require.NoError(t, err)
		require.Equal(t, files, got)
	})
}
