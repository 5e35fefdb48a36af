package histories

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// chunk is how much of the file an Appender maps at a time, in bytes: a multiple of every page size.
const chunk = 1 << 20

// Appender is the file of a history that is being recorded. What Write has returned for outlives this process, however that ends; it is not
// synced, so it need not outlive the machine.
//
// Where it can, it writes to a mapping of the file's next chunk, which costs a tenth of a system call per line and outlives a kill just the same: the
// pages are the kernel's. Space is reserved before it is mapped, so a full disk is an error and no fault. Until Close the file therefore ends in up
// to chunk zero bytes, which readers leave out; a killed process leaves them behind. Elsewhere each Write is one write(2).
//
// It is not for concurrent use.
type Appender struct {
	file  *os.File
	end   int64  // bytes written
	mem   []byte // the mapping, nil while there is none
	from  int64  // where mem begins in the file, a multiple of chunk
	plain bool   // no mapping can be had: Write calls write(2)
	// mapAt reserves the chunk of the file at a position and maps it; tests let it fail.
	mapAt func(f *os.File, at int64) ([]byte, error)
}

var _ io.WriteCloser = (*Appender)(nil)

// CreateAppender creates a file that must not exist yet.
func CreateAppender(path string) (*Appender, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("creating the history: %w", err)
	}
	return &Appender{file: f, mapAt: mapChunk}, nil
}

// Write implements io.Writer. The last byte of p, the newline of a line, is stored after all others: a line that has its newline is whole.
func (a *Appender) Write(p []byte) (n int, err error) {
	for n < len(p) && !a.plain {
		if a.end == a.from+int64(len(a.mem)) {
			if err := a.advance(); err != nil {
				return n, err
			}
			continue
		}
		k, err := store(a.mem[a.end-a.from:], p[n:])
		a.end += int64(k)
		n += k
		if err != nil {
			return n, fmt.Errorf("%s: %w", a.file.Name(), err)
		}
	}
	if n == len(p) {
		return n, nil
	}
	k, err := a.file.WriteAt(p[n:], a.end)
	a.end += int64(k)
	return n + k, err
}

// advance maps the next chunk, or gives up mapping: the file then ends where the last byte was written.
func (a *Appender) advance() error {
	if err := a.unmap(); err != nil {
		return err
	}
	mem, err := a.mapAt(a.file, a.end)
	if err == nil {
		a.mem, a.from = mem, a.end
		return nil
	}
	a.plain = true // too little space for a chunk, or a file system that has no such thing
	return a.trim()
}

func (a *Appender) unmap() error {
	if a.mem == nil {
		return nil
	}
	mem := a.mem
	a.mem, a.from = nil, a.end
	if err := unmapChunk(mem); err != nil {
		return fmt.Errorf("unmapping %s: %w", a.file.Name(), err)
	}
	return nil
}

func (a *Appender) trim() error {
	if err := a.file.Truncate(a.end); err != nil {
		return fmt.Errorf("cutting %s to its length: %w", a.file.Name(), err)
	}
	return nil
}

// store copies as much of p as there is room for, its last byte last.
func store(room, p []byte) (n int, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil { // the only fault there can be
			n, err = 0, errors.New("its mapping is gone: somebody cut the file, or its disk failed")
		}
	}()
	n = min(len(room), len(p))
	last := n - 1
	copy(room[:last], p)
	storeLast(&room[last], p[last])
	return n, nil
}

// storeLast is a function of its own so that the compiler does not move the store.
//
//go:noinline
func storeLast(at *byte, b byte) { *at = b }

// Close gives the file its length and closes it.
func (a *Appender) Close() error {
	return errors.Join(a.unmap(), a.trim(), a.file.Close())
}
