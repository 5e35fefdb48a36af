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

	roleGreatest = "greatest" // promote without a role: the promote itself chooses the node
)

// Shapes of partition.
const (
	shapeHalves = "halves" // the nodes fall into two halves
	shapeAlone  = "alone"  // each victim is cut off from everybody
	shapeOneway = "oneway" // packets pass in one direction only
	shapeRing   = "ring"   // each node reaches its two neighbours only

	withClients = "with-clients" // each client is on one side
)

// Roles returns the roles that Nodes.Draw knows, the default of most faults first. The slice is the
// caller's.
func Roles() []string {
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
func (s *Set) Parse(text string) (Spec, error) {
	head, shapes, hasShape := strings.Cut(text, "/")
	name, role, hasRole := strings.Cut(head, ":")
	k, err := s.kind(name)
	if err != nil {
		return Spec{}, err
	}
	spec := Spec{Name: name, Role: k.Roles[0], Text: text}
	if len(k.Shapes) > 0 {
		spec.Shape = k.Shapes[0]
	}
	if hasRole {
		if !slices.Contains(k.Roles, role) || role == roleGreatest {
			return Spec{}, fmt.Errorf("fault %q: no role %q: %s has %s", text, role, name, strings.Join(spellable(k.Roles), ", "))
		}
		spec.Role = role
	}
	if !hasShape {
		return spec, nil
	}
	if len(k.Shapes) == 0 {
		return Spec{}, fmt.Errorf("fault %q: %s has no shapes%s", text, name, s.whoHasShapes())
	}
	if err := spec.parseShape(k, strings.Split(shapes, "/")); err != nil {
		return Spec{}, err
	}
	return spec, nil
}

// spellable leaves out the role that is a default only.
func spellable(roles []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == roleGreatest })
}

// whoHasShapes ends the sentence that a fault has none.
func (s *Set) whoHasShapes() string {
	switch names := s.names(func(k *Kind) bool { return len(k.Shapes) > 0 }); len(names) {
	case 0:
		return ""
	case 1:
		return ", only " + names[0] + " has"
	default:
		return ", only " + strings.Join(names, ", ") + " have"
	}
}

// parseShape reads what follows the role: a shape, with-clients, or both in this order.
func (s *Spec) parseShape(k *Kind, parts []string) error {
	if parts[0] != withClients || !k.Clients {
		if !slices.Contains(k.Shapes, parts[0]) {
			return fmt.Errorf("fault %q: no shape %q: there is %s%s", s.Text, parts[0], strings.Join(k.Shapes, ", "), k.alsoClients())
		}
		s.Shape = parts[0]
		parts = parts[1:]
	}
	switch {
	case len(parts) == 0:
		return nil
	case !k.Clients:
		return fmt.Errorf("fault %q: nothing comes after a shape of %s", s.Text, s.Name)
	case len(parts) == 1 && parts[0] == withClients:
		s.WithClients = true
		return nil
	}
	return fmt.Errorf("fault %q: after a shape there is only %s", s.Text, withClients)
}

// alsoClients ends the sentence about which shapes there are.
func (k *Kind) alsoClients() string {
	if !k.Clients {
		return ""
	}
	return ", and " + withClients + ", alone or after another"
}

// ParseList reads a comma-separated list of faults, as --nemesis takes it. "none" and the empty
// string are no faults. A fault that is named twice counts once.
func (s *Set) ParseList(list string) ([]string, error) {
	if list == "" || list == "none" {
		return nil, nil
	}
	var all []string
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if _, err := s.Parse(text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return distinct(all), nil
}
