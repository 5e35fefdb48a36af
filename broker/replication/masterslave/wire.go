package masterslave

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The peer protocol. Every message is
//
//	length u32 (of what follows it) | version u8 | type u8 | body
//
// and integers are big endian. A connection carries either control requests, each answered before the next is read, or the pulls of one
// follower, which may put a flushed message between two of them. Whatever does not decode closes the connection.
const (
	wireVersion = 1

	msgRequest  = 1 // control request, JSON
	msgResponse = 2 // its answer, JSON
	msgPull     = 3
	msgFrames   = 4 // answer to a pull
	msgFlushed  = 5 // a follower's log is flushed up to a position; no answer

	maxControlBytes = 1 << 20
	maxPullBytes    = 256
	// maxShipBytes is what a leader puts into one answer, if the first frame is not longer; maxFramesBytes is what a follower takes.
	maxShipBytes   = 1 << 20
	maxFramesBytes = 64 << 20

	// idleTimeout is how long a peer connection may stay silent: pulls, which are sent at least every pullWait, are its heartbeat.
	idleTimeout = 10 * time.Second
	// answerTimeout is how long a follower waits for bytes of an answer, beyond pullWait, and anyone for progress of a write.
	answerTimeout = 3 * time.Second
	pullWait      = 500 * time.Millisecond
)

// errWire is wrapped by whatever a peer sent that does not decode.
var errWire = errors.New("masterslave: peer protocol")

// verdict is a leader's answer to a pull. The zero value says nothing and is never sent.
type verdict uint8

const (
	verdictNone     verdict = iota
	verdictOK               // the follower's log is a prefix of the leader's
	verdictEpoch            // the asked node does not lead the epoch that the pull names
	verdictAhead            // the follower's log is longer than the leader's
	verdictDiverged         // the two logs differ below the follower's end
	verdictBusy             // the asked node leads, and cannot serve pulls: starting, or its disk has failed
	verdictMax      = verdictBusy
)

// pull is a follower's request for what comes after its log's end.
type pull struct {
	Group       int32
	Node        int32
	Config      uint64 // see fingerprint
	Incarnation uint64 // of the follower's process
	Session     uint64 // given by the leader's last answer on this connection, 0 before; positions count only under the current one
	Epoch       int32  // the follower's
	From        int64  // the follower's log end
	Chain       uint64 // its chain there
	LastEpoch   int32  // of its last frame
	Flushed     int64
	Joining     bool
}

const pullBody = 4 + 4 + 8 + 8 + 8 + 4 + 8 + 8 + 4 + 8 + 1

