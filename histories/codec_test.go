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
	Event  *Event      `json:"event"`
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
		Offset: set(j.Offset), From: set(j.From), HW: set(j.HW), Err: j.Err, Fault: j.Fault, Effect: j.Effect, Event: j.Event,
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
		if rapid.Bool().Draw(t, "event") {
			op.Event = genEvent().Draw(t, "said")
		}
		return op
	})
}

func genEvent() *rapid.Generator[*Event] {
	return rapid.Custom(func(t *rapid.T) *Event {
		e := &Event{
			Strike: rapid.IntRange(0, 1<<31-1).Draw(t, "strike"), Instant: rapid.Bool().Draw(t, "instant"),
			Harm: rapid.SampledFrom(append([]Harm{""}, harms[:]...)).Draw(t, "harm"),
		}
		if rapid.Bool().Draw(t, "promote") {
			e.Promote = &Promote{Epoch: rapid.Int64().Draw(t, "epoch"), Safe: rapid.Bool().Draw(t, "safe"), Forced: rapid.Bool().Draw(t, "forced")}
		}
		return e
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
	wipe := NewInject("wipe:leader", Event{Strike: 3, Harm: HarmDisk}, "n1")
	flip := NewInject("corrupt", Event{Strike: 4, Harm: HarmBits, Instant: true}, "n1", "n2")
	heal := NewHeal("wipe:leader", 3, "n1")
	promoted := NewPromoteNote(1, "n2", Promote{Epoch: 7, Forced: true})
	said := New(Info, NemesisProcess, Note)
	said.Event = &Event{}
	for op, want := range map[*Op]string{
		&wipe:     `{"i":0,"t":0,"type":"info","p":-1,"f":"inject","node":"n1","fault":"wipe:leader","event":{"strike":3,"harm":"disk"}}`,
		&flip:     `{"i":0,"t":0,"type":"info","p":-1,"f":"inject","node":"n1,n2","fault":"corrupt","event":{"strike":4,"harm":"bits","instant":true}}`,
		&heal:     `{"i":0,"t":0,"type":"info","p":-1,"f":"heal","node":"n1","fault":"wipe:leader","event":{"strike":3}}`,
		&promoted: `{"i":0,"t":0,"type":"info","p":-1,"f":"note","node":"n2","part":1,"fault":"promote","effect":"epoch 7, leader n2, forced","event":{"promote":{"epoch":7,"safe":false,"forced":true}}}`,
		&said:     `{"i":0,"t":0,"type":"info","p":-1,"f":"note","event":{}}`,
		&send:     `{"i":7,"t":1200345,"type":"ok","p":3,"f":"send","node":"n1","part":1,"value":4711,"offset":120}`,
		&poll:     `{"i":0,"t":0,"type":"ok","p":4,"f":"poll","part":0,"from":119,"hw":121,"msgs":[[119,4700],[120,-7]]}`,
		&kill:     `{"i":0,"t":0,"type":"info","p":-1,"f":"inject","node":"n1,n2","err":"é","fault":"kill:leader","effect":"gone \"at\" once\n\u0001ü` + "\ufffd" + `"}`,
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

// An event is read as strictly as everything else: what a later version or a mistaken writer says
// must not be taken for harmless.
func TestDecodeRefusesEvents(t *testing.T) {
	for event, want := range map[string]string{
		`null`:                                  `key "event": byte 56: want an object`,
		`1`:                                     `key "event": byte 56: want an object`,
		`"wipe"`:                                `key "event": byte 56: want an object`,
		`[]`:                                    `key "event": byte 56: want an object`,
		`{`:                                     `the line ends`,
		`{"strike":1`:                           `the line ends`,
		`{"strike"}`:                            `':' is expected`,
		`{,}`:                                   `'"' is expected`,
		`{"strike":1,}`:                         `'"' is expected`,
		`{"strike":1 "harm":"disk"}`:            `',' is expected`,
		`{"group":1}`:                           `key "event": key "group": byte 65: unknown key`,
		`{"Strike":1}`:                          `key "Strike": byte 66: unknown key`,
		`{"strike":1,"strike":2}`:               `duplicate key "strike"`,
		`{"strike":null}`:                       `key "strike": byte 66: want an integer`,
		`{"strike":"1"}`:                        `key "strike": byte 66: want an integer`,
		`{"strike":1.5}`:                        `not a fraction`,
		`{"strike":-1}`:                         `strike -1 out of range`,
		`{"strike":2147483648}`:                 `strike 2147483648 out of range`,
		`{"harm":"acid"}`:                       `unknown harm "acid" (want one of ["none" "unsynced" "disk" "bits" "writes" "leadership"])`,
		`{"harm":""}`:                           `unknown harm ""`,
		`{"harm":"Disk"}`:                       `unknown harm "Disk"`,
		`{"harm":null}`:                         `key "harm": byte 64: want a string`,
		`{"harm":2}`:                            `key "harm": byte 64: want a string`,
		`{"instant":null}`:                      `key "instant": byte 67: want true or false`,
		`{"instant":1}`:                         `key "instant": byte 67: want true or false`,
		`{"instant":"true"}`:                    `want true or false`,
		`{"instant":tru}`:                       `want true or false`,
		`{"instant":truee}`:                     `',' is expected`,
		`{"promote":null}`:                      `key "promote": byte 67: want an object`,
		`{"promote":"epoch 3"}`:                 `want an object`,
		`{"promote":{}}`:                        `missing key "epoch"`,
		`{"promote":{"epoch":1,"forced":true}}`: `missing key "safe"`,
		`{"promote":{"epoch":1,"safe":true}}`:   `missing key "forced"`,
		`{"promote":{"epoch":1,"leader":"n2"}}`: `key "leader": byte 87: unknown key`,
		`{"promote":{"epoch":1,"epoch":2}}`:     `duplicate key "epoch"`,
		`{"promote":{"epoch":"1"}}`:             `want an integer`,
		`{"promote":{"epoch":1,"safe":"yes"}}`:  `want true or false`,
		`{"promote":{"epoch":1,"safe":null}}`:   `want true or false`,
		`{"promote":{"epoch":99999999999999999999}}`: `out of range`,
	} {
		_, err := DecodeOp([]byte(`{"i":0,"t":0,"type":"info","p":-1,"f":"inject","event":` + event + `}`))
		require.ErrorContains(t, err, want, event)
	}
	_, err := DecodeOp([]byte(`{"i":0,"t":0,"type":"info","p":-1,"f":"inject","event":{"strike":1},"event":{}}`))
	require.ErrorContains(t, err, `duplicate key "event"`)
}

func TestDecodeAcceptsOtherEventLayout(t *testing.T) {
	op, err := DecodeOp([]byte(`{"event" : { "promote" : { "forced" :true , "safe":false,"epoch":-3 } , "instant":false,"strike":0 ,"harm": "d\u0069sk" } ,"i":0,"t":0,"type":"info","p":-1,"f":"note"}`))
	require.NoError(t, err)
	require.Equal(t, &Event{Harm: HarmDisk, Promote: &Promote{Epoch: -3, Forced: true}}, op.Event)
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

// Whatever it is given, DecodeOp returns; and what it accepts, encoding/json reads the same, and
// the encoder writes back.
func FuzzDecodeOp(f *testing.F) {
	f.Add([]byte(`{"i":7,"t":1200345,"type":"ok","p":3,"f":"send","node":"n1","part":1,"value":4711,"offset":120}`))
	f.Add([]byte(`{"i":9,"t":1,"type":"info","p":-1,"f":"inject","msgs":[[119,4700],[120,4711]],"err":"\u00e9\"","hw":3,"from":-1}`))
	f.Add([]byte(`{"i":9,"t":1,"type":"weak","p":1,"f":"x","msgs":[],"effect":"\ud800"}`))
	f.Add([]byte(`{"i":9,"t":1,"type":"info","p":-1,"f":"inject","fault":"wipe","node":"n1,n2","event":{"strike":3,"harm":"disk","instant":true}}`))
	f.Add([]byte(`{"i":9,"t":1,"type":"info","p":-1,"f":"note","event":{"promote":{"epoch":3,"safe":true,"forced":false}},"part":1}`))
	f.Add([]byte(`{"event":{ "harm":"b\u0069ts" ,"Strike":1,"strike":null,"promote":null}}`))
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

// Whatever it is given, Read returns; what it accepts is valid, and is the same history when
// written and read again.
func FuzzReadHistory(f *testing.F) {
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"invoke\",\"p\":0,\"f\":\"send\",\"value\":1}\n{\"i\":1,\"t\":1,\"type\":\"ok\",\"p\":0,\"f\":\"send\",\"value\":1,\"offset\":0}\n"))
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"info\",\"p\":-1,\"f\":\"inject\",\"fault\":\"kill\"}\n{\"i\":1,"))
	f.Add([]byte("\n"))
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"info\",\"p\":-1,\"f\":\"note\"}\n\x00\x00"))
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"info\",\"p\":-1,\"f\":\"inject\",\"fault\":\"wipe\",\"event\":{\"strike\":1,\"harm\":\"disk\"}}\n" +
		"{\"i\":1,\"t\":2,\"type\":\"info\",\"p\":-1,\"f\":\"heal\",\"event\":{\"strike\":1}}\n"))
	f.Add([]byte("{\"i\":0,\"t\":1,\"type\":\"invoke\",\"p\":0,\"f\":\"send\",\"event\":{}}\n"))
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
