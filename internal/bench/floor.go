package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// The floor is about the least that a replicated log can do on this machine: one leader, two
// followers, batches written and synced as a group while they travel, acknowledged when two of
// three have them. No protocol, index, checksum or recovery. A broker's throughput divided by the
// floor's of the same minute says more than either number.

const (
	floorMaxBatch = 1024 // records of one group
	floorReplicas = 3
)

// floorRecord is a record on its way.
type floorRecord struct {
	payload []byte
	done    chan struct{} // closed when two of three have it
}

// floorBatch is what is written and sent at once.
type floorBatch struct {
	bytes []byte
	end   int64 // position after it, in records
}

// floorAck says that a replica has everything before end.
type floorAck struct {
	replica int
	end     int64
}

// floorLog is the whole thing.
type floorLog struct {
	addr string // for clients

	sync      bool
	in        chan *floorRecord
	waiting   chan floorGroup
	acks      chan floorAck
	stop      chan struct{}
	wg        sync.WaitGroup
	listeners []net.Listener
	files     []*os.File

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// floorGroup is the records of one batch, which wait for end to be committed.
type floorGroup struct {
	records []*floorRecord
	end     int64
}

// startFloor starts leader and followers on loopback, with their files in dir.
func startFloor(dir string, fsync bool) (*floorLog, error) {
	f := &floorLog{
		sync: fsync, in: make(chan *floorRecord, floorMaxBatch), waiting: make(chan floorGroup, 4096),
		acks: make(chan floorAck, 64), stop: make(chan struct{}),
	}
	followers := make([]chan floorBatch, floorReplicas-1)
	for i := range followers {
		conn, err := f.startFollower(filepath.Join(dir, fmt.Sprintf("follower%d", i)))
		if err != nil {
			f.close()
			return nil, err
		}
		followers[i] = make(chan floorBatch, 256)
		f.wg.Go(func() { f.ship(conn, followers[i]) })
		f.wg.Go(func() { f.readAcks(conn, i+1) })
	}
	file, err := f.create(filepath.Join(dir, "leader"))
	if err == nil {
		err = f.serve()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	local := make(chan floorBatch, 256)
	f.wg.Go(func() { f.gather(append(followers, local)) })
	f.wg.Go(func() { f.write(file, local) })
	f.wg.Go(f.commit)
	return f, nil
}

func (f *floorLog) create(path string) (*os.File, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("the floor's log: %w", err)
	}
	f.files = append(f.files, file)
	return file, nil
}

func (f *floorLog) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the floor's listener: %w", err)
	}
	f.listeners = append(f.listeners, l)
	return l, nil
}

// keep remembers a connection for close.
func (f *floorLog) keep(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, c)
}

func (f *floorLog) close() {
	close(f.stop)
	for _, l := range f.listeners {
		_ = l.Close()
	}
	f.mu.Lock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
	for _, file := range f.files {
		_ = file.Close()
	}
}

// serve accepts clients: a frame is 4 bytes of length and the record; the answer is one byte.
func (f *floorLog) serve() error {
	l, err := f.listen()
	if err != nil {
		return err
	}
	f.addr = l.Addr().String()
	f.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.keep(c)
			f.wg.Go(func() { f.client(c) })
		}
	})
	return nil
}

func (f *floorLog) client(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		payload, err := readFrame(r)
		if err != nil {
			return
		}
		rec := &floorRecord{payload: payload, done: make(chan struct{})}
		select {
		case f.in <- rec:
		case <-f.stop:
			return
		}
		select {
		case <-rec.done:
		case <-f.stop:
			return
		}
		if _, err := c.Write([]byte{1}); err != nil {
			return
		}
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, payload)
	return payload, err
}

// gather makes groups of whatever waits, and hands each to every replica.
func (f *floorLog) gather(replicas []chan floorBatch) {
	end := int64(0)
	for {
		var group floorGroup
		select {
		case rec := <-f.in:
			group.records = append(group.records, rec)
		case <-f.stop:
			return
		}
		for len(group.records) < floorMaxBatch && len(f.in) > 0 {
			group.records = append(group.records, <-f.in)
		}
		var bytes []byte
		for _, rec := range group.records {
			bytes = binary.BigEndian.AppendUint32(bytes, uint32(len(rec.payload)))
			bytes = append(bytes, rec.payload...)
		}
		end += int64(len(group.records))
		group.end = end
		select {
		case f.waiting <- group:
		case <-f.stop:
			return
		}
		for _, r := range replicas {
			select {
			case r <- floorBatch{bytes: bytes, end: end}:
			case <-f.stop:
				return
			}
		}
	}
}

