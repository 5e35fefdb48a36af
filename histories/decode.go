package histories

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"
)

// maxInterned bounds how many different texts a decoder remembers to share; beyond it each text is its own string.
const maxInterned = 4096

// arenaMsgs is how many messages are allocated at once. Polls of a few messages would otherwise be most allocations.
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

	required = hasIndex | hasTime | hasType | hasProcess | hasF
)

// decoder decodes lines. It shares equal texts and allocates messages in chunks; what it hands out is never reused, so that a copy
// of an Op stays valid. It is not for concurrent use.
type decoder struct {
	line    []byte
	at      int
	texts   map[string]string
	scratch []Message
	arena   []Message
}

// DecodeOp decodes one line, with or without its newline. It is strict: an unknown or duplicate key, a missing i, t, type, p or f, a value of
// another type (null and fractions included) or anything after the object is an error that names the byte position.
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
	}
	return err
}

// requiredNames are the keys of the required fields, in the order of their bits.
var requiredNames = [...]string{"i", "t", "type", "p", "f"}

// missingName returns the key of the first of the missing required fields.
func missingName(missing int) string { return requiredNames[bits.TrailingZeros(uint(missing))] }

// fieldOf returns the field that key names, 0 for none. A switch, as this is a third of all decoding otherwise.
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

// integer decodes a JSON number without fraction or exponent.
func (d *decoder) integer() (int64, error) {
	neg := false
	if d.peek() == '-' {
		neg = true
		d.at++
	}
	start, n := d.at, uint64(0)
	for ; d.at < len(d.line); d.at++ {
		c := d.line[d.at] - '0'
		if c > 9 {
			break
		}
		if n > (math.MaxUint64-9)/10 {
			return 0, d.errorf("number out of range")
		}
		n = n*10 + uint64(c)
	}
	switch {
	case d.at == start:
		return 0, d.errorf("want an integer")
	case d.line[start] == '0' && d.at > start+1:
		return 0, d.errorf("number with leading zero")
	case d.peek() == '.' || d.peek() == 'e' || d.peek() == 'E':
		return 0, d.errorf("want an integer, not a fraction or an exponent")
	case neg && n <= 1<<63:
		return -int64(n), nil // 1<<63 wraps to the least int64, as it should
	case n > math.MaxInt64:
		return 0, d.errorf("number out of range")
	}
	return int64(n), nil
}

func (d *decoder) process() (int, error) {
	n, err := d.integer()
	if err != nil {
		return 0, err
	}
	if n < NemesisProcess || n > math.MaxInt32 {
		return 0, d.errorf("process %d out of range", n)
	}
	return int(n), nil
}

func (d *decoder) part() (int32, error) {
	n, err := d.integer()
	if err != nil {
		return 0, err
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return 0, d.errorf("partition %d out of range", n)
	}
	return int32(n), nil
}

func (d *decoder) opType() (Type, error) {
	s, err := d.rawString()
	if err != nil {
		return Invalid, err
	}
	t := parseType(s)
	if t == Invalid {
		return Invalid, d.errorf("unknown op type %q", s)
	}
	return t, nil
}

// msgs decodes [[offset,value],...]. An empty list is an empty slice, not nil, so that encoding gives the list back.
func (d *decoder) msgs() ([]Message, error) {
	if err := d.expect('['); err != nil {
		return nil, err
	}
	d.scratch = d.scratch[:0]
	d.space()
	if d.peek() == ']' {
		d.at++
		return []Message{}, nil
	}
	for {
		m, err := d.message()
		if err != nil {
			return nil, err
		}
		d.scratch = append(d.scratch, m)
		d.space()
		if d.peek() == ']' {
			d.at++
			return d.keep(d.scratch), nil
		}
		if err := d.expect(','); err != nil {
			return nil, err
		}
		d.space()
	}
}

func (d *decoder) message() (m Message, err error) {
	if err = d.expect('['); err != nil {
		return m, err
	}
	d.space()
	if m.Offset, err = d.integer(); err != nil {
		return m, err
	}
	d.space()
	if err = d.expect(','); err != nil {
		return m, err
	}
	d.space()
	if m.Value, err = d.integer(); err != nil {
		return m, err
	}
	d.space()
	return m, d.expect(']')
}

// keep copies msgs out of the scratch buffer.
func (d *decoder) keep(msgs []Message) []Message {
	if len(msgs) > len(d.arena) {
		if len(msgs) > arenaMsgs/4 {
			return append([]Message(nil), msgs...)
		}
		d.arena = make([]Message, arenaMsgs)
	}
	n := copy(d.arena, msgs)
	kept := d.arena[:n:n]
	d.arena = d.arena[n:]
	return kept
}

// rawString returns the bytes between the quotes of a string without escapes: keys and types have none.
func (d *decoder) rawString() ([]byte, error) {
	if err := d.expect('"'); err != nil {
		return nil, err
	}
	start := d.at
	for ; d.at < len(d.line); d.at++ {
		switch c := d.line[d.at]; {
		case c == '"':
			d.at++
			return d.line[start : d.at-1], nil
		case c == '\\' || c < ' ' || c >= utf8.RuneSelf:
			return nil, d.errorf("unexpected %q", c)
		}
	}
	return nil, d.errorf("the line ends inside a string")
}

// text decodes a string value and shares it with equal ones.
func (d *decoder) text() (string, error) {
	if d.peek() != '"' {
		return "", d.errorf("want a string")
	}
	start, plain := d.at, true
	for d.at++; d.at < len(d.line); d.at++ {
		switch c := d.line[d.at]; {
		case c == '"':
			d.at++
			raw := d.line[start:d.at]
			if plain {
				return d.intern(raw[1 : len(raw)-1]), nil
			}
			return d.unquote(raw)
		case c == '\\':
			plain = false
			d.at++
		case c < ' ':
			return "", d.errorf("control character in a string")
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	return "", d.errorf("the line ends inside a string")
}

// unquote is the slow path of text: escapes and non-ASCII characters.
func (d *decoder) unquote(raw []byte) (string, error) {
	if !utf8.Valid(raw) {
		return "", d.errorf("a string that is not UTF-8")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", d.errorf("bad string: %v", err)
	}
	return d.intern([]byte(s)), nil
}

func (d *decoder) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := d.texts[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.texts == nil {
		d.texts = make(map[string]string)
	}
	if len(d.texts) < maxInterned {
		d.texts[s] = s
	}
	return s
}
