package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// All integers are big endian. A segment file is a header and frames:
//
//	segment header                              frame
//	 0  4  crc32c of bytes [4,40)                 0  4  crc32c of everything behind it in the frame, continued from the
//	 4  4  magic "ASLG"                                 segment header's crc32c
//	 8  4  version, 1                             4  4  magic "AFRM"
//	12  4  life of the log that made it           8  4  length of the body
//	16  8  base: position of the first frame     12  4  life of the log that wrote it
//	24  8  chain value of the log before base    16  8  position
//	32  8  time of creation, Unix nanoseconds    24  8  flushed position of this node when it wrote the frame
//	                                             32     body, identical on every replica:
//	                                                0  1  kind
//	                                                1  4  epoch
//	                                                5  8  chain value
//	                                               13     payload
//
// The position in the header keeps a copy of a frame elsewhere from passing as a frame. The checksum continues from the segment
// header's, which holds a time in nanoseconds and the hash of everything before, so that a payload can't be made to hold
// a valid frame for a place that its sender can guess.
//
// The wire form, in which ReadRaw gives frames to another replica and AppendRaw takes them ("run"):
//
//	0  8  position of the first frame
//	8     for each frame: 4 bytes length of the body, the body
const (
	segmentHeader  = 40
	segmentMagic   = "ASLG"
	segmentVersion = 1
	segmentSuffix  = ".seg"

	frameHeader   = 32
	frameMagic    = "AFRM"
	magicAt       = 4 // in the frame
	bodyHeader    = 13
	frameOverhead = frameHeader + bodyHeader

	runHeader = 8
	runLength = 4

	// maxBody bounds the length field of a valid frame. It is part of the format: a limit that could be configured would make
	// good frames look torn after a change.
	maxBody = 1 << 30
)

// FrameOverhead is how many bytes of log a frame takes beyond its payload.
const FrameOverhead = frameOverhead

// castagnoli is never modified.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBadFrame is the reason why bytes are not the frame that was expected at their position.
var errBadFrame = errors.New("not a valid frame")

func segmentName(base int64) string { return fmt.Sprintf("%020d%s", base, segmentSuffix) }

// parseSegmentName returns the base position in a segment's name; ok is false for other files.
func parseSegmentName(name string) (base int64, ok bool, err error) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false, nil
	}
	base, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || base < 0 || segmentName(base) != name {
		return 0, true, &CorruptError{File: name, Reason: "the name is not 20 digits and " + segmentSuffix}
	}
	return base, true, nil
}

// header is the decoded header of a segment.
type header struct {
	life    uint32
	base    int64
	chain   uint64
	created int64 // Unix nanoseconds
	seed    uint32
}

func (h header) encode() []byte {
	b := make([]byte, segmentHeader)
	copy(b[4:], segmentMagic)
	binary.BigEndian.PutUint32(b[8:], segmentVersion)
	binary.BigEndian.PutUint32(b[12:], h.life)
	binary.BigEndian.PutUint64(b[16:], uint64(h.base))
	binary.BigEndian.PutUint64(b[24:], h.chain)
	binary.BigEndian.PutUint64(b[32:], uint64(h.created))
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// decodeHeader takes untrusted bytes. ok is false when they are not an intact header.
func decodeHeader(b []byte) (h header, version uint32, ok bool) {
	if len(b) < segmentHeader || string(b[4:8]) != segmentMagic {
		return header{}, 0, false
	}
	seed := binary.BigEndian.Uint32(b)
	if crc32.Checksum(b[4:segmentHeader], castagnoli) != seed {
		return header{}, 0, false
	}
	return header{
		life:    binary.BigEndian.Uint32(b[12:]),
		base:    int64(binary.BigEndian.Uint64(b[16:])),
		chain:   binary.BigEndian.Uint64(b[24:]),
		created: int64(binary.BigEndian.Uint64(b[32:])),
		seed:    seed,
	}, binary.BigEndian.Uint32(b[8:]), true
}

// chainOf returns the chain value of a frame from that of the frame before it: xxhash64 over both, and so over the whole log.
func chainOf(previous uint64, kind Kind, epoch uint32, payload []byte) uint64 {
	var fixed [bodyHeader]byte
	binary.BigEndian.PutUint64(fixed[:], previous)
	fixed[8] = byte(kind)
	binary.BigEndian.PutUint32(fixed[9:], epoch)
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(fixed[:]) // never fails
	_, _ = d.Write(payload)
	return d.Sum64()
}

// next returns the frame that an append of this body makes at the boundary.
func (b Boundary) next(kind Kind, epoch uint32, payload []byte) Frame {
	return Frame{
		Position: b.Position,
		End:      b.Position + frameOverhead + int64(len(payload)),
		Kind:     kind,
		Epoch:    epoch,
		Chain:    chainOf(b.Chain, kind, epoch, payload),
		Payload:  payload,
	}
}

// end returns the boundary behind the frame.
func (f Frame) end() Boundary { return Boundary{Position: f.End, Epoch: f.Epoch, Chain: f.Chain} }

// appendFrame appends the frame as it is on this node's disk.
func appendFrame(dst []byte, f Frame, life, seed uint32) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, frameMagic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(bodyHeader+len(f.Payload)))
	dst = binary.BigEndian.AppendUint32(dst, life)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.Position))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.Flushed))
	dst = append(dst, byte(f.Kind))
	dst = binary.BigEndian.AppendUint32(dst, f.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, f.Chain)
	dst = append(dst, f.Payload...)
	binary.BigEndian.PutUint32(dst[at:], crc32.Update(seed, castagnoli, dst[at+4:]))
	return dst
}