// write is the leader's own disk.
func (f *floorLog) write(file *os.File, batches <-chan floorBatch) {
	for {
		select {
		case b := <-batches:
			if f.store(file, b.bytes) != nil || !f.report(floorAck{replica: 0, end: b.end}) {
				return
			}
		case <-f.stop:
			return
		}
	}
}

func (f *floorLog) store(file *os.File, bytes []byte) error {
	if _, err := file.Write(bytes); err != nil {
		return err
	}
	if f.sync {
		return file.Sync()
	}
	return nil
}

func (f *floorLog) report(a floorAck) bool {
	select {
	case f.acks <- a:
		return true
	case <-f.stop:
		return false
	}
}

// ship sends batches to a follower: 8 bytes of end, 4 of length, the bytes.
func (f *floorLog) ship(c net.Conn, batches <-chan floorBatch) {
	for {
		select {
		case b := <-batches:
			head := binary.BigEndian.AppendUint64(nil, uint64(b.end))
			head = binary.BigEndian.AppendUint32(head, uint32(len(b.bytes)))
			buffers := net.Buffers{head, b.bytes}
			if _, err := buffers.WriteTo(c); err != nil {
				return
			}
		case <-f.stop:
			return
		}
	}
}

func (f *floorLog) readAcks(c net.Conn, replica int) {
	r := bufio.NewReader(c)
	var end [8]byte
	for {
		if _, err := io.ReadFull(r, end[:]); err != nil {
			return
		}
		if !f.report(floorAck{replica: replica, end: int64(binary.BigEndian.Uint64(end[:]))}) {
			return
		}
	}
}

// startFollower starts a follower and returns the leader's connection to it.
func (f *floorLog) startFollower(path string) (net.Conn, error) {
	file, err := f.create(path)
	if err != nil {
		return nil, err
	}
	l, err := f.listen()
	if err != nil {
		return nil, err
	}
	f.wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f.keep(c)
		f.follow(c, file)
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("the floor's follower: %w", err)
	}
	f.keep(c)
	return c, nil
}

// follow stores what comes, with one sync for everything that has arrived.
func (f *floorLog) follow(c net.Conn, file *os.File) {
	r := bufio.NewReaderSize(c, 1<<20)
	var end [8]byte
	for {
		var bytes []byte
		for ok := true; ok; ok = r.Buffered() > 12 && len(bytes) < 1<<20 {
			if _, err := io.ReadFull(r, end[:]); err != nil {
				return
			}
			payload, err := readFrame(r)
			if err != nil {
				return
			}
			bytes = append(bytes, payload...)
		}
		if f.store(file, bytes) != nil {
			return
		}
		if _, err := c.Write(end[:]); err != nil {
			return
		}
	}
}

// commit answers what two of three replicas have.
func (f *floorLog) commit() {
	var (
		ends  [floorReplicas]int64
		queue []floorGroup
	)
	for {
		select {
		case a := <-f.acks:
			ends[a.replica] = a.end
		case g := <-f.waiting:
			queue = append(queue, g)
		case <-f.stop:
			return
		}
		sorted := ends
		slices.Sort(sorted[:])
		for len(queue) > 0 && queue[0].end <= sorted[1] {
			for _, rec := range queue[0].records {
				close(rec.done)
			}
			queue = queue[1:]
		}
	}
}

// floorClient returns a function that writes one record and waits for the answer, over a connection
// of its own.
func floorClient(ctx context.Context, addr string, record []byte) (func() error, func(), error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("reaching the floor: %w", err)
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(record))), record...)
	var answer [1]byte
	send := func() error {
		if _, err := c.Write(frame); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, answer[:]); err != nil {
			return err
		}
		if answer[0] != 1 {
			return errors.New("the floor refused a record")
		}
		return nil
	}
	return send, func() { _ = c.Close() }, nil
}
