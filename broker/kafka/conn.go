package kafka

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is one client connection: a goroutine that reads and starts requests, and one that completes them and writes.
type conn struct {
	s      *Server
	nc     net.Conn
	log    *slog.Logger
	apis   []api
	ctx    context.Context // ends when nobody can be answered any more
	cancel context.CancelFunc
	// queue holds what was started and is to be answered, in order. The reader closes it.
	queue chan pending
}

// pending is a started request.
type pending struct {
	header header
	// complete waits for the result; nil: the connection is to be closed when the turn comes.
	complete func(context.Context) kmsg.Response
	// done is closed when the request has been answered; nil when nobody waits for that.
	done chan struct{}
}

func newConn(s *Server, nc net.Conn) *conn {
	ctx, cancel := context.WithCancel(s.ctx)
	return &conn{
		s: s, nc: nc, log: s.log.With("client", nc.RemoteAddr().String()), apis: apis(), ctx: ctx, cancel: cancel,
		queue: make(chan pending, s.cfg.MaxInFlight),
	}
}

// close ends the connection from any goroutine: what is read, written or waited for on it returns.
func (c *conn) close() {
	c.cancel()
	_ = c.nc.Close()
}

// serve returns when both goroutines have ended.
func (c *conn) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.writeLoop()
	}()
	err := c.readLoop()
	close(c.queue)
	if errors.Is(err, errProtocol) {
		c.s.count.malformed.Add(1)
		c.log.Warn("closing a connection", "err", err)
		<-written // requests before the bad one are answered
	} else if err != nil && c.ctx.Err() == nil && !errors.Is(err, io.EOF) {
		c.log.Debug("connection ended", "err", err)
	}
	if err == nil {
		<-written // so wants whoever ended the loop
	}
	c.close()
	<-written
}

// readLoop reads and starts requests until the connection ends, and returns why. A nil error means that what is queued
// is still to be answered.
func (c *conn) readLoop() error {
	r := bufio.NewReaderSize(c.nc, 16<<10)
	var before chan struct{} // done of the last request that others have to wait for
	for {
		if err := c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.IdleTimeout)); err != nil {
			return err
		}
		h, rest, err := readFrame(r, c.s.cfg.MaxRequestBytes, func() {
			_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.IOTimeout)) // fails only on a closed connection, which the read reports
		})
		if err != nil {
			return c.explain(err)
		}
		c.s.count.bytesIn.Add(int64(len(rest)) + headerLen + 4)
		a, err := find(c.apis, h)
		if err != nil {
			return err
		}
		req, err := a.decode(h, rest)
		if err != nil {
			return err
		}
		if before != nil {
			select {
			case <-before:
				before = nil
			case <-c.ctx.Done():
				return c.ctx.Err()
			}
		}
		p, more := c.start(a, h, req)
		if p == nil {
			continue
		}
		before = p.done
		select {
		case c.queue <- *p:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
		if !more {
			return nil
		}
	}
}

func (c *conn) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing came for too long: %w", err)
	}
	return err
}

// start begins a request. It returns what is to be queued, if anything, and whether more requests may follow.
func (c *conn) start(a *api, h header, req kmsg.Request) (p *pending, more bool) {
	c.s.count.requests.Add(1)
	if produce, ok := req.(*kmsg.ProduceRequest); ok {
		return c.startProduce(h, produce)
	}
	return &pending{
		header:   h,
		complete: func(ctx context.Context) kmsg.Response { return a.handle(ctx, c.s, req) },
		done:     make(chan struct{}),
	}, true
}

// writeLoop completes requests in order until the queue is closed and empty. When it can't write any more it ends the
// connection, and empties the queue without waiting for anything.
func (c *conn) writeLoop() {
	var buf []byte
	for p := range c.queue {
		if c.ctx.Err() == nil {
			buf = c.answer(p, buf[:0])
		}
		if p.done != nil {
			close(p.done)
		}
		if cap(buf) > keepBuffer {
			buf = nil
		}
	}
}

// keepBuffer is the largest response buffer that a connection keeps for the next response.
const keepBuffer = 64 << 10

// answer completes and writes one request, and returns the buffer that it used.
func (c *conn) answer(p pending, buf []byte) []byte {
	if p.complete == nil {
		c.close()
		return buf
	}
	resp := p.complete(c.ctx)
	if c.ctx.Err() != nil {
		return buf
	}
	buf = appendResponse(buf, p.header, resp)
	err := c.nc.SetWriteDeadline(time.Now().Add(c.s.cfg.IOTimeout))
	if err == nil {
		_, err = c.nc.Write(buf)
	}
	if err != nil {
		if c.ctx.Err() == nil {
			c.log.Debug("closing a connection: response not sent", "api", p.header.key, "err", err)
		}
		c.close()
		return buf
	}
	c.s.count.bytesOut.Add(int64(len(buf)))
	return buf
}

// appendResponse encodes length, header and body. The header is flexible when the body is, except for ApiVersions, whose
// response a client must be able to read before it knows what the broker speaks (KIP-511).
func appendResponse(buf []byte, h header, resp kmsg.Response) []byte {
	buf = append(buf, 0, 0, 0, 0)
	buf = kbin.AppendInt32(buf, h.correlation)
	if resp.IsFlexible() && resp.Key() != keyAPIVersions {
		buf = append(buf, 0) // no tagged fields
	}
	buf = resp.AppendTo(buf)
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
	return buf
}
