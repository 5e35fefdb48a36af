package kafka

import (
	"encoding/binary"
	"fmt"
	"math"
)

// kmsg trusts counts: it allocates an array before it has seen the elements (100 bytes for each one byte of input), and goes
// through four thousand million tagged fields when a request says that it has so many. So every request is walked along
// its schema before kmsg decodes it: every count must be honest, and their sum within maxElements.

// maxElements is how many array elements and tagged fields one request may have.
const maxElements = 1 << 17

// kind is how a field is laid out.
type kind uint8

const (
	nothing kind = iota // takes no bytes
	fixed               // size bytes
	text                // string or nullable string
	blob                // bytes
	array               // array of structs, or of elem's only field when it is plain
)

// field is one field of a request, present in versions from since to until (0: all).
type field struct {
	kind  kind
	size  int
	elem  []field
	plain bool // elements are bare values, not structs: no tagged fields behind each
	since int16
	until int16
}

// schema describes the requests of one API.
type schema struct {
	fields   []field
	flexible int16  // first flexible version
	refused  uint32 // a top-level tagged field that is not accepted; noTag for none
}

const noTag = math.MaxUint32

func bytesN(n int) field                 { return field{kind: fixed, size: n} }
func str() field                         { return field{kind: text} }
func list(elem ...field) field           { return field{kind: array, elem: elem} }
func plainList(elem field) field         { return field{kind: array, elem: []field{elem}, plain: true} }
func (f field) from(version int16) field { f.since = version; return f }
func (f field) upTo(version int16) field { f.until = version; return f }

// check returns an error when body is no request of this schema in that version. Bytes behind the request are ignored, as Kafka does.
func (s *schema) check(body []byte, version int16) error {
	w := walker{src: body, version: version, flexible: version >= s.flexible, budget: maxElements}
	w.fields(s.fields)
	if w.flexible {
		w.tags(s.refused)
	}
	if w.bad != "" {
		return fmt.Errorf("%w: %s", errProtocol, w.bad)
	}
	return nil
}

// walker goes through a request without keeping anything. Once bad is set, it stands still.
type walker struct {
	src      []byte
	version  int16
	flexible bool
	budget   int64
	bad      string
}

func (w *walker) fail(why string) {
	if w.bad == "" {
		w.bad = why
	}
	w.src = nil
}

func (w *walker) skip(n int64) {
	if n < 0 || n > int64(len(w.src)) {
		w.fail("a field is longer than what is left")
		return
	}
	w.src = w.src[n:]
}

func (w *walker) uvarint() uint32 {
	v, n := binary.Uvarint(w.src)
	if n <= 0 || v > math.MaxUint32 {
		w.fail("a bad varint")
		return 0
	}
	w.src = w.src[n:]
	return uint32(v)
}

func (w *walker) int(size int) int64 {
	if len(w.src) < size {
		w.fail("a length is missing")
		return 0
	}
	var v int64
	if size == 2 {
		v = int64(int16(binary.BigEndian.Uint16(w.src)))
	} else {
		v = int64(int32(binary.BigEndian.Uint32(w.src)))
	}
	w.src = w.src[size:]
	return v
}

// length reads the length of a string, of bytes or of an array; null is 0.
func (w *walker) length(size int, flexible bool) int64 {
	n := int64(0)
	if flexible {
		n = int64(w.uvarint()) - 1
	} else {
		n = w.int(size)
	}
	return max(n, 0)
}

func (w *walker) text(flexible bool) { w.skip(w.length(2, flexible)) }

func (w *walker) fields(fs []field) {
	for i := range fs {
		f := &fs[i]
		if w.bad != "" {
			return
		}
		if w.version < f.since || (f.until != 0 && w.version > f.until) {
			continue
		}
		switch f.kind {
		case fixed:
			w.skip(int64(f.size))
		case text:
			w.text(w.flexible)
		case blob:
			w.skip(w.length(4, w.flexible))
		case array:
			w.array(f)
		case nothing:
		}
	}
}

func (w *walker) array(f *field) {
	n := w.length(4, w.flexible)
	if n > int64(len(w.src)) || !w.spend(n) {
		w.fail("an array has more elements than can be")
		return
	}
	for ; n > 0 && w.bad == ""; n-- {
		w.fields(f.elem)
		if w.flexible && !f.plain {
			w.tags(noTag)
		}
	}
}

func (w *walker) tags(refused uint32) {
	n := int64(w.uvarint())
	if !w.spend(n) {
		w.fail("more tagged fields than can be")
		return
	}
	for ; n > 0 && w.bad == ""; n-- {
		if tag := w.uvarint(); tag == refused && refused != noTag {
			w.fail(fmt.Sprintf("tagged field %d is for brokers only", tag))
			return
		}
		w.skip(int64(w.uvarint()))
	}
}

func (w *walker) spend(n int64) bool {
	w.budget -= n
	return w.budget >= 0
}
