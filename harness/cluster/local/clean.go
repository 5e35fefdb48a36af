// What to do about runs that could not clean up themselves. It looks at directories and processes
// only: of a cluster that runs in this process it knows nothing.

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/assay-project/assay/internal/owner"
)

// Clean removes the directories that runs of this machine and user left behind below os.TempDir,
// and those elsewhere that it links to, whose process is certainly gone, after it has killed what
// still runs from them. Kept are those of processes that are alive, or may be, and those that do
// not say whose they are.
func Clean(ctx context.Context) (removed, kept []string, err error) {
	return clean(ctx, func(owner.Owner) bool { return true })
}

// CleanProcess does the same for what one process of this machine left behind, and leaves
// everything else alone. One that is still alive keeps what it has.
func CleanProcess(ctx context.Context, pid int) (removed, kept []string, err error) {
	return clean(ctx, func(o owner.Owner) bool { return o.PID == pid })
}

// clean goes on after errors, and returns them.
func clean(ctx context.Context, mine func(owner.Owner) bool) (removed, kept []string, err error) {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return nil, nil, fmt.Errorf("look for what runs left behind: %w", err)
	}
	me := owner.Self()
	var errs []error
	for _, e := range entries {
		path := filepath.Join(os.TempDir(), e.Name())
		if !strings.HasPrefix(e.Name(), prefix) || !isMine(path) {
			continue
		}
		h, o, ok := readHome(path)
		switch {
		case !ok && h.link != "" && isGone(h.root): // somebody removed the directory himself
			errs = append(errs, os.Remove(h.link))
		case !ok && mine(owner.Owner{}):
			kept = append(kept, path)
		case !ok || !mine(o):
		case o.Fate(me) != owner.Dead:
			kept = append(kept, h.root)
		default:
			if err := errors.Join(h.sweep(ctx), h.remove()); err != nil {
				errs = append(errs, err)
				continue
			}
			removed = append(removed, h.root)
		}
	}
	return removed, kept, errors.Join(errs...)
}

// isMine says whether a file belongs to the user of this process. Everybody may write into a
// directory of temporary files, so what others put there counts for nothing.
func isMine(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && ownedByMe(info)
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// readHome reads what a home says of itself; not ok: it does not say whose it is. path is the home,
// or a link to it.
func readHome(path string) (h *home, o owner.Owner, ok bool) {
	h = &home{root: path, made: true}
	if to, err := os.Readlink(path); err == nil {
		h.root, h.link = to, path
	}
	marked := filepath.Join(h.root, ownerFile)
	text, err := os.ReadFile(marked)
	if err != nil || !isMine(marked) {
		return h, o, false
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	o, err = owner.Parse(first)
	h.mark = strings.TrimSpace(rest)
	return h, o, err == nil && h.mark != ""
}
