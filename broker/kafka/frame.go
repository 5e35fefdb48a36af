package kafka

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A request on the wire, all integers big endian:
//
//	int32 length of what follows
//	int16 api key, int16 api version, int32 correlation id      headerLen bytes
//	int16 length of the client id (-1: none), client id
//	tagged fields                                               flexible versions only
//	body
const headerLen = 8

// maxSmallRequest is the size of the largest request that is not a Produce.
const maxSmallRequest = 1 << 20

// header is what a request begins with.
type header struct {
	key, version int16
	correlation  int32
}

// readFrame reads one request and returns its header and what follows it. The memory that it takes grows with the
// bytes that have come, never with the length that was claimed. begun is called when the length has come.
func readFrame(r io.Reader, maxBytes int, begun func()) (header, []byte, error) {
	var prefix [4 + headerLen]byte
	if _, err := io.ReadFull(r, prefix[:4]); err != nil {
		return header{}, nil, err
	}
	begun()
	size := int64(int32(binary.BigEndian.Uint32(prefix[:4])))
	if size < headerLen || size > int64(max(maxBytes, maxSmallRequest)) {
		return header{}, nil, fmt.Errorf("%w: a request of %d bytes", errProtocol, size)
	}
	if _, err := io.ReadFull(r, prefix[4:]); err != nil {
		return header{}, nil, truncated(err)
	}
	h := header{
		key:         int16(binary.BigEndian.Uint16(prefix[4:])),
		version:     int16(binary.BigEndian.Uint16(prefix[6:])),
		correlation: int32(binary.BigEndian.Uint32(prefix[8:])),
	}
	limit := int64(maxSmallRequest)
	if h.key == keyProduce {
		limit = int64(maxBytes)
	}
	if size > limit {
		return h, nil, fmt.Errorf("%w: a request of %d bytes with api key %d, which may have %d", errProtocol, size, h.key, limit)
	}
	body, err := readBody(r, int(size)-headerLen)
	return h, body, err
}

// firstRead is how much of a body is allocated before any of it has come.
const firstRead = 64 << 10

func readBody(r io.Reader, size int) ([]byte, error) {
	body := make([]byte, min(size, firstRead))
	for have := 0; ; {
		n, err := io.ReadFull(r, body[have:])
		have += n
		if err != nil {
			return nil, truncated(err)
		}
		if have == size {
			return body, nil
		}
		grown := make([]byte, min(size, 4*have))
		copy(grown, body)
		body = grown
	}
}

func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skipClientID returns what follows the client id and, in flexible versions, the header's tagged fields.
func skipClientID(b []byte, flexible bool) ([]byte, error) {
	w := walker{src: b, budget: maxElements}
	w.text(false)
	if flexible {
		w.tags(noTag)
	}
	if w.bad != "" {
		return nil, fmt.Errorf("%w: request header: %s", errProtocol, w.bad)
	}
	return w.src, nil
}
