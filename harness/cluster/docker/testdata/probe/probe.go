// Package probe is a node that does what it is asked, so that what faults do to traffic and to
// files can be measured: in the tests of the docker environment it is the system under test. It
// knows nothing of the environment.
package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Request is what a test asks a node; Reply the answer. One of each per line.
type Request struct {
	Op      string        // ping, rtt, udp, heard, write, poison, size, processes, self, exit
	Addr    string        // of another node, host:port
	N       int           // how many, or how many bytes
	Timeout time.Duration // of each
}

// Reply is what a node answers.
type Reply struct {
	Err   string
	RTT   []time.Duration
	Count map[string]int // heard: datagrams by the sender's IP
	Size  int64
	N     int
	Boot  string // of the node's start
	Self  Self
}

// Self is how the node was started.
type Self struct {
	Args []string
	Dir  string // working directory
	UID  int
	Env  []string
}

// Config is a node's configuration file.
type Config struct {
	Listen string   // host:port
	Peers  []string // host:port of all nodes
	Data   string   // directory of its files
}

type node struct {
	cfg   Config
	mu    sync.Mutex
	heard map[string]int
	boot  string
}

// Run runs a node with the configuration in a file. It returns only errors; SIGTERM ends the
// process.
func Run(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n := &node{heard: make(map[string]int), boot: time.Now().Format(time.RFC3339Nano)}
	if err := json.Unmarshal(data, &n.cfg); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Data, "poison")); err == nil {
		return errors.New("the disk is damaged")
	}
	// Whatever rule is not in force yet at the start lets these through.
	for _, p := range n.cfg.Peers {
		_ = shout(p, 3)
	}
	packets, err := net.ListenPacket("udp", n.cfg.Listen)
	if err != nil {
		return err
	}
	go n.listen(packets)
	listener, err := net.Listen("tcp", n.cfg.Listen)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("ended by SIGTERM")
		os.Exit(0)
	}()
	fmt.Println("listening on", n.cfg.Listen)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go n.serve(conn)
	}
}

func (n *node) listen(packets net.PacketConn) {
	buffer := make([]byte, 2048)
	for {
		_, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		n.mu.Lock()
		n.heard[host]++
		n.mu.Unlock()
	}
}

func shout(addr string, count int) error {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range count {
		_, _ = conn.Write([]byte("hello")) // a drop on the way out is an error, which is what is counted elsewhere
		if i%100 == 99 {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

func (n *node) serve(conn net.Conn) {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var q Request
		if err := in.Decode(&q); err != nil {
			return
		}
		r, err := n.do(q)
		if err != nil {
			r.Err = err.Error()
		}
		r.Boot = n.boot
		if err := out.Encode(r); err != nil {
			return
		}
	}
}

func (n *node) do(q Request) (Reply, error) {
	switch q.Op {
	case "ping":
		return Reply{}, nil
	case "rtt":
		return rtt(q)
	case "udp":
		return Reply{}, shout(q.Addr, q.N)
	case "heard":
		n.mu.Lock()
		defer n.mu.Unlock()
		r := Reply{Count: n.heard}
		n.heard = make(map[string]int)
		return r, nil
	case "write":
		fmt.Println("wrote", q.N)
		return Reply{}, os.WriteFile(filepath.Join(n.cfg.Data, "file"), make([]byte, q.N), 0o600)
	case "poison": // the next start fails
		return Reply{}, os.WriteFile(filepath.Join(n.cfg.Data, "poison"), nil, 0o600)
	case "size":
		info, err := os.Stat(filepath.Join(n.cfg.Data, "file"))
		if os.IsNotExist(err) {
			return Reply{}, nil
		}
		if err != nil {
			return Reply{}, err
		}
		return Reply{Size: info.Size()}, nil
	case "exit":
		os.Exit(q.N)
	case "self":
		dir, err := os.Getwd()
		return Reply{Self: Self{os.Args, dir, os.Getuid(), os.Environ()}}, err
	case "processes":
		dirs, err := filepath.Glob("/proc/[0-9]*")
		return Reply{N: len(dirs)}, err
	}
	return Reply{}, fmt.Errorf("unknown request %q", q.Op)
}

// rtt pings another node N times over one connection.
func rtt(q Request) (Reply, error) {
	conn, err := net.DialTimeout("tcp", q.Addr, q.Timeout)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	var all Reply
	for range q.N {
		begin := time.Now()
		_ = conn.SetDeadline(begin.Add(q.Timeout))
		if err := out.Encode(Request{Op: "ping"}); err != nil {
			return all, err
		}
		var r Reply
		if err := in.Decode(&r); err != nil && err != io.EOF {
			return all, err
		}
		all.RTT = append(all.RTT, time.Since(begin))
	}
	return all, nil
}
