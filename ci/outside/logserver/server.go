// Package logserver is somebody else's system: a small log server over TCP, written without any
// thought of assay. It keeps the logs of several partitions in one file, and syncs that file before
// it answers. There is no replication.
//
// The protocol is one line for a question and one for the answer:
//
//	append PART VALUE    ok OFFSET
//	cas PART OLD NEW     ok OFFSET | no      appends NEW if the last value is OLD (0 in an empty log)
//	read PART FROM       ok END VALUE ...    what is at FROM and after it
//
// With Bug set it answers an append before it has written it, as if that were faster: a crash loses
// what was acknowledged.
package logserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// File is where a server keeps its logs: an open file, or part of a simulated disk.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
	Close() error
}

// bugDelay is how much later than its answer the server with the bug writes.
const bugDelay = 500 * time.Millisecond

// Server is a running server.
type Server struct {
	file   File
	bug    bool
	listen net.Listener
	failed chan struct{} // closed after a failed write
	done   sync.WaitGroup

	turn  chan struct{} // a lock of size 1: it is held while a write waits for the disk
	logs  map[int][]int64
	size  int64 // of the file
	late  []int // partitions of what was answered and not yet written, with the values
	lates []int64
	conns map[net.Conn]bool
	why   error
}

// Start recovers the logs from a file and serves on l until Stop.
func Start(file File, l net.Listener, bug bool) (*Server, error) {
	s := &Server{
		file: file, bug: bug, listen: l, failed: make(chan struct{}), turn: make(chan struct{}, 1),
		logs: make(map[int][]int64), conns: make(map[net.Conn]bool),
	}
	if err := s.recover(); err != nil {
		return nil, err
	}
	s.done.Go(s.accept)
	return s, nil
}

// recover reads whole lines "PART VALUE"; what follows the last one is a torn write.
func (s *Server) recover() error {
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	in := bufio.NewReader(io.NewSectionReader(s.file, 0, size))
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return s.file.Truncate(s.size)
		}
		if err != nil {
			return err
		}
		var part int
		var value int64
		if _, err := fmt.Sscanf(line, "%d %d\n", &part, &value); err != nil {
			return fmt.Errorf("the log is damaged at byte %d: %w", s.size, err)
		}
		s.logs[part] = append(s.logs[part], value)
		s.size += int64(len(line))
	}
}

// Failed is closed when the server can write no more; Failure says why.
func (s *Server) Failed() <-chan struct{} { return s.failed }

// Failure is the error that ended the server's writing.
func (s *Server) Failure() string { return fmt.Sprint(s.why) }

// Stop ends the server and closes its file.
func (s *Server) Stop() error {
	err := s.listen.Close()
	s.turn <- struct{}{}
	for c := range s.conns {
		_ = c.Close()
	}
	<-s.turn
	s.done.Wait()
	s.turn <- struct{}{} // the timer of the bug may be about to write, too
	defer func() { <-s.turn }()
	return errors.Join(err, s.writeLate(), s.file.Close())
}

func (s *Server) accept() {
	for {
		c, err := s.listen.Accept()
		if err != nil {
			return
		}
		s.turn <- struct{}{}
		s.conns[c] = true
		<-s.turn
		s.done.Go(func() { s.serve(c) })
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.turn <- struct{}{}
		delete(s.conns, c)
		<-s.turn
	}()
	for in := bufio.NewScanner(c); in.Scan(); {
		answer, err := s.answer(strings.Fields(in.Text()))
		if err != nil {
			answer = "error " + err.Error()
		}
		if _, err := io.WriteString(c, answer+"\n"); err != nil {
			return
		}
	}
}

// answer carries out one question.
func (s *Server) answer(words []string) (string, error) {
	numbers := make([]int64, 0, 3)
	for _, w := range words[min(1, len(words)):] {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return "", err
		}
		numbers = append(numbers, n)
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	switch {
	case len(words) == 3 && words[0] == "append":
		return s.append(int(numbers[0]), numbers[1])
	case len(words) == 4 && words[0] == "cas":
		log, last := s.logs[int(numbers[0])], int64(0)
		if len(log) > 0 {
			last = log[len(log)-1]
		}
		if last != numbers[1] {
			return "no", nil
		}
		return s.append(int(numbers[0]), numbers[2])
	case len(words) == 3 && words[0] == "read":
		return s.read(int(numbers[0]), numbers[1])
	}
	return "", fmt.Errorf("cannot understand %q", words)
}

func (s *Server) append(part int, value int64) (string, error) {
	if s.bug {
		s.late, s.lates = append(s.late, part), append(s.lates, value)
		if len(s.late) == 1 {
			time.AfterFunc(bugDelay, func() {
				s.turn <- struct{}{}
				defer func() { <-s.turn }()
				_ = s.writeLate()
			})
		}
	} else if err := s.write(fmt.Sprintf("%d %d\n", part, value)); err != nil {
		return "", err
	}
	s.logs[part] = append(s.logs[part], value)
	return fmt.Sprintf("ok %d", len(s.logs[part])-1), nil
}

// writeLate writes what the bug has put off.
func (s *Server) writeLate() error {
	var lines strings.Builder
	for i, part := range s.late {
		fmt.Fprintf(&lines, "%d %d\n", part, s.lates[i])
	}
	s.late, s.lates = nil, nil
	if lines.Len() == 0 {
		return nil
	}
	return s.write(lines.String())
}

// write appends to the file and syncs it. After an error nothing is written any more.
func (s *Server) write(lines string) error {
	if s.why != nil {
		return s.why
	}
	_, err := s.file.WriteAt([]byte(lines), s.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.why = err
		close(s.failed)
		return err
	}
	s.size += int64(len(lines))
	return nil
}

func (s *Server) read(part int, from int64) (string, error) {
	log := s.logs[part]
	if from < 0 {
		return "", fmt.Errorf("no offset %d", from)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ok %d", len(log))
	for _, v := range log[min(from, int64(len(log))):] {
		fmt.Fprintf(&b, " %d", v)
	}
	return b.String(), nil
}
