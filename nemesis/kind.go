package nemesis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// Timing says how a fault relates to time.
type Timing string

const (
	// Instant faults happen at one moment. What they leave behind (a dead process) is repaired a
	// moment later.
	Instant Timing = "instant"
	// Lasting faults go on until they are healed.
	Lasting Timing = "lasting"
)

// Info describes a fault to whoever chooses one.
type Info struct {
	Name   string
	Kind   Timing
	Roles  []string // whom it may strike; the first is the default
	Shapes []string // the first is the default; empty: it has none
	// Clients: with-clients may stand after a shape, or alone, and sets Spec.WithClients.
	Clients bool
	Doc     string // one line
}

// clone returns a copy that shares no slice with i.
func (i Info) clone() Info {
	i.Roles, i.Shapes = slices.Clone(i.Roles), slices.Clone(i.Shapes)
	return i
}

// Kind is one fault that can be chosen.
type Kind struct {
	Info
	// Harm is what the fault can destroy. It is recorded with each strike, and the judges rely on
	// it: a loss after a strike that claims less harm than it does counts against the system. After
	// a strike that harms the disk or its unsynced bytes, the nemesis watches until its victims
	// have caught up, and notes it.
	Harm histories.Harm
	// Downs: the victims do not run while the fault is on, so Nodes.Draw leaves them out.
	Downs bool
	// Restarts: the victims are down only because they start again. Readers of a history then take
	// the strike for over when it happened, even if no heal was recorded. They do so for every
	// instant fault that leaves no node down; a killed node, in contrast, stays down until its
	// heal.
	Restarts bool
	// Build returns the fault as spec asks for it. nodes tracks which nodes are down or damaged; it
	// is shared by all faults of one nemesis.
	Build func(spec Spec, nodes *Nodes) harness.Fault
}

// damages reports whether a victim has to catch up with its group after the fault.
func (k *Kind) damages() bool {
	return k.Harm == histories.HarmDisk || k.Harm == histories.HarmUnsynced
}

// instant reports whether a strike is over when it has happened, even if no heal was recorded.
func (k *Kind) instant() bool {
	return k.Restarts || k.Kind == Instant && !k.Downs
}

// check says why a kind cannot be in a Set; nil when it can.
func (k *Kind) check() error {
	switch {
	case k.Name == "none" || k.Name == "all" || k.Name == "swarm":
		return fmt.Errorf("the name %q means something else in --nemesis", k.Name)
	case !isWord(k.Name):
		return fmt.Errorf("bad name %q (want a word without colon, slash, comma or space)", k.Name)
	case k.Kind != Instant && k.Kind != Lasting:
		return fmt.Errorf("unknown kind %q (want %s or %s)", k.Kind, Instant, Lasting)
	case len(k.Roles) == 0:
		return errors.New("no roles: name at least one, whom it strikes by default")
	case !k.Harm.Known():
		return fmt.Errorf("unknown harm %q (want %q for a fault that destroys nothing)", k.Harm, histories.HarmNone)
	case k.Restarts && (k.Kind != Instant || !k.Downs):
		return errors.New("it restarts nodes, so it must be instant and take them down")
	case k.Clients && len(k.Shapes) == 0:
		return fmt.Errorf("%s needs a shape to go with", withClients)
	case k.Build == nil:
		return errors.New("no Build")
	}
	for _, word := range slices.Concat(k.Roles, k.Shapes) {
		if !isWord(word) || word == withClients {
			return fmt.Errorf("bad role or shape %q (want a word without colon, slash, comma or space)", word)
		}
	}
	return nil
}

// isWord reports whether s can be a part of a fault in the spelling of the command line.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(":/,", r) })
}
