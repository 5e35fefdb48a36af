package reference

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
)

// errGateShut is what kgo sees when it writes a Produce that must not be sent.
var errGateShut = fmt.Errorf("no send is under way: %w", net.ErrClosed)

// gate decides whether a Produce may be written to any connection of a kgo client, and remembers whether one was. The zero gate is shut.
type gate struct {
	once bool // each opening lets one Produce through

	mu   sync.Mutex // guards the rest
	open bool
	sent bool
}

// openUp lets a Produce through from now on.
func (g *gate) openUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.sent = true, false
}

// shut lets nothing through any more, and reports whether a byte of any Produce may have been written since openUp. When it says
// false, none was and none will be until the next openUp.
func (g *gate) shut() (sent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
	return g.sent
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open || (g.once && g.sent) {
		return errGateShut
	}
	g.sent = true
	return nil
}

// undo takes an enter back whose write wrote nothing.
func (g *gate) undo() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = false
}

// gatedConn is a connection of a kgo client, which writes each request with one Write.
type gatedConn struct {
	net.Conn
	gate *gate
}

// Write implements net.Conn.
func (c *gatedConn) Write(p []byte) (int, error) {
	if len(p) < 6 || binary.BigEndian.Uint16(p[4:]) != 0 { // the api key of Produce
		return c.Conn.Write(p)
	}
	if err := c.gate.enter(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if n == 0 && err != nil && c.gate.once {
		c.gate.undo()
	}
	return n, err
}
