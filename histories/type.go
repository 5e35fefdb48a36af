package histories

import "fmt"

// typeNames are the spellings of the JSON Lines format, indexed by Type.
var typeNames = [...]string{Invalid: "invalid", Invoke: "invoke", OK: "ok", Weak: "weak", Info: "info", Fail: "fail"}

// String returns the spelling of the JSON Lines format: "invoke", "ok", "weak", "info" or "fail"; "invalid" for anything else.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return typeNames[Invalid]
}

// ParseType is the inverse of String. "invalid" is not a type that a history can hold, so it is an error too.
func ParseType(s string) (Type, error) {
	if t := parseType([]byte(s)); t != Invalid {
		return t, nil
	}
	return Invalid, fmt.Errorf("unknown op type %q: want invoke, ok, weak, fail or info", s)
}

// parseType is ParseType for the decoder: no allocation, Invalid for an unknown spelling.
func parseType(b []byte) Type {
	for t := Invoke; int(t) < len(typeNames); t++ {
		if typeNames[t] == string(b) {
			return t
		}
	}
	return Invalid
}

// MarshalText implements encoding.TextMarshaler.
func (t Type) MarshalText() ([]byte, error) {
	if t == Invalid || int(t) >= len(typeNames) {
		return nil, fmt.Errorf("op type %d has no spelling", t)
	}
	return []byte(typeNames[t]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Type) UnmarshalText(b []byte) error {
	v, err := ParseType(string(b))
	if err != nil {
		return err
	}
	*t = v
	return nil
}

// Completion reports whether t ends an operation.
func (t Type) Completion() bool { return t == OK || t == Weak || t == Info || t == Fail }
