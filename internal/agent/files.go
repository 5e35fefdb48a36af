package agent

import (
	"encoding/json"
	"fmt"
	"path"
)

// maxFiles bounds the encoded files: Linux takes at most 128 KiB for one variable of an environment
// (MAX_ARG_STRLEN), name and all.
const maxFiles = 127 << 10

// EncodeFiles returns the value of FilesEnv that makes run-node write files, by absolute path.
// Together they may have about 95 KB.
func EncodeFiles(files map[string][]byte) (string, error) {
	if err := checkFiles(files); err != nil {
		return "", err
	}
	data, err := json.Marshal(files)
	if err != nil {
		return "", fmt.Errorf("encode the node's files: %w", err)
	}
	if len(data) > maxFiles {
		return "", fmt.Errorf("the node's files take %d bytes when encoded, more than %d: put large ones into the image", len(data), maxFiles)
	}
	return string(data), nil
}

// DecodeFiles is the inverse of EncodeFiles.
func DecodeFiles(encoded string) (map[string][]byte, error) {
	var files map[string][]byte
	if err := json.Unmarshal([]byte(encoded), &files); err != nil {
		return nil, fmt.Errorf("decode the node's files: %w", err)
	}
	if err := checkFiles(files); err != nil {
		return nil, err
	}
	return files, nil
}

func checkFiles(files map[string][]byte) error {
	for name := range files {
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
			return fmt.Errorf("file %q of a node: want an absolute path without detours", name)
		}
	}
	return nil
}
