package shardlog

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// Command is the first argument of a program that is to be a node; the others are those of Serve.
const Command = "shardlogd"

// startsReally says how a node starts outside the simulation: as a process of this machine, and in
// a container.
func startsReally(s *target.System, at target.Place, sync string) {
	s.Process = func(n harness.NodeID) (target.Process, error) {
		program, err := os.Executable() // Serve is in it
		return target.Process{Program: program, Args: []string{Command, at.Addr(n, portName), "data", sync}}, err
	}
	s.Container = func(harness.NodeID) (target.Container, error) {
		// Without an image it is one with nothing but the running program, as /assay.
		return target.Container{Command: []string{"/assay", Command, ":7000", "/data", sync}, Data: "/data"}, nil
	}
}

// Serve is one node with a real disk and a real network, until SIGTERM.
func Serve(address, dir, sync string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	s, err := start(target.World{
		Addr: func(harness.NodeID, string) string { return address }, FS: disk(dir), Listen: net.Listen, Logger: slog.Default(),
	}, sync != "false")
	if err != nil {
		return err
	}
	<-end
	return s.Stop(context.Background())
}

// disk is a directory.
type disk string

func (d disk) path(name string) string { return filepath.Join(string(d), name) }

// Open implements target.FS.
func (d disk) Open(name string, create bool) (target.File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(d.path(name), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Remove implements target.FS.
func (d disk) Remove(name string) error { return os.Remove(d.path(name)) }

// Rename implements target.FS.
func (d disk) Rename(oldName, newName string) error {
	return os.Rename(d.path(oldName), d.path(newName))
}

// List implements target.FS.
func (d disk) List() ([]string, error) {
	entries, err := fs.ReadDir(os.DirFS(string(d)), ".")
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// SyncDir implements target.FS.
func (d disk) SyncDir() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// diskFile is a file with the size that target.File asks for.
type diskFile struct{ *os.File }

// Size implements target.File.
func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
