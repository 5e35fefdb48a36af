// Package shardlog is the example of docs/new-target.md: a small log server, and the target that
// makes it one that assay can test.
//
// A cluster of it has one copy of everything: partition p lives on node p mod n, in a file of that
// node. server.go is the system, and knows nothing of assay but the world that a simulated node
// lives in; client.go and target.go are what one writes to test it.
package shardlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"sync"

	"github.com/assay-project/assay/harness/target"
)

// recordSize is the size of a message in a file: its value, and the complement of the value, by
// which a torn record is known.
const recordSize = 16

// request is what a client asks: one line of JSON.
type request struct {
	Do    string // append, read
	Part  int32
	Value int64 // append
	From  int64 // read: the first offset
}

// reply is the answer: one line of JSON.
type reply struct {
	Offset int64   // append
	Values []int64 // read: from the offset that was asked for to the end
	Err    string  // nothing is known of what was asked
}

// server is one node.
type server struct {
	fs       target.FS
	sync     bool // an append waits for the disk
	listener net.Listener
	end      context.CancelFunc
	running  sync.WaitGroup
	// turn is a lock of size 1 over files. It is held while the disk works, and a mutex that is
	// held across a wait stops virtual time.
	turn  chan struct{}
	files map[int32]*file
}

// file is a partition.
type file struct {
	target.File
	records int64
}

// start starts a node.
func start(w target.World, sync bool) (*server, error) {
	listener, err := w.Listen("tcp", w.Addr(w.Node, portName))
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	s := &server{fs: w.FS, sync: sync, listener: listener, end: end, turn: make(chan struct{}, 1), files: make(map[int32]*file)}
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() { s.serve(ctx, conn) })
		}
	})
	return s, nil
}

// serve answers one connection until it, or the server, ends.
func (s *server) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var q request
		if in.Decode(&q) != nil {
			return
		}
		a, err := s.do(q)
		if err != nil {
			a = reply{Err: err.Error()}
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

// do carries out one request.
func (s *server) do(q request) (reply, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	f, err := s.file(q.Part)
	if err != nil {
		return reply{}, err
	}
	switch q.Do {
	case "append":
		at := f.records
		if _, err := f.WriteAt(record(q.Value), at*recordSize); err != nil {
			return reply{}, err
		}
		if s.sync {
			if err := f.Sync(); err != nil {
				return reply{}, err
			}
		}
		f.records++
		return reply{Offset: at}, nil
	case "read":
		values := []int64{}
		for at := max(0, q.From); at < f.records; at++ {
			var b [recordSize]byte
			if _, err := f.ReadAt(b[:], at*recordSize); err != nil {
				return reply{}, err
			}
			values = append(values, int64(binary.BigEndian.Uint64(b[:])))
		}
		return reply{Values: values}, nil
	}
	return reply{}, fmt.Errorf("unknown request %q", q.Do)
}

// file opens a partition. What follows the first record that is not whole was lost by the disk, and
// is cut off.
func (s *server) file(part int32) (*file, error) {
	if f := s.files[part]; f != nil {
		return f, nil
	}
	opened, err := s.fs.Open(fmt.Sprintf("part-%d", part), true)
	if err != nil {
		return nil, err
	}
	if err := s.fs.SyncDir(); err != nil {
		return nil, err
	}
	size, err := opened.Size()
	if err != nil {
		return nil, err
	}
	f := &file{File: opened}
	for ; (f.records+1)*recordSize <= size; f.records++ {
		var b [recordSize]byte
		if _, err := f.ReadAt(b[:], f.records*recordSize); err != nil {
			return nil, err
		}
		if !bytes.Equal(b[:], record(int64(binary.BigEndian.Uint64(b[:])))) {
			break
		}
	}
	s.files[part] = f
	return f, f.Truncate(f.records * recordSize)
}

func record(value int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(value))
	return binary.BigEndian.AppendUint64(b, ^uint64(value))
}

// Stop implements target.Node.
func (s *server) Stop(context.Context) error {
	s.end()
	err := s.listener.Close()
	s.running.Wait()
	return err
}

// Failed implements target.Node: the server does not end by itself.
func (s *server) Failed() <-chan struct{} { return nil }

// Failure implements target.Node.
func (s *server) Failure() string { return "" }
