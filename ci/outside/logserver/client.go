package logserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

var (
	// ErrRefused is wrapped by errors about requests that were certainly not carried out, and never
	// will be.
	ErrRefused = errors.New("refused")
	// ErrFewCopies is returned, with an answer, for messages that are stored, but not on every
	// node.
	ErrFewCopies = errors.New("not on every node yet")
)

// Client asks nodes. It keeps one connection to each, and is used by one goroutine.
type Client struct {
	addr  func(n harness.NodeID, port string) string
	dial  target.DialFunc
	conns map[harness.NodeID]*connection
}

type connection struct {
	net.Conn
	in *bufio.Reader
}

// NewClient returns a client without connections.
func NewClient(addr func(n harness.NodeID, port string) string, dial target.DialFunc) *Client {
	return &Client{addr: addr, dial: dial, conns: make(map[harness.NodeID]*connection)}
}

// Ask asks a node (see Server.do for the requests) and returns the numbers of its answer. After an
// error that wraps neither ErrRefused nor ErrFewCopies it is not known what became of the request.
func (c *Client) Ask(
	ctx context.Context, n harness.NodeID, what string, args ...int64,
) ([]int64, error) {
	conn := c.conns[n]
	if conn == nil {
		dialed, err := c.dial(ctx, "tcp", c.addr(n, Port))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err) // nothing was sent
		}
		conn = &connection{dialed, bufio.NewReader(dialed)}
		c.conns[n] = conn
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	answer, err := conn.ask(line(what, args))
	if !stop() || err != nil {
		_ = conn.Close()
		delete(c.conns, n)
	}
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	words := strings.Fields(answer)
	if len(words) == 0 || words[0] == "no" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(answer))
	}
	numbers, err := numbers(words[1:])
	if err == nil && words[0] == "few" {
		err = ErrFewCopies
	}
	return numbers, err
}

func (c *connection) ask(request string) (string, error) {
	if _, err := fmt.Fprintln(c, request); err != nil {
		return "", err
	}
	return c.in.ReadString('\n')
}

// Close ends all connections.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	clear(c.conns)
	return errors.Join(errs...)
}
