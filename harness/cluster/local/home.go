// The directory of a run, and how it is known whose it is. What nodes write into it is theirs.

package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/assay-project/assay/internal/osproc"
	"github.com/assay-project/assay/internal/owner"
)

const (
	// prefix begins the name of every home below os.TempDir, or of the link to one that lies
	// elsewhere.
	prefix = "assay-local-"
	// ownerFile says, in a home, which process must remove it: the owner in a line of its own, then
	// the home's mark.
	ownerFile = ".assay-owner"
	// logsDir holds the nodes' logs when nobody wants to keep them.
	logsDir = ".logs"
	// markVar is the variable in the environment of whatever runs from a home. Its value is the
	// home's mark.
	markVar = "ASSAY_LOCAL_HOME"
	// varPrefix begins the names of assay's own variables, which mean this process and not what it
	// starts.
	varPrefix = "ASSAY_"
)

// home is the directory with the nodes' directories in it.
type home struct {
	root string
	link string // to root, where Clean looks; "": root is there itself
	mark string // unique
	made bool   // root and link are this cluster's to remove; belongs to Start, and to Stop after it
}

func newHome(dir, runID string) (*home, error) {
	if err := checkName("run ID", runID); err != nil {
		return nil, err
	}
	h := &home{root: filepath.Join(os.TempDir(), prefix+runID), mark: runID + "-" + rand.Text()}
	if dir == "" {
		return h, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the nodes: %w", err)
	}
	if abs != h.root {
		h.root, h.link = abs, h.root
	}
	return h, nil
}

// make makes the directory and says in it whose it is.
func (h *home) make() error {
	if err := os.MkdirAll(h.root, 0o700); err != nil {
		return fmt.Errorf("make the directory of the nodes: %w", err)
	}
	inside, err := os.ReadDir(h.root)
	if err != nil {
		return fmt.Errorf("make the directory of the nodes: %w", err)
	}
	if len(inside) > 0 {
		return fmt.Errorf("the directory of the nodes %s must be empty, and has %q in it "+
			"(assay clean removes those of runs that are over)", h.root, inside[0].Name())
	}
	// Of two that find it empty, one fails here.
	f, err := os.OpenFile(filepath.Join(h.root, ownerFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		_ = os.Remove(h.root) // only if it is empty
		return fmt.Errorf("mark the directory of the nodes: %w", err)
	}
	h.made = true
	_, err = fmt.Fprintf(f, "%s\n%s\n", owner.Self(), h.mark)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("mark the directory of the nodes: %w", err)
	}
	if h.link == "" {
		return nil
	}
	if err := os.Symlink(h.root, h.link); err != nil {
		return fmt.Errorf("link the directory of the nodes, so that assay clean finds it: %w", err)
	}
	return nil
}

func (h *home) logs() string { return filepath.Join(h.root, logsDir) }

// remove removes what make made. It may be called again. What says whose the home is goes last, so
// that Clean can go on where a removal broke off.
func (h *home) remove() error {
	if !h.made {
		return nil
	}
	inside, err := os.ReadDir(h.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the nodes' directories: %w", err)
	}
	for _, e := range inside {
		if e.Name() == ownerFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(h.root, e.Name())); err != nil {
			return fmt.Errorf("remove the nodes' directories: %w", err)
		}
	}
	if err := os.RemoveAll(h.root); err != nil {
		return fmt.Errorf("remove the nodes' directories: %w", err)
	}
	if h.link != "" && pointsTo(h.link, h.root) {
		if err := os.Remove(h.link); err != nil {
			return fmt.Errorf("remove the link to the nodes' directories: %w", err)
		}
	}
	h.made = false
	return nil
}

// pointsTo says whether a path is a link to another: of two runs with one ID, the second could make
// none.
func pointsTo(link, path string) bool {
	to, err := os.Readlink(link)
	return err == nil && to == path
}

// sweep kills whatever else runs from the home: processes that a node started and that left its
// group.
func (h *home) sweep(ctx context.Context) error {
	if !h.made {
		return nil
	}
	return sweep(ctx, h.mark)
}

// environment is what a node finds in its environment, beside what its target adds.
func (h *home) environment() []string {
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, varPrefix) {
			env = append(env, setting)
		}
	}
	return append(env, markVar+"="+h.mark)
}

// sweep kills every process with the mark in its environment, and returns when all are gone. Where
// environments cannot be read it does nothing.
func sweep(ctx context.Context, mark string) error {
	setting := markVar + "=" + mark
	for {
		pids, err := osproc.WithEnv(setting)
		if errors.Is(err, errors.ErrUnsupported) || err == nil && len(pids) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		for _, pid := range pids {
			p, err := os.FindProcess(pid) // holds the process, so that another one with its number is not killed
			if err == nil && osproc.HasEnv(pid, setting) {
				_ = p.Kill() // an error: it is gone, or the next round finds it again
			}
		}
		select {
		case <-time.After(pollTime):
		case <-ctx.Done():
			return fmt.Errorf("processes %v of the nodes do not end: %w", pids, ctx.Err())
		}
	}
}

// sizeOf sums up the files below a directory, those left out whose path in it is a key of except.
func sizeOf(dir string, except map[string][]byte) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if _, ok := except[filepath.ToSlash(name)]; ok {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		size += info.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return size, nil
}
