//go:build unix

package cli

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockData makes sure that no other node uses a data directory: a second one would recover, and so
// truncate, the log that the first is writing. The lock goes with the process.
func lockData(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("data: %s is in use by another process: give each node a directory of its own", dir), f.Close())
	}
	if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOLCK) { // some file systems have no locks
		return nil, errors.Join(fmt.Errorf("data: locking %s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}
