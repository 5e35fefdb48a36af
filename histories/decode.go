package histories

import (
	"fmt"
	"math/bits"
)

// maxInterned bounds how many different texts a decoder remembers to share; beyond it each text is
// its own string.
const maxInterned = 4096

// arenaMsgs is how many messages are allocated at once. Polls of a few messages would otherwise be
// most allocations.
const arenaMsgs = 1024

// Fields of a line, as bits, to find duplicates and what is missing.
const (
	hasIndex = 1 << iota
	hasTime
	hasType
	hasProcess
	hasF
	hasNode
	hasPart
	hasValue
	hasOffset
	hasFrom
	hasHW
	hasMsgs
	hasErr
	hasFault
	hasEffect
	hasEvent

	required = hasIndex | hasTime | hasType | hasProcess | hasF
)

// decoder decodes lines. It shares equal texts and allocates messages in chunks; what it hands out
// is never reused, so that a copy of an Op stays valid. It is not for concurrent use.
type decoder struct {
	line    []byte
	at      int
	texts   map[string]string
	scratch []Message
	arena   []Message
}

// DecodeOp decodes one line, with or without its newline. It is strict: an unknown or duplicate
// key, a missing i, t, type, p or f, a value of another type (null and fractions included) or
// anything after the object is an error that names the byte position.
func DecodeOp(line []byte) (Op, error) {
	var (
		d  decoder
		op Op
	)
	err := d.decode(line, &op)
	return op, err
}

// decode sets *op to what line says. On an error *op is undefined.
func (d *decoder) decode(line []byte, op *Op) error {
	d.line, d.at = line, 0
	*op = Op{Value: Unset, Offset: Unset, From: Unset, HW: Unset}
	seen := 0
	d.space()
	if err := d.expect('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		d.space()
		if first && d.peek() == '}' {
			d.at++
			break
		}
		if err := d.member(op, &seen); err != nil {
			return err
		}
		d.space()
		if d.peek() == '}' {
			d.at++
			break
		}
		if err := d.expect(','); err != nil {
			return err
		}
	}
	d.space()
	if d.at < len(d.line) {
		return d.errorf("text after the object")
	}
	if missing := required &^ seen; missing != 0 {
		return fmt.Errorf("missing key %q", missingName(missing))
	}
	return nil
}

// member decodes `"key":value` into op.
func (d *decoder) member(op *Op, seen *int) error {
	key, err := d.rawString()
	if err != nil {
		return err
	}
	field := fieldOf(key)
	if field == 0 {
		return d.errorf("unknown key %q", key)
	}
	if *seen&field != 0 {
		return d.errorf("duplicate key %q", key)
	}
	*seen |= field
	d.space()
	if err := d.expect(':'); err != nil {
		return err
	}
	d.space()
	if err := d.value(field, op); err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	return nil
}

// value decodes the value of one field.
func (d *decoder) value(field int, op *Op) (err error) {
	switch field {
	case hasIndex:
		op.Index, err = d.integer()
	case hasTime:
		op.Time, err = d.integer()
	case hasType:
		op.Type, err = d.opType()
	case hasProcess:
		op.Process, err = d.process()
	case hasF:
		op.F, err = d.text()
	case hasNode:
		op.Node, err = d.text()
	case hasPart:
		op.Part, err = d.part()
	case hasValue:
		op.Value, err = d.integer()
	case hasOffset:
		op.Offset, err = d.integer()
	case hasFrom:
		op.From, err = d.integer()
	case hasHW:
		op.HW, err = d.integer()
	case hasMsgs:
		op.Msgs, err = d.msgs()
	case hasErr:
		op.Err, err = d.text()
	case hasFault:
		op.Fault, err = d.text()
	case hasEffect:
		op.Effect, err = d.text()
	case hasEvent:
		op.Event, err = d.event()
	}
	return err
}

// requiredNames are the keys of the required fields, in the order of their bits.
var requiredNames = [...]string{"i", "t", "type", "p", "f"}

// missingName returns the key of the first of the missing required fields.
func missingName(missing int) string { return requiredNames[bits.TrailingZeros(uint(missing))] }

// fieldOf returns the field that key names, 0 for none. A switch, as this is a third of all
// decoding otherwise.
func fieldOf(key []byte) int {
	switch string(key) {
	case "i":
		return hasIndex
	case "t":
		return hasTime
	case "type":
		return hasType
	case "p":
		return hasProcess
	case "f":
		return hasF
	case "node":
		return hasNode
	case "part":
		return hasPart
	case "value":
		return hasValue
	case "offset":
		return hasOffset
	case "from":
		return hasFrom
	case "hw":
		return hasHW
	case "msgs":
		return hasMsgs
	case "err":
		return hasErr
	case "fault":
		return hasFault
	case "effect":
		return hasEffect
	case "event":
		return hasEvent
	}
	return 0
}

func (d *decoder) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", d.at+1, fmt.Sprintf(format, args...))
}

func (d *decoder) space() {
	if d.at < len(d.line) && d.line[d.at] > ' ' {
		return // nearly always: the encoder writes none
	}
	for d.at < len(d.line) {
		switch d.line[d.at] {
		case ' ', '\t', '\r', '\n':
			d.at++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	if d.at < len(d.line) {
		return d.line[d.at]
	}
	return 0
}

func (d *decoder) expect(c byte) error {
	if d.at >= len(d.line) {
		return d.errorf("the line ends where %q is expected", c)
	}
	if d.line[d.at] != c {
		return d.errorf("%q where %q is expected", d.line[d.at], c)
	}
	d.at++
	return nil
}
