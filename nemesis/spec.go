package nemesis

import (
	"fmt"
	"slices"
	"strings"
)

// Roles: whom a fault strikes, drawn anew each time.
const (
	RoleOne      = "one"      // any node
	RoleLeader   = "leader"   // the leader of a group
	RoleFollower = "follower" // a node of a group that does not lead it
	RoleMinority = "minority" // floor((n-1)/2) nodes of a group
	RoleMajority = "majority" // floor(n/2)+1 nodes of a group
	RoleAll      = "all"      // every node

	roleGreatest = "greatest" // promote without a role: the node itself is chosen by the promote
)

// Shapes of partition.
const (
	shapeHalves = "halves" // a group falls into two halves
	shapeAlone  = "alone"  // each victim is cut off from everybody
	shapeOneway = "oneway" // packets pass in one direction only
	shapeRing   = "ring"   // each node reaches its two neighbours only

	withClients = "with-clients" // each client is on one side
)

// roles returns the roles that most faults have, the default first.
func roles() []string {
	return []string{RoleOne, RoleLeader, RoleFollower, RoleMinority, RoleMajority, RoleAll}
}

// Spec is a fault as written on the command line.
type Spec struct {
	Name        string
	Role        string // never empty
	Shape       string // empty for faults without shapes
	WithClients bool
	Text        string // as written
}

// String returns the fault as it was written.
func (s Spec) String() string { return s.Text }

// Parse reads one fault.
func Parse(text string) (Spec, error) {
	head, shapes, _ := strings.Cut(text, "/")
	name, role, hasRole := strings.Cut(head, ":")
	k, err := kindOf(name)
	if err != nil {
		return Spec{}, err
	}
	s := Spec{Name: name, Role: k.Roles[0], Text: text}
	if len(k.Shapes) > 0 {
		s.Shape = k.Shapes[0]
	}
	if hasRole {
		if !slices.Contains(k.Roles, role) || role == roleGreatest {
			return Spec{}, fmt.Errorf("fault %q: no role %q: %s has %s", text, role, name, strings.Join(spellable(k.Roles), ", "))
		}
		s.Role = role
	}
	if strings.Contains(text, "/") {
		if err := s.parseShape(k, strings.Split(shapes, "/")); err != nil {
			return Spec{}, err
		}
	}
	return s, nil
}

// spellable leaves out what is a role by default only.
func spellable(roles []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == roleGreatest })
}

// parseShape reads what follows the role: a shape, with-clients, or both in this order.
func (s *Spec) parseShape(k kind, parts []string) error {
	if len(k.Shapes) == 0 {
		return fmt.Errorf("fault %q: %s has no shapes, only partition has", s.Text, s.Name)
	}
	if parts[0] != withClients {
		if !slices.Contains(k.Shapes, parts[0]) {
			return fmt.Errorf("fault %q: no shape %q: there is %s, and %s, alone or after another", s.Text, parts[0], strings.Join(k.Shapes, ", "), withClients)
		}
		s.Shape = parts[0]
		parts = parts[1:]
	}
	switch {
	case len(parts) == 0:
		return nil
	case len(parts) == 1 && parts[0] == withClients:
		s.WithClients = true
		return nil
	}
	return fmt.Errorf("fault %q: after a shape there is only %s", s.Text, withClients)
}

// ParseList reads a comma-separated list of faults, as --nemesis takes it. "none" and the empty string are no faults; a fault that is named
// twice counts once.
func ParseList(list string) ([]string, error) {
	if list == "" || list == "none" {
		return nil, nil
	}
	var all []string
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if _, err := Parse(text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return distinct(all), nil
}
