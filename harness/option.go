package harness

import "slices"

// Option is one key of --set, as people read about it.
type Option struct {
	Name    string   `json:"name"`
	Modes   []string `json:"modes"` // that know it; nil: all
	Default string   `json:"default"`
	Allowed string   `json:"allowed"`
	Doc     string   `json:"doc"`
}

// In reports whether a mode knows the option.
func (o Option) In(mode string) bool { return len(o.Modes) == 0 || slices.Contains(o.Modes, mode) }
