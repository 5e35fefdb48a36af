package histories

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// jsonOp is the format as encoding/json would have it: the oracle of encoder and decoder.
type jsonOp struct {
	I      *int64      `json:"i"`
	T      *int64      `json:"t"`
	Type   *Type       `json:"type"`
	P      *int        `json:"p"`
	F      *string     `json:"f"`
	Node   string      `json:"node"`
	Part   int32       `json:"part"`
	Value  *int64      `json:"value"`
	Offset *int64      `json:"offset"`
	From   *int64      `json:"from"`
	HW     *int64      `json:"hw"`
	Msgs   *[][2]int64 `json:"msgs"`
	Err    string      `json:"err"`
	Fault  string      `json:"fault"`
	Effect string      `json:"effect"`
}

// slow decodes a line with encoding/json.
func slow(line []byte) (Op, error) {
	var j jsonOp
	if err := json.Unmarshal(line, &j); err != nil {
		return Op{}, err
	}
	set := func(p *int64) int64 {
		if p == nil {
			return Unset
		}
		return *p
	}
	op := Op{
		Index: set(j.I), Time: set(j.T), Type: *j.Type, Process: *j.P, F: *j.F, Node: j.Node, Part: j.Part, Value: set(j.Value),
		Offset: set(j.Offset), From: set(j.From), HW: set(j.HW), Err: j.Err, Fault: j.Fault, Effect: j.Effect,
	}
	if j.Msgs != nil {
		op.Msgs = []Message{}
		for _, m := range *j.Msgs {
			op.Msgs = append(op.Msgs, Message{m[0], m[1]})
		}
	}
	return op, nil
}

func genOp() *rapid.Generator[Op] {
	return rapid.Custom(func(t *rapid.T) Op {
		num := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 100))
		str := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9:/, "\\\n\x00-\x1f]*`))
		op := Op{
			Index: num.Draw(t, "i"), Time: num.Draw(t, "t"), Type: Type(rapid.IntRange(1, 5).Draw(t, "type")),
			Process: rapid.IntRange(-1, 1<<31-1).Draw(t, "p"), F: str.Draw(t, "f"), Node: str.Draw(t, "node"), Part: rapid.Int32().Draw(t, "part"),
			Value: num.Draw(t, "value"), Offset: num.Draw(t, "offset"), From: num.Draw(t, "from"), HW: num.Draw(t, "hw"),
			Err: str.Draw(t, "err"), Fault: str.Draw(t, "fault"), Effect: str.Draw(t, "effect"),
		}
		if n := rapid.IntRange(-1, 5).Draw(t, "msgs"); n >= 0 {
			op.Msgs = []Message{}
			for range n {
				op.Msgs = append(op.Msgs, Message{num.Draw(t, "o"), num.Draw(t, "v")})
			}
		}
		return op
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := genOp().Draw(t, "op")
		line := AppendOp(nil, &op)
		require.True(t, utf8.Valid(line))
		require.NotContains(t, string(line), "\n")
		got, err := DecodeOp(line)
		require.NoError(t, err)
		require.Equal(t, op, got)
		oracle, err := slow(line)
		require.NoError(t, err)
		require.Equal(t, op, oracle, "encoding/json reads it the same")
	})
}

func TestFormat(t *testing.T) {
	send := New(OK, 3, Send)
	send.Index, send.Time, send.Node, send.Part, send.Value, send.Offset = 7, 1200345, "n1", 1, 4711, 120
	poll := New(OK, 4, Poll)
	poll.From, poll.HW, poll.Msgs = 119, 121, []Message{{119, 4700}, {120, -7}}
	kill := New(Info, NemesisProcess, Inject)
	kill.Node, kill.Fault, kill.Effect, kill.Err = "n1,n2", "kill:leader", "gone \"at\" once\n\x01ü\xff", "é"
	for op, want := range map[*Op]string{
		&send: `{"i":7,"t":1200345,"type":"ok","p":3,"f":"send","node":"n1","part":1,"value":4711,"offset":120}`,
		&poll: `{"i":0,"t":0,"type":"ok","p":4,"f":"poll","part":0,"from":119,"hw":121,"msgs":[[119,4700],[120,-7]]}`,
		&kill: `{"i":0,"t":0,"type":"info","p":-1,"f":"inject","node":"n1,n2","err":"é","fault":"kill:leader","effect":"gone \"at\" once\n\u0001ü` + "\ufffd" + `"}`,
	} {
		require.Equal(t, want, string(AppendOp(nil, op)))
	}
}

func TestDecodeAcceptsOtherLayout(t *testing.T) {
	op, err := DecodeOp([]byte(" { \"f\" : \"p\\u00f6ll\" ,\"msgs\":[ [ 1 , -2 ] ,[3,4] ], \"p\":-0,\"type\":\"ok\",\"t\":9223372036854775807 , \"i\":-9223372036854775808 } \r\n"))
	require.NoError(t, err)
	want := New(OK, 0, "pöll")
	want.Index, want.Time, want.Msgs = -1<<63, 1<<63-1, []Message{{1, -2}, {3, 4}}
	require.Equal(t, want, op)
}

