package masterslave

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Member is a node of the cluster as its peers reach it.
type Member struct {
	ID    int32
	Group int32
	Kafka string // host:port for clients
	Peer  string // host:port of its peer listener
}

// DialFunc opens a connection; net.Dialer.DialContext is one.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Operations of control requests.
const (
	opStatus = "status" // how are you?
	opRecord = "record" // record Epoch durably; refused when a higher one is recorded
	opLead   = "lead"   // lead Epoch, which names you
	opMatch  = "match"  // which is the last of Boundaries that your log has, too?
	opHolds  = "holds"  // the same for a node that Epoch is recorded on, whether it leads or not
	opCreate = "create" // create a topic: as the authority (group 0) or as told (Topic.ID set)
	opDelete = "delete"
	opFind   = "find" // which topic of that name the group's leader has
)

// request is the body of a control request.
type request struct {
	Op          string        `json:"op"`
	Group       int32         `json:"group"`
	Epoch       int32         `json:"epoch,omitempty"`
	Members     []int32       `json:"members,omitempty"`     // with Epoch: the group's nodes as the sender lists them, which says whom the epoch names
	Incarnation uint64        `json:"incarnation,omitempty"` // opLead: of the process that answered opRecord
	Boundaries  []boundary    `json:"boundaries,omitempty"`  // opMatch, opHolds: from the last to the first
	Topic       *topicRequest `json:"topic,omitempty"`
}

// boundary is the end of a frame, and the chain there.
type boundary struct {
	Position int64  `json:"position"`
	Chain    uint64 `json:"chain"`
}

// maxBoundaries bounds a match request.
const maxBoundaries = 256

// topicRequest asks for a topic to be created or deleted.
type topicRequest struct {
	Name       string `json:"name"`
	ID         string `json:"id,omitempty"` // set by the authority; empty: the authority is asked
	Partitions int32  `json:"partitions,omitempty"`
	Validate   bool   `json:"validate,omitempty"`
}

// response is the answer to a control request.
type response struct {
	Error   string         `json:"error,omitempty"`
	Code    int16          `json:"code,omitempty"`    // Kafka's, with Error, for topic operations
	Refused bool           `json:"refused,omitempty"` // with Error: a higher epoch is recorded
	Status  *Status        `json:"status,omitempty"`
	Match   int            `json:"match"` // opMatch, opHolds: index into Boundaries, -1 for none
	Topic   *topicResponse `json:"topic,omitempty"`
}

type topicResponse struct {
	ID         string `json:"id"`
	Partitions int32  `json:"partitions"`
	Created    bool   `json:"created"`
}

// controlTimeout bounds a control request where the caller's context does not.
const controlTimeout = 5 * time.Second

// callTimeout is how long a node gets for an operation that writes nothing, over slow links, too.
const callTimeout = 2 * time.Second

// call opens a connection, sends one request and reads the answer.
func call(ctx context.Context, dial DialFunc, addr string, req request) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return response{}, fmt.Errorf("dial %s: %w", addr, err)
	}
	l := newLine(conn)
	defer l.close()
	return l.call(ctx, req)
}

// line is an open control connection. One goroutine uses it at a time.
type line struct {
	conn net.Conn
	r    *bufio.Reader
}

func newLine(conn net.Conn) *line { return &line{conn: conn, r: bufio.NewReader(conn)} }

func (l *line) close() { _ = l.conn.Close() }

// call sends a request and reads its answer. After an error other than a *response error the line is to be closed.
func (l *line) call(ctx context.Context, req request) (response, error) {
	// The context's end, too, must end a read; the deadline does it without a goroutine per call.
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(controlTimeout)
	}
	if err := l.conn.SetDeadline(deadline); err != nil {
		return response{}, err
	}
	if ctx.Err() != nil {
		return response{}, ctx.Err()
	}
	if err := writeJSON(l.conn, msgRequest, req); err != nil {
		return response{}, err
	}
	_, body, err := readMessage(l.r, only(msgResponse, maxControlBytes))
	if err != nil {
		return response{}, errors.Join(ctx.Err(), err)
	}
	var resp response
	if err := decodeJSON(body, &resp); err != nil {
		return response{}, err
	}
	return resp, nil
}

// QueryStatus asks the node at a peer address how it is.
func QueryStatus(ctx context.Context, dial DialFunc, addr string) (Status, error) {
	resp, err := call(ctx, dial, addr, request{Op: opStatus})
	if err == nil && resp.Status == nil {
		err = fmt.Errorf("%w: no status in the answer: %s", errWire, resp.Error)
	}
	if err != nil {
		return Status{}, fmt.Errorf("status of %s: %w", addr, err)
	}
	return *resp.Status, nil
}
