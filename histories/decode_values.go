package histories

import (
	"encoding/json"
	"math"
	"unicode/utf8"
)

// The values of the fields: integers, lists of messages and texts. For events see decode_event.go.

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

// msgs decodes [[offset,value],...]. An empty list is an empty slice, not nil, so that encoding
// gives the list back.
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

// rawString returns the bytes between the quotes of a string without escapes: keys and types have
// none.
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
