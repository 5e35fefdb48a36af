// Package vfs is the file system a broker node uses: flat, small, and replaceable by one that can be broken.
//
// It holds the interfaces, the real implementation (OS) and the simulated disk (Disk), which keeps the unsynced writes and
// directory entries of every file apart so that a power loss can drop any subset of them.
package vfs

import (
	"errors"
	"strings"
)

// FS is one node's directory. Names are flat (no separators). Every method may be called from several goroutines.
//
// Durability follows POSIX: data is durable after File.Sync, a created, renamed or removed name after SyncDir.
type FS interface {
	// Open opens name for reading and writing; with create it makes an empty file when there is none.
	// Without create a missing file is an error that matches fs.ErrNotExist.
	Open(name string, create bool) (File, error)
	// Remove deletes name; a missing file is fs.ErrNotExist.
	Remove(name string) error
	// Rename replaces newName by oldName atomically.
	Rename(oldName, newName string) error
	// List returns the names in lexical order.
	List() ([]string, error)
	// SyncDir makes all earlier creations, renames and removals durable.
	SyncDir() error
}

// File is an open file. ReadAt and WriteAt may be called concurrently; the caller keeps concurrent writes disjoint.
type File interface { //nolint:interfacebloat // what a log does with a file, and no file can leave one of them out
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Truncate sets the length; durable after Sync.
	Truncate(size int64) error
	// Sync makes everything written so far durable, or says that it could not. After an error nothing about the
	// unsynced data may be assumed, and a later Sync that succeeds does not make up for it.
	Sync() error
	Size() (int64, error)
	Close() error
}

var (
	// ErrName is returned when a file name is empty, too long, "." or "..", or holds a separator or a zero byte.
	ErrName = errors.New("vfs: not a flat file name")
	// ErrNoSpace is returned by WriteAt when the disk is full.
	ErrNoSpace = errors.New("vfs: no space left on device")
	// ErrSync is returned by Sync and SyncDir when the simulated disk was told to fail them.
	ErrSync = errors.New("vfs: input/output error on sync")
)

// maxName is the longest file name in bytes, the limit of the common Unix file systems.
const maxName = 255

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxName || strings.ContainsAny(name, "/\\\x00") {
		return ErrName
	}
	return nil
}
