// Command node is a node that does what it is asked, so that the tests of the environment local can
// measure what faults do to a process and to its files.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// request is what a test asks a node; reply the answer. One of each per line.
type request struct {
	Op string // ping, write, size, exit, poison, spawn
	N  int    // write: bytes; exit: the code; spawn: 1 for a child in a session of its own
}

type reply struct {
	Err  string
	Node string
	PID  int // of the node, or of the child that was spawned
	Size int64
	Boot string // of the node's start
	Env  []string
	Dir  string
}

// config is the file that the program's only argument names.
type config struct {
	Node   string
	Listen []string // host:port; it answers on the first
	Deaf   bool     // ignores SIGTERM
	Once   string   // a file: as long as it is not there, the node makes it, and ends as if its address were in use
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "child" {
		select {}
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: node FILE", os.Args)
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type node struct {
	cfg  config
	boot string
}

func run(path string) error {
	n := &node{boot: time.Now().Format(time.RFC3339Nano)}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &n.cfg); err != nil {
		return err
	}
	if _, err := os.Stat("poison"); err == nil {
		return fmt.Errorf("the disk is damaged")
	}
	if n.cfg.Once != "" {
		if f, err := os.OpenFile(n.cfg.Once, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_ = f.Close()
			return fmt.Errorf("listen tcp %s: bind: %w", n.cfg.Listen[0], syscall.EADDRINUSE)
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	var first net.Listener
	for i, address := range n.cfg.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		if i == 0 {
			first = l
		}
	}
	go func() {
		for range stop {
			if !n.cfg.Deaf {
				fmt.Println("ended by SIGTERM")
				os.Exit(0)
			}
		}
	}()
	fmt.Println("listening on", n.cfg.Listen)
	for {
		conn, err := first.Accept()
		if err != nil {
			return err
		}
		go n.serve(conn)
	}
}

func (n *node) serve(conn net.Conn) {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var q request
		if err := in.Decode(&q); err != nil {
			return
		}
		r, err := n.do(q)
		if err != nil {
			r.Err = err.Error()
		}
		r.Boot, r.Node = n.boot, n.cfg.Node
		if err := out.Encode(r); err != nil {
			return
		}
	}
}

func (n *node) do(q request) (reply, error) {
	switch q.Op {
	case "ping":
		dir, err := os.Getwd()
		return reply{PID: os.Getpid(), Env: os.Environ(), Dir: dir}, err
	case "write":
		fmt.Println("wrote", q.N)
		if err := os.MkdirAll("data", 0o700); err != nil {
			return reply{}, err
		}
		return reply{}, os.WriteFile(filepath.Join("data", "file"), make([]byte, q.N), 0o600)
	case "size":
		info, err := os.Stat(filepath.Join("data", "file"))
		if os.IsNotExist(err) {
			return reply{}, nil
		}
		if err != nil {
			return reply{}, err
		}
		return reply{Size: info.Size()}, nil
	case "poison": // the next start fails
		return reply{}, os.WriteFile("poison", nil, 0o600)
	case "exit":
		fmt.Println("I have had enough")
		os.Exit(q.N)
	case "spawn":
		child := exec.Command(os.Args[0], "child")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: q.N == 1}
		if err := child.Start(); err != nil {
			return reply{}, err
		}
		return reply{PID: child.Process.Pid}, nil
	}
	return reply{}, fmt.Errorf("unknown request %q", q.Op)
}
