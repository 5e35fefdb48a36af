package checker

import "fmt"

// String returns the spelling of the command line's output: "unknown", "valid" or "invalid".
func (v Verdict) String() string {
	switch v {
	case Valid:
		return "valid"
	case Invalid:
		return "invalid"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Verdict) UnmarshalText(b []byte) error {
	for _, known := range []Verdict{Unknown, Valid, Invalid} {
		if known.String() == string(b) {
			*v = known
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %q: want unknown, valid or invalid", b)
}

// Worse returns the one of two verdicts that decides: invalid over unknown over valid, as in jepsen's merge-valid.
func Worse(a, b Verdict) Verdict {
	if a.rank() >= b.rank() {
		return a
	}
	return b
}

// rank orders verdicts from harmless to bad. An unknown Verdict value ranks as Unknown.
func (v Verdict) rank() int {
	switch v {
	case Valid:
		return 0
	case Invalid:
		return 2
	}
	return 1
}