func appendPull(dst []byte, p pull) []byte {
	be := binary.BigEndian
	dst = be.AppendUint32(dst, uint32(p.Group))
	dst = be.AppendUint32(dst, uint32(p.Node))
	dst = be.AppendUint64(dst, p.Config)
	dst = be.AppendUint64(dst, p.Incarnation)
	dst = be.AppendUint64(dst, p.Session)
	dst = be.AppendUint32(dst, uint32(p.Epoch))
	dst = be.AppendUint64(dst, uint64(p.From))
	dst = be.AppendUint64(dst, p.Chain)
	dst = be.AppendUint32(dst, uint32(p.LastEpoch))
	dst = be.AppendUint64(dst, uint64(p.Flushed))
	if p.Joining {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func decodePull(b []byte) (pull, error) {
	if len(b) != pullBody {
		return pull{}, fmt.Errorf("%w: pull of %d bytes", errWire, len(b))
	}
	be := binary.BigEndian
	p := pull{
		Group: int32(be.Uint32(b)), Node: int32(be.Uint32(b[4:])), Config: be.Uint64(b[8:]), Incarnation: be.Uint64(b[16:]),
		Session: be.Uint64(b[24:]), Epoch: int32(be.Uint32(b[32:])), From: int64(be.Uint64(b[36:])), Chain: be.Uint64(b[44:]),
		LastEpoch: int32(be.Uint32(b[52:])), Flushed: int64(be.Uint64(b[56:])), Joining: b[64] == 1,
	}
	if p.Epoch < 1 || p.From < 0 || p.Flushed < 0 || b[64] > 1 {
		return pull{}, fmt.Errorf("%w: pull %+v", errWire, p)
	}
	return p, nil
}

// shipment is the answer to a pull. Frames is nil unless the verdict is OK.
type shipment struct {
	Verdict   verdict
	Epoch     int32 // the answering node's
	Session   uint64
	End       int64 // the leader's log end, shipped or not
	Committed int64
	Serving   bool   // the leader serves reads: Committed covers all that it ever told a consumer
	Frames    []byte // as the log stores them
}

const shipmentHead = 1 + 4 + 8 + 8 + 8 + 1

func appendShipmentHead(dst []byte, s shipment) []byte {
	be := binary.BigEndian
	dst = append(dst, byte(s.Verdict))
	dst = be.AppendUint32(dst, uint32(s.Epoch))
	dst = be.AppendUint64(dst, s.Session)
	dst = be.AppendUint64(dst, uint64(s.End))
	dst = be.AppendUint64(dst, uint64(s.Committed))
	if s.Serving {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func decodeShipment(b []byte) (shipment, error) {
	if len(b) < shipmentHead {
		return shipment{}, fmt.Errorf("%w: answer of %d bytes", errWire, len(b))
	}
	be := binary.BigEndian
	s := shipment{
		Verdict: verdict(b[0]), Epoch: int32(be.Uint32(b[1:])), Session: be.Uint64(b[5:]),
		End: int64(be.Uint64(b[13:])), Committed: int64(be.Uint64(b[21:])), Serving: b[29] == 1, Frames: b[shipmentHead:],
	}
	if s.Verdict == verdictNone || s.Verdict > verdictMax || s.End < 0 || s.Committed < 0 || s.Committed > s.End || b[29] > 1 {
		return shipment{}, fmt.Errorf("%w: answer with verdict %d, end %d, committed %d", errWire, s.Verdict, s.End, s.Committed)
	}
	if s.Verdict != verdictOK && len(s.Frames) > 0 {
		return shipment{}, fmt.Errorf("%w: refusal with %d bytes of frames", errWire, len(s.Frames))
	}
	return s, nil
}

// flushed tells how far a follower's log is flushed.
type flushed struct {
	Session  uint64
	Position int64
}

func appendFlushed(dst []byte, f flushed) []byte {
	dst = binary.BigEndian.AppendUint64(dst, f.Session)
	return binary.BigEndian.AppendUint64(dst, uint64(f.Position))
}

func decodeFlushed(b []byte) (flushed, error) {
	if len(b) != 16 {
		return flushed{}, fmt.Errorf("%w: flushed of %d bytes", errWire, len(b))
	}
	f := flushed{Session: binary.BigEndian.Uint64(b), Position: int64(binary.BigEndian.Uint64(b[8:]))}
	if f.Position < 0 {
		return flushed{}, fmt.Errorf("%w: flushed position %d", errWire, f.Position)
	}
	return f, nil
}

// message starts a message of the given type; seal completes it.
func message(typ byte, room int) []byte {
	return append(make([]byte, 0, 6+room), 0, 0, 0, 0, wireVersion, typ)
}

func seal(m []byte) []byte {
	binary.BigEndian.PutUint32(m, uint32(len(m)-4))
	return m
}

// readMessage reads one message; limit gives the most that a body of a type may have, 0 for a type that is not expected.
func readMessage(r *bufio.Reader, limit func(typ byte) int) (typ byte, body []byte, err error) {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	typ = head[5]
	n := int64(binary.BigEndian.Uint32(head[:])) - 2
	if most := limit(typ); head[4] != wireVersion || n < 0 || n > int64(most) || most == 0 {
		return 0, nil, fmt.Errorf("%w: version %d, type %d, %d bytes", errWire, head[4], typ, n)
	}
	body, err = readBody(r, int(n))
	return typ, body, err
}

// readBody reads n bytes, and allocates as they come: a length alone costs a peer nothing.
func readBody(r io.Reader, n int) ([]byte, error) {
	const step = 1<<20 + 1<<16
	if n <= step {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	var b []byte
	for len(b) < n {
		at := len(b)
		b = append(b, make([]byte, min(step, n-at))...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// only accepts one type of message.
func only(typ byte, most int) func(byte) int {
	return func(t byte) int {
		if t == typ {
			return most
		}
		return 0
	}
}

// patient is a connection whose reads and writes fail when nothing moves for a while. A slow link that moves goes on.
type patient struct {
	net.Conn
	read, write time.Duration
}

// ioChunk bounds one write, so that its deadline is about progress.
const ioChunk = 64 << 10

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.read)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *patient) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		if err := p.SetWriteDeadline(time.Now().Add(p.write)); err != nil {
			return done, err
		}
		n, err := p.Conn.Write(b[done:min(len(b), done+ioChunk)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeJSON sends a control message.
func writeJSON(w io.Writer, typ byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxControlBytes {
		return fmt.Errorf("control message of %d bytes", len(body))
	}
	_, err = w.Write(seal(append(message(typ, len(body)), body...)))
	return err
}

// decodeJSON decodes the body of a control message.
func decodeJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	return nil
}
