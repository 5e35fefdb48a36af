package logserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Errors of Client.Ask.
var (
	// ErrNotSent is returned (wrapped) when the server certainly has not got the question.
	ErrNotSent = errors.New("not sent")
	// ErrRefused is returned (wrapped) when the server answered that it did not do it.
	ErrRefused = errors.New("refused")
)

// Client asks one server. It is used by one goroutine.
type Client struct {
	Dial func(ctx context.Context) (net.Conn, error)

	conn net.Conn
	in   *bufio.Reader
}

// Ask sends one question and returns the numbers of the answer.
func (c *Client) Ask(ctx context.Context, format string, args ...any) ([]int64, error) {
	if c.conn == nil {
		conn, err := c.Dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	line := ""
	_, err := fmt.Fprintf(c.conn, format+"\n", args...)
	if err == nil {
		line, err = c.in.ReadString('\n')
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "ok" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(line))
	}
	numbers := make([]int64, len(words)-1)
	for i, w := range words[1:] {
		if numbers[i], err = strconv.ParseInt(w, 10, 64); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

// Close ends the connection; the next question opens another one.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}
