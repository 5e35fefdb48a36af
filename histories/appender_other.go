//go:build !linux

package histories

import (
	"errors"
	"os"
)

func mapChunk(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapChunk([]byte) error { return nil }