func TestDecodeRefuses(t *testing.T) {
	good := `{"i":0,"t":0,"type":"ok","p":0,"f":"send"`
	for line, want := range map[string]string{
		``:                                          "the line ends",
		`[]`:                                        "expected",
		`{}`:                                        `missing key "i"`,
		`{"i":0}`:                                   `missing key "t"`,
		good[:len(good)-9]:                          "the line ends",
		`{"i":0,"t":0,"type":"ok","p":0}`:           `missing key "f"`,
		good + `,"x":1}`:                            `unknown key "x"`,
		good + `,"F":1}`:                            `unknown key "F"`,
		good + `,"f":"poll"}`:                       `duplicate key "f"`,
		good + `,"value":1.5}`:                      "not a fraction",
		good + `,"value":1e3}`:                      "exponent",
		good + `,"value":NaN}`:                      "want an integer",
		good + `,"value":null}`:                     "want an integer",
		good + `,"value":"1"}`:                      "want an integer",
		good + `,"value":01}`:                       "leading zero",
		good + `,"value":-}`:                        "want an integer",
		good + `,"value":9223372036854775808}`:      "out of range",
		good + `,"value":-9223372036854775809}`:     "out of range",
		good + `,"value":99999999999999999999}`:     "out of range",
		good + `,"part":2147483648}`:                "out of range",
		good + `,"node":1}`:                         "want a string",
		good + `,"node":null}`:                      "want a string",
		good + `,"node":"a}`:                        "ends inside a string",
		good + `,"node":"\`:                         "ends inside a string",
		good + `,"node":"\x"}`:                      "bad string",
		good + ",\"node\":\"\xff\"}":                "not UTF-8",
		good + ",\"node\":\"\t\"}":                  "control character",
		good + `,"msgs":null}`:                      `expected`,
		good + `,"msgs":[1]}`:                       "expected",
		good + `,"msgs":[[1]]}`:                     "expected",
		good + `,"msgs":[[1,2,3]]}`:                 "expected",
		good + `,"msgs":[[1,2],]}`:                  "expected",
		good + `,}`:                                 "expected",
		good + `} {`:                                "text after the object",
		strings.Replace(good, "ok", "yes", 1) + "}": `unknown op type "yes"`,
		strings.Replace(good, "ok", "invalid", 1) + "}":           `unknown op type "invalid"`,
		strings.Replace(good, `"p":0`, `"p":-2`, 1) + "}":         "process -2 out of range",
		strings.Replace(good, `"p":0`, `"p":4294967296`, 1) + "}": "out of range",
	} {
		_, err := DecodeOp([]byte(line))
		require.ErrorContains(t, err, want, line)
	}
}

// What the decoder hands out is never overwritten by what it decodes later.
func TestDecoderKeepsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d decoder
		ops := rapid.SliceOfN(genOp(), 1, 30).Draw(t, "ops")
		got := make([]Op, len(ops))
		for i := range ops {
			line := AppendOp(nil, &ops[i])
			require.NoError(t, d.decode(line, &got[i]))
			clear(line)
		}
		require.Equal(t, ops, got)
	})
}

// Whatever it is given, DecodeOp returns; and what it accepts, encoding/json reads the same, and the encoder writes back.
func FuzzDecodeOp(f *testing.F) {
	f.Add([]byte(`{"i":7,"t":1200345,"type":"ok","p":3,"f":"send","node":"n1","part":1,"value":4711,"offset":120}`))
	f.Add([]byte(`{"i":9,"t":1,"type":"info","p":-1,"f":"inject","msgs":[[119,4700],[120,4711]],"err":"\u00e9\"","hw":3,"from":-1}`))
	f.Add([]byte(`{"i":9,"t":1,"type":"weak","p":1,"f":"x","msgs":[],"effect":"\ud800"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		op, err := DecodeOp(line)
		if err != nil {
			return
		}
		oracle, err := slow(line)
		require.NoError(t, err)
		require.Equal(t, oracle, op)
		again, err := DecodeOp(AppendOp(nil, &op))
		require.NoError(t, err)
		require.Equal(t, op, again)
	})
}

// Whatever it is given, Read returns; what it accepts is valid, and is the same history when written and read again.
func FuzzReadHistory(f *testing.F) {
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"invoke\",\"p\":0,\"f\":\"send\",\"value\":1}\n{\"i\":1,\"t\":1,\"type\":\"ok\",\"p\":0,\"f\":\"send\",\"value\":1,\"offset\":0}\n"))
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"info\",\"p\":-1,\"f\":\"inject\",\"fault\":\"kill\"}\n{\"i\":1,"))
	f.Add([]byte("\n"))
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"info\",\"p\":-1,\"f\":\"note\"}\n\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, w, err := Read(bytes.NewReader(file))
		if err != nil {
			return
		}
		require.NoError(t, Validate(h))
		written := bytes.TrimRight(file, "\x00")
		require.Equal(t, len(written) > 0 && written[len(written)-1] != '\n', w.Any(), "a torn line is told, room for more is not")
		var again bytes.Buffer
		require.NoError(t, Write(&again, h))
		h2, w, err := Read(&again)
		require.NoError(t, err)
		require.False(t, w.Any())
		require.Equal(t, h, h2)
	})
}

func TestTypes(t *testing.T) {
	for _, typ := range []Type{Invoke, OK, Weak, Info, Fail} {
		back, err := ParseType(typ.String())
		require.NoError(t, err)
		require.Equal(t, typ, back)
		require.Equal(t, typ != Invoke, typ.Completion())
	}
	require.Equal(t, "invalid", Type(77).String())
	_, err := ParseType("invalid")
	require.Error(t, err)
	_, err = Invalid.MarshalText()
	require.Error(t, err)
}
