package docker

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// follower copies what a node prints into a file. The zero follower is ready to use.
type follower struct {
	copies sync.WaitGroup
	mu     sync.Mutex // orders follow before wait
	closed bool
}

// follow appends to <dir>/<node>.log what the container prints from since on, until it stops.
func (f *follower) follow(e *engine, n *node, dir string, since time.Time, logger *slog.Logger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.copies.Go(func() {
		if err := copyLog(e, n.name, filepath.Join(dir, string(n.id)+".log"), since); err != nil {
			logger.Warn("a node's log is incomplete", "node", n.id, "err", err)
		}
	})
}

// wait returns when everything printed by containers that have stopped is in the files, or ctx is done.
func (f *follower) wait(ctx context.Context) {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		f.copies.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func copyLog(e *engine, container, path string, since time.Time) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	// It ends with the container; a context would only cut off its last lines.
	stream, err := e.api.ContainerLogs(context.Background(), container, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: true, Since: unixNano(since),
	})
	if err == nil {
		_, err = stdcopy.StdCopy(file, file, stream)
		_ = stream.Close()
	}
	return errors.Join(gone(err), file.Close())
}

// unixNano is a time in the engine's spelling: seconds, a dot, nanoseconds.
func unixNano(t time.Time) string {
	nano := strconv.Itoa(t.Nanosecond())
	return strconv.FormatInt(t.Unix(), 10) + "." + "000000000"[len(nano):] + nano
}

// sizeOfTar sums up the regular files of an archive.
func sizeOfTar(r io.Reader) (int64, error) {
	var size int64
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		if header.Typeflag == tar.TypeReg {
			size += header.Size
		}
	}
}
