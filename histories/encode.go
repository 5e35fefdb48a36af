package histories

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// The JSON Lines format, one op per line, fields in this order, no spaces:
//
//	{"i":7,"t":1200345,"type":"ok","p":3,"f":"send","node":"n1","part":1,"value":4711,"offset":120}
//	{"i":9,"t":1300345,"type":"ok","p":4,"f":"poll","node":"n1","part":1,"from":119,"hw":121,"msgs":[[119,4700],[120,4711]]}
//	{"i":8,"t":1250000,"type":"info","p":-1,"f":"inject","node":"n1","fault":"kill:leader","event":{"strike":1,"harm":"none"}}
//
// i, t, type, p and f are always there. An absent value, offset, from or hw is Unset, an absent
// part is 0, an absent text is empty, absent msgs and an absent event are nil. part is left out
// only of a nemesis op that has partition 0, which mostly means none.

// AppendOp appends op in the JSON Lines format to b, without a newline, and returns the extended
// slice. What is not valid UTF-8 in a text becomes U+FFFD, as in encoding/json.
func AppendOp(b []byte, op *Op) []byte {
	b = strconv.AppendInt(append(b, `{"i":`...), op.Index, 10)
	b = strconv.AppendInt(append(b, `,"t":`...), op.Time, 10)
	b = append(append(append(b, `,"type":"`...), op.Type.String()...), '"')
	b = strconv.AppendInt(append(b, `,"p":`...), int64(op.Process), 10)
	b = appendString(append(b, `,"f":`...), op.F)
	b = appendText(b, `,"node":`, op.Node)
	if op.Process != NemesisProcess || op.Part != 0 {
		b = strconv.AppendInt(append(b, `,"part":`...), int64(op.Part), 10)
	}
	b = appendSet(b, `,"value":`, op.Value)
	b = appendSet(b, `,"offset":`, op.Offset)
	b = appendSet(b, `,"from":`, op.From)
	b = appendSet(b, `,"hw":`, op.HW)
	if op.Msgs != nil {
		b = appendMsgs(append(b, `,"msgs":`...), op.Msgs)
	}
	b = appendText(b, `,"err":`, op.Err)
	b = appendText(b, `,"fault":`, op.Fault)
	b = appendText(b, `,"effect":`, op.Effect)
	if op.Event != nil {
		b = appendEvent(append(b, `,"event":`...), op.Event)
	}
	return append(b, '}')
}

// appendEvent appends an event. There are a few of them in a history, so encoding/json is fast
// enough.
func appendEvent(b []byte, e *Event) []byte {
	text, err := json.Marshal(e)
	if err != nil { // cannot happen: it has numbers, texts and truth values only
		panic(fmt.Sprintf("encoding an event: %v", err))
	}
	return append(b, text...)
}

func appendSet(b []byte, key string, v int64) []byte {
	if v == Unset {
		return b
	}
	return strconv.AppendInt(append(b, key...), v, 10)
}

func appendText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, key...), s)
}

func appendMsgs(b []byte, msgs []Message) []byte {
	b = append(b, '[')
	for i, m := range msgs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '['), m.Offset, 10)
		b = strconv.AppendInt(append(b, ','), m.Value, 10)
		b = append(b, ']')
	}
	return append(b, ']')
}

// appendString appends s as a JSON string. Texts are names and error messages, so the common case
// is plain ASCII.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = utf8.AppendRune(b, utf8.RuneError)
		}
		i += size
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// Write writes h in the JSON Lines format. It does not validate: use Validate first where h comes
// from outside.
func Write(w io.Writer, h Reader) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	var line []byte
	for op := range h.Ops() {
		line = append(AppendOp(line[:0], op), '\n')
		if _, err := bw.Write(line); err != nil {
			return fmt.Errorf("writing op %d of the history: %w", op.Index, err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("writing the end of the history: %w", err)
	}
	return nil
}
