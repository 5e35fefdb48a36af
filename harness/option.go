package harness

import (
	"fmt"
	"slices"
	"strings"
)

// Option is one key of --set, as people read about it.
type Option struct {
	Name    string   `json:"name"`
	Modes   []string `json:"modes"` // that know it; nil: all
	Default string   `json:"default"`
	// Values are all that it may be, where they can be listed: another one is refused before the
	// run. nil: whoever reads it says what is wrong with it.
	Values  []string `json:"values,omitempty"`
	Allowed string   `json:"allowed"` // for people; "": Values
	Doc     string   `json:"doc"`
}

// In reports whether a mode knows the option.
func (o Option) In(mode string) bool { return len(o.Modes) == 0 || slices.Contains(o.Modes, mode) }

// What says what the option may be.
func (o Option) What() string {
	if o.Allowed != "" {
		return o.Allowed
	}
	return strings.Join(o.Values, ", ")
}

// Check says what is wrong with a value, as far as Values tell.
func (o Option) Check(value string) error {
	if len(o.Values) == 0 || slices.Contains(o.Values, value) {
		return nil
	}
	return fmt.Errorf("option %s=%q: allowed are %s", o.Name, value, o.What())
}
