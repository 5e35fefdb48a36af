package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// delaySocket is where the delay process listens: an abstract name, which belongs to the container's network and is gone with
	// the process, so that nothing has to be cleaned up or checked for being stale.
	delaySocket = "@assay-delay"
	// idleEnd is how long a delay process without queues waits for work.
	idleEnd = 15 * time.Second
	// callTime bounds one request to the delay process.
	callTime = 5 * time.Second
)

// errNoDaemon is returned when no delay process listens.
var errNoDaemon = errors.New("no delay process runs in this container")

// Requests to the delay process. Rules change in two steps, so that no packet meets a queue that nobody reads: prepare opens what
// the new rules need, commit closes what only the old ones needed.
const (
	opPrepare = "prepare"
	opCommit  = "commit"
	opCounts  = "counts"
)

type delayRequest struct {
	Op     string  `json:"op"`
	Delays []delay `json:"delays,omitempty"`
}

type delayReply struct {
	Queues []uint16         `json:"queues,omitempty"`  // prepare: the queue of each delay, in their order
	Counts map[string]int64 `json:"delayed,omitempty"` // commit, counts: packets by ID since the last commit
	Err    string           `json:"error,omitempty"`
}

// delayer is the delay process: one request at a time, by one goroutine, which owns the queues.
type delayer struct {
	listener *net.UnixListener
	queues   map[delay]*delayQueue
}

// serveDelays runs the delay process until a commit leaves it without queues, or it has had none for idleEnd. When one runs
// already it returns at once.
func serveDelays(stderr io.Writer) error {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: delaySocket, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen for delay requests: %w", err)
	}
	d := &delayer{listener: listener, queues: make(map[delay]*delayQueue)}
	defer d.close()
	for {
		var deadline time.Time
		if len(d.queues) == 0 {
			deadline = time.Now().Add(idleEnd)
		}
		if err := listener.SetDeadline(deadline); err != nil {
			return fmt.Errorf("wait for delay requests: %w", err)
		}
		conn, err := listener.AcceptUnix()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for delay requests: %w", err)
		}
		last, err := d.serve(conn)
		if err != nil {
			fmt.Fprintln(stderr, "assay agent: delay request:", err)
		}
		if last {
			return nil
		}
	}
}

func (d *delayer) close() {
	_ = d.listener.Close()
	for _, q := range d.queues {
		q.close()
	}
}

// serve answers one request. last means that nothing is delayed any more; the name is free again before the answer is sent, so
// that whoever got it can start the next delay process.
func (d *delayer) serve(conn *net.UnixConn) (last bool, err error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(callTime)); err != nil {
		return false, err
	}
	var request delayRequest
	err = json.NewDecoder(io.LimitReader(conn, maxEncoded)).Decode(&request)
	if errors.Is(err, io.EOF) { // somebody asked whether anybody listens
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("decode: %w", err)
	}
	reply := d.answer(request)
	last = request.Op == opCommit && len(d.queues) == 0
	if last {
		_ = d.listener.Close()
	}
	return last, json.NewEncoder(conn).Encode(reply)
}

func (d *delayer) answer(request delayRequest) delayReply {
	switch request.Op {
	case opPrepare:
		queues, err := d.prepare(request.Delays)
		if err != nil {
			return delayReply{Err: err.Error()}
		}
		return delayReply{Queues: queues}
	case opCommit:
		return delayReply{Counts: d.commit(request.Delays)}
	case opCounts:
		counts := make(map[string]int64)
		for k, q := range d.queues {
			counts[k.ID] += q.delayed.Load()
		}
		return delayReply{Counts: counts}
	default:
		return delayReply{Err: fmt.Sprintf("unknown request %q", request.Op)}
	}
}

func (d *delayer) prepare(delays []delay) ([]uint16, error) {
	used := make(map[uint16]bool)
	for _, q := range d.queues {
		used[q.number] = true
	}
	numbers := make([]uint16, 0, len(delays))
	free := uint16(1)
	for _, want := range delays {
		q, ok := d.queues[want]
		if !ok {
			for used[free] {
				free++
			}
			var err error
			if q, err = openQueue(want, free); err != nil {
				return nil, err
			}
			used[free] = true
			d.queues[want] = q
		}
		numbers = append(numbers, q.number)
	}
	return numbers, nil
}

func (d *delayer) commit(delays []delay) map[string]int64 {
	wanted := make(map[delay]bool)
	for _, k := range delays {
		wanted[k] = true
	}
	counts := make(map[string]int64)
	for k, q := range d.queues {
		if !wanted[k] {
			q.close()
			delete(d.queues, k)
		}
		counts[k.ID] += q.delayed.Swap(0)
	}
	return counts
}

// delayClient talks to the delay process of this container; each call is a connection of its own.
type delayClient struct{}

// dialDelays returns a client once a delay process listens; errNoDaemon when none does within wait.
func dialDelays(wait time.Duration) (*delayClient, error) {
	end := time.Now().Add(wait)
	for {
		conn, err := net.DialTimeout("unix", delaySocket, callTime)
		if err == nil {
			return &delayClient{}, conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("reach the delay process: %w", err)
		}
		if time.Now().After(end) {
			return nil, errNoDaemon
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (c *delayClient) call(request delayRequest) (delayReply, error) {
	conn, err := net.DialTimeout("unix", delaySocket, callTime)
	if err != nil {
		return delayReply{}, fmt.Errorf("reach the delay process: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(callTime)); err != nil {
		return delayReply{}, fmt.Errorf("call the delay process: %w", err)
	}
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return delayReply{}, fmt.Errorf("call the delay process: %w", err)
	}
	var reply delayReply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return delayReply{}, fmt.Errorf("hear from the delay process: %w", err)
	}
	if reply.Err != "" {
		return delayReply{}, fmt.Errorf("the delay process refused %s: %s", request.Op, reply.Err)
	}
	return reply, nil
}

func (c *delayClient) prepare(delays []delay) (map[delay]uint16, error) {
	reply, err := c.call(delayRequest{Op: opPrepare, Delays: delays})
	if err != nil {
		return nil, err
	}
	if len(reply.Queues) != len(delays) {
		return nil, fmt.Errorf("the delay process named %d queues for %d delays", len(reply.Queues), len(delays))
	}
	queues := make(map[delay]uint16, len(delays))
	for i, d := range delays {
		queues[d] = reply.Queues[i]
	}
	return queues, nil
}

func (c *delayClient) commit(delays []delay) (map[string]int64, error) {
	reply, err := c.call(delayRequest{Op: opCommit, Delays: delays})
	return reply.Counts, err
}

func (c *delayClient) counts() (map[string]int64, error) {
	reply, err := c.call(delayRequest{Op: opCounts})
	return reply.Counts, err
}