// frameLength returns the length of the whole frame whose first frameHeader bytes are b, when they look like the header of
// the frame at position.
func frameLength(b []byte, position int64) (int, error) {
	if len(b) < frameHeader || string(b[4:8]) != frameMagic {
		return 0, fmt.Errorf("%w: no frame starts here", errBadFrame)
	}
	body := binary.BigEndian.Uint32(b[8:])
	if body < bodyHeader || body > maxBody {
		return 0, fmt.Errorf("%w: impossible length %d", errBadFrame, body)
	}
	if at := int64(binary.BigEndian.Uint64(b[16:])); at != position {
		return 0, fmt.Errorf("%w: it belongs to position %d", errBadFrame, at)
	}
	return frameHeader + int(body), nil
}

// decodeFrame takes untrusted bytes that should be the whole frame at a position. The payload is a part of b. It checks
// everything that can be checked without the frame before.
func decodeFrame(b []byte, position int64, seed uint32) (f Frame, life uint32, err error) {
	n, err := frameLength(b, position)
	if err != nil {
		return Frame{}, 0, err
	}
	if len(b) < n {
		return Frame{}, 0, fmt.Errorf("%w: %d bytes of %d", errBadFrame, len(b), n)
	}
	b = b[:n]
	if crc32.Update(seed, castagnoli, b[4:]) != binary.BigEndian.Uint32(b) {
		return Frame{}, 0, fmt.Errorf("%w: checksum mismatch", errBadFrame)
	}
	f = decodeBody(b[frameHeader:])
	f.Position, f.End = position, position+int64(n)
	f.Flushed = int64(binary.BigEndian.Uint64(b[24:]))
	if f.Kind == 0 || f.Flushed < 0 || f.Flushed > position || f.End < position {
		return Frame{}, 0, fmt.Errorf("%w: kind %d, flushed %d", errBadFrame, f.Kind, f.Flushed)
	}
	return f, binary.BigEndian.Uint32(b[12:]), nil
}

// decodeBody reads a body of at least bodyHeader bytes. The payload is a part of b.
func decodeBody(b []byte) Frame {
	return Frame{
		Kind:    Kind(b[0]),
		Epoch:   binary.BigEndian.Uint32(b[1:]),
		Chain:   binary.BigEndian.Uint64(b[5:]),
		Payload: b[bodyHeader:],
	}
}

// appendRunFrame appends the frame to a run in wire form.
func appendRunFrame(run []byte, f Frame) []byte {
	run = binary.BigEndian.AppendUint32(run, uint32(bodyHeader+len(f.Payload)))
	run = append(run, byte(f.Kind))
	run = binary.BigEndian.AppendUint32(run, f.Epoch)
	run = binary.BigEndian.AppendUint64(run, f.Chain)
	return append(run, f.Payload...)
}

// decodeRun takes an untrusted run and appends its frames to dst. The payloads are parts of run. Only the shape is checked.
func decodeRun(dst []Frame, run []byte) ([]Frame, error) {
	if len(run) < runHeader {
		return dst, fmt.Errorf("%w: a run of %d bytes", ErrInvalid, len(run))
	}
	position := int64(binary.BigEndian.Uint64(run))
	if position < 0 {
		return dst, fmt.Errorf("%w: a run at position %d", ErrInvalid, position)
	}
	for rest := run[runHeader:]; len(rest) > 0; {
		if len(rest) < runLength {
			return dst, fmt.Errorf("%w: a run with %d bytes left over", ErrInvalid, len(rest))
		}
		n := binary.BigEndian.Uint32(rest)
		rest = rest[runLength:]
		if n < bodyHeader || n > maxBody || uint64(n) > uint64(len(rest)) {
			return dst, fmt.Errorf("%w: body length %d with %d bytes left in the run", ErrInvalid, n, len(rest))
		}
		f := decodeBody(rest[:n:n])
		f.Position, f.End = position, position+frameHeader+int64(n)
		if f.End < position {
			return dst, fmt.Errorf("%w: a frame behind the last possible position", ErrInvalid)
		}
		dst = append(dst, f)
		position, rest = f.End, rest[n:]
	}
	return dst, nil
}
