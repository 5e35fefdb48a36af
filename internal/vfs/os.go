package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

var (
	_ FS   = (*osFS)(nil)
	_ File = (*osFile)(nil)
)

// osFS is a real directory.
type osFS struct{ dir string }

// OS returns the real directory dir, which it creates with its parents when it is missing. Every directory that it creates
// is made durable by syncing its parent, so that a power loss cannot take away the directory with all synced files in it.
// Subdirectories of dir (lost+found on a fresh volume) are ignored.
func OS(dir string) (FS, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("vfs: directory %s: %w", dir, err)
	}
	if err := makeDir(abs); err != nil {
		return nil, fmt.Errorf("vfs: create directory %s: %w", abs, err)
	}
	return &osFS{dir: abs}, nil
}

func makeDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("exists and is not a directory")}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return err
	}
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (o *osFS) path(op, name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", &fs.PathError{Op: op, Path: name, Err: err}
	}
	return filepath.Join(o.dir, name), nil
}

func (o *osFS) Open(name string, create bool) (File, error) {
	path, err := o.path("open", name)
	if err != nil {
		return nil, err
	}
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

func (o *osFS) Remove(name string) error {
	path, err := o.path("remove", name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func (o *osFS) Rename(oldName, newName string) error {
	from, err := o.path("rename", oldName)
	if err != nil {
		return err
	}
	to, err := o.path("rename", newName)
	if err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (o *osFS) List() ([]string, error) {
	entries, err := os.ReadDir(o.dir) // sorted by name
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (o *osFS) SyncDir() error { return syncDir(o.dir) }

// osFile adds Size to os.File, whose Sync is fsync.
type osFile struct{ *os.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
