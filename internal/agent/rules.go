package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Bounds of a rule set; beyond them it is refused.
const (
	maxRules   = 4096
	maxID      = 64
	maxDelay   = time.Minute
	maxEncoded = 1 << 20
)

// Direction says which packets of the container a rule is about.
type Direction string

// Directions, as seen from the container.
const (
	In  Direction = "in"  // packets from the peer to this container
	Out Direction = "out" // packets from this container to the peer
)

// RuleSet is everything that a container's network is to do to its packets.
type RuleSet struct {
	Rules []Rule `json:"rules"`
}

// Rule treats the packets between the container and one peer, in one direction.
type Rule struct {
	ID       string        `json:"id"` // counts are summed per ID
	Dir      Direction     `json:"dir"`
	Peer     netip.Addr    `json:"peer"`           // IPv4
	Drop     bool          `json:"drop,omitempty"` // everything
	Loss     float64       `json:"loss,omitempty"` // 0..1 of the packets, at random
	DelayMin time.Duration `json:"delay_min_ns,omitempty"`
	DelayMax time.Duration `json:"delay_max_ns,omitempty"` // only with Out; each packet waits a random time in [DelayMin, DelayMax]
}

// Counts is what the rules with one ID did.
type Counts struct {
	Dropped int64 `json:"dropped"` // packets
	Delayed int64 `json:"delayed"` // packets that were held back and then sent on
}

// Report is what an agent command prints.
type Report struct {
	Counts map[string]Counts `json:"counts"` // by rule ID, since the rules were applied
}

// Decode reads a rule set as JSON. Unknown fields, trailing data and rules that make no sense are errors; nothing panics.
func Decode(r io.Reader) (RuleSet, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxEncoded+1))
	if err != nil {
		return RuleSet{}, fmt.Errorf("read the rules: %w", err)
	}
	if len(data) > maxEncoded {
		return RuleSet{}, fmt.Errorf("the rules are larger than %d bytes", maxEncoded)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var set RuleSet
	if err := dec.Decode(&set); err != nil {
		return RuleSet{}, fmt.Errorf("decode the rules: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return RuleSet{}, errors.New("decode the rules: there is data after the rule set")
	}
	if err := set.Validate(); err != nil {
		return RuleSet{}, err
	}
	return set, nil
}

// Encode is the inverse of Decode.
func (s RuleSet) Encode() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the rules: %w", err)
	}
	return data, nil
}

// Validate says which rule is wrong, and how.
func (s RuleSet) Validate() error {
	if len(s.Rules) > maxRules {
		return fmt.Errorf("%d rules are more than %d", len(s.Rules), maxRules)
	}
	for i, r := range s.Rules {
		if err := r.validate(); err != nil {
			return fmt.Errorf("rule %d: %w", i, err)
		}
	}
	return nil
}

func (r Rule) validate() error {
	switch {
	case r.ID == "" || len(r.ID) > maxID:
		return fmt.Errorf("the id must have 1 to %d bytes", maxID)
	case r.Dir != In && r.Dir != Out:
		return fmt.Errorf("direction %q is neither %q nor %q", r.Dir, In, Out)
	case !r.Peer.Is4():
		return fmt.Errorf("peer %q is not an IPv4 address", r.Peer)
	case !(r.Loss >= 0 && r.Loss <= 1): // also refuses NaN
		return fmt.Errorf("loss %v is not within 0..1", r.Loss)
	case r.DelayMin < 0 || r.DelayMax < r.DelayMin || r.DelayMax > maxDelay:
		return fmt.Errorf("delay %v..%v is not within 0..%v", r.DelayMin, r.DelayMax, maxDelay)
	case r.Dir == In && r.DelayMax > 0:
		return errors.New("packets are delayed where they are sent: a delay needs direction out")
	case !r.Drop && r.Loss == 0 && r.DelayMax == 0:
		return errors.New("the rule does nothing: drop, loss and delay are all unset")
	}
	return nil
}

// delay is one way of holding packets back. Packets of different IDs are counted apart.
type delay struct {
	ID  string        `json:"id"`
	Min time.Duration `json:"min_ns"`
	Max time.Duration `json:"max_ns"`
}

// delays lists the distinct delays of the set in the order of the rules.
func (s RuleSet) delays() []delay {
	var all []delay
	seen := make(map[delay]bool)
	for _, r := range s.Rules {
		d := delay{r.ID, r.DelayMin, r.DelayMax}
		if r.Drop || r.DelayMax == 0 || seen[d] {
			continue
		}
		seen[d] = true
		all = append(all, d)
	}
	return all
}

// HasDelays says whether the set needs the delay command to run in the container.
func (s RuleSet) HasDelays() bool { return len(s.delays()) > 0 }
