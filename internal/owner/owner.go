// Package owner says which process made a thing that outlives it (a container, a directory), and
// what has become of that process, so that what dead processes left behind can be removed, and what
// living ones need is kept.
//
// An owner is written down beside the thing, as String spells it. Whoever removes things asks for
// the owner's Fate, and removes only what belongs to the dead: of a process that cannot be looked
// up from here (another machine, another PID namespace) nothing is known.
package owner

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/assay-project/assay/internal/osproc"
)

// Owner identifies a process so well that another one with the same number is not taken for it.
type Owner struct {
	Host  string // machine
	Boot  string // this boot of it; "" where unknown
	Space string // PID namespace; "" where there are none
	PID   int
	Start string // when the process started, in the system's own unit; "" where unknown
}

// Self is the owner that this process is.
func Self() Owner {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	pid := os.Getpid()
	return Owner{Host: strings.ReplaceAll(host, "/", "_"), Boot: osproc.BootID(), Space: osproc.Space(), PID: pid, Start: osproc.Start(pid)}
}

// String is the form to write down; Parse reads it.
func (o Owner) String() string {
	return strings.Join([]string{o.Host, o.Boot, o.Space, strconv.Itoa(o.PID), o.Start}, "/")
}

// Parse reads what String wrote.
func Parse(s string) (Owner, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 5 {
		return Owner{}, fmt.Errorf("owner %q has %d parts, want 5", s, len(parts))
	}
	pid, err := strconv.Atoi(parts[3])
	if err != nil || pid <= 0 {
		return Owner{}, fmt.Errorf("owner %q names no process", s)
	}
	return Owner{Host: parts[0], Boot: parts[1], Space: parts[2], PID: pid, Start: parts[4]}, nil
}

// Fate says what is known of an owner.
type Fate uint8

// What can be known of an owner.
const (
	Unknown Fate = iota // it lives, or lived, where this process cannot look, or too little is known
	Alive
	Dead
)

// Fate looks o up from a process that is me. What one of them does not know proves nothing: o may
// have been written down by another version, or by another system that goes by the same name.
func (o Owner) Fate(me Owner) Fate {
	if o.Host != me.Host {
		return Unknown
	}
	if o.Boot != "" && me.Boot != "" && o.Boot != me.Boot {
		return Dead // the machine was started anew since
	}
	if o.Space != me.Space {
		return Unknown
	}
	start := osproc.Start(o.PID) // first: a process that ends between the two is not alive
	switch {
	case !osproc.Alive(o.PID):
		return Dead
	case start == o.Start:
		return Alive
	case start == "" || o.Start == "":
		return Unknown
	default:
		return Dead // its number is another process's
	}
}
