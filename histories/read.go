package histories

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync"
)

// maxLine bounds one line, in bytes, so that a file that is no history cannot take all memory.
const maxLine = 16 << 20

// LineError is an error at one line of a history file.
type LineError struct {
	Line int64 // from 1
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// Warnings is what a reader left out and can live with.
type Warnings struct {
	// TornLine is the number, from 1, of a last line without newline, 0 when there is none. A killed harness may leave one
	// behind; the line is dropped, and the operation that it would have completed stays open. Zero bytes at the end do not count.
	TornLine int64
	// TornBytes is the length of that line.
	TornBytes int
}

// Any reports whether there is a warning.
func (w Warnings) Any() bool { return w.TornLine != 0 }

// String says what was left out; empty when nothing was.
func (w Warnings) String() string {
	if !w.Any() {
		return ""
	}
	return fmt.Sprintf("line %d has no newline: %d bytes of an unfinished write are left out", w.TornLine, w.TornBytes)
}

// scanner reads ops line by line.
type scanner struct {
	r        *bufio.Reader
	long     []byte // a line that is longer than r's buffer
	line     int64  // of the line read last, from 1
	bytes    int64  // read so far, in whole lines
	dec      decoder
	warnings Warnings
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, 1<<16)}
}

// next decodes the next op into *op. It returns io.EOF at the end.
func (s *scanner) next(op *Op) error {
	line, err := s.readLine()
	if errors.Is(err, io.EOF) {
		// Zeros are the room that a killed Appender had made.
		if line = bytes.TrimRight(line, "\x00"); len(line) > 0 {
			s.warnings = Warnings{TornLine: s.line + 1, TornBytes: len(line)}
		}
		return io.EOF
	}
	s.line++
	s.bytes += int64(len(line))
	if err == nil {
		err = s.dec.decode(line, op)
	}
	if err != nil {
		return &LineError{Line: s.line, Err: err}
	}
	return nil
}

// readLine returns the next line with its newline; at the end of the file io.EOF with what is there without one.
func (s *scanner) readLine() ([]byte, error) {
	line, err := s.r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	s.long = s.long[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		s.long = append(s.long, line...)
		if len(s.long) > maxLine {
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		}
		line, err = s.r.ReadSlice('\n')
	}
	s.long = append(s.long, line...)
	return s.long, err
}

// Read reads and validates a history. An error is a *LineError where one line is at fault; a last line without newline
// is only a warning.
func Read(r io.Reader) (History, Warnings, error) { return read(r, 0) }

// sizeAfter is after how many ops the rest of a history is estimated.
const sizeAfter = 1024

// read is Read of about size bytes, 0 if unknown: allocating once saves the copies of growing, which cost more than decoding.
func read(r io.Reader, size int64) (History, Warnings, error) {
	var (
		h History
		v Validator
		s = newScanner(r)
	)
	for {
		if len(h) == sizeAfter && s.bytes > 0 {
			h = slices.Grow(h, int(max(0, size-s.bytes)*sizeAfter/s.bytes*21/20))
		}
		h = append(h, Op{})
		op := &h[len(h)-1]
		err := s.next(op)
		if errors.Is(err, io.EOF) {
			return h[:len(h)-1], s.warnings, nil
		}
		if err == nil {
			if err = v.Add(op); err != nil {
				err = &LineError{Line: s.line, Err: err}
			}
		}
		if err != nil {
			return nil, s.warnings, err
		}
	}
}

// ReadFile is Read on a file. Its errors name the file.
func ReadFile(path string) (History, Warnings, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Warnings{}, fmt.Errorf("reading a history: %w", err)
	}
	defer f.Close()
	size := int64(0)
	if info, err := f.Stat(); err == nil { // only a hint
		size = info.Size()
	}
	h, w, err := read(f, size)
	if err != nil {
		return nil, w, fmt.Errorf("reading the history %s: %w", path, err)
	}
	return h, w, nil
}

// File is a history on disk, for those that do not fit in memory. Every iteration reads the file again, and reuses one Op.
type File struct {
	path     string
	ops      int64
	warnings Warnings

	mu  sync.Mutex // guards err, which several iterations may set; never held while reading
	err error
}

var _ Reader = (*File)(nil)

// OpenFile reads and validates the whole file once; errors are those of ReadFile. The file may grow afterwards, which is not seen.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	var v Validator
	err := f.scan(-1, func(op *Op, line int64) error {
		if err := v.Add(op); err != nil {
			return &LineError{Line: line, Err: err}
		}
		f.ops++
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Warnings returns what OpenFile left out.
func (f *File) Warnings() Warnings { return f.warnings }

// Len returns the number of ops.
func (f *File) Len() int64 { return f.ops }

// Err returns the first error that cut an iteration short: the file was readable and valid when it was opened, so it has
// been changed or its disk fails. Who judges a File asks for it at the end.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Ops implements Reader. The op is overwritten by the next one.
func (f *File) Ops() iter.Seq[*Op] {
	return func(yield func(*Op) bool) {
		errStop := errors.New("stop")
		err := f.scan(f.ops, func(op *Op, _ int64) error {
			if !yield(op) {
				return errStop
			}
			return nil
		})
		if err == nil || errors.Is(err, errStop) {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err == nil {
			f.err = err
		}
	}
}

// scan calls do for the first n ops (all with n < 0) until it returns an error.
func (f *File) scan(n int64, do func(op *Op, line int64) error) error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("reading a history: %w", err)
	}
	defer file.Close()
	var (
		op Op
		s  = newScanner(file)
	)
	for i := int64(0); n < 0 || i < n; i++ {
		err := s.next(&op)
		if errors.Is(err, io.EOF) && n < 0 {
			f.warnings = s.warnings
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the file ends after %d of %d ops", i, n)
		}
		if err == nil {
			err = do(&op, s.line)
		}
		if err != nil {
			return fmt.Errorf("reading the history %s: %w", f.path, err)
		}
	}
	return nil
}
