package nemesis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-project/assay/harness"
)

// Set is the faults that can be chosen. It is immutable, and may be used by several goroutines.
type Set struct {
	kinds []Kind // by name
}

// NewSet returns the set of kinds. It refuses two kinds of one name, and a kind that cannot be
// spelled, built or recorded.
func NewSet(kinds ...Kind) (*Set, error) {
	s := &Set{kinds: slices.Clone(kinds)}
	slices.SortStableFunc(s.kinds, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
	for i := range s.kinds {
		k := &s.kinds[i]
		k.Info = k.clone()
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("fault %q: %w", k.Name, err)
		}
		if i > 0 && k.Name == s.kinds[i-1].Name {
			return nil, fmt.Errorf("fault %q: there are two of this name", k.Name)
		}
	}
	return s, nil
}

// Infos describes all faults, by name.
func (s *Set) Infos() []Info {
	all := make([]Info, len(s.kinds))
	for i := range s.kinds {
		all[i] = s.kinds[i].clone()
	}
	return all
}

// Faults returns the faults of specs, each once, as values that can be asked whether a cluster
// supports them.
func (s *Set) Faults(specs ...string) ([]harness.Fault, error) {
	var all []harness.Fault
	nodes := newNodes()
	for _, text := range distinct(specs) {
		fault, _, err := s.build(text, nodes)
		if err != nil {
			return nil, err
		}
		all = append(all, fault)
	}
	return all, nil
}

// New returns the nemesis of a plan. The plan's strikes may be in any order.
func (s *Set) New(plan harness.Plan) (*Nemesis, error) {
	n := &Nemesis{plan: plan, nodes: newNodes(), faults: make(map[string]built)}
	for _, at := range plan.Strikes {
		n.end = max(n.end, at.At+at.For)
	}
	for _, text := range FaultsOf(plan) {
		fault, kind, err := s.build(text, n.nodes)
		if err != nil {
			return nil, err
		}
		n.faults[text] = built{fault, kind}
	}
	return n, nil
}

// build makes a fault from its spelling.
func (s *Set) build(text string, nodes *Nodes) (harness.Fault, *Kind, error) {
	spec, err := s.Parse(text)
	if err != nil {
		return nil, nil, err
	}
	k, err := s.kind(spec.Name)
	if err != nil {
		return nil, nil, err
	}
	fault := k.Build(spec, nodes)
	if fault == nil {
		return nil, nil, fmt.Errorf("fault %q: its Build returned nothing", text)
	}
	return fault, k, nil
}

// kind returns the kind of a name.
func (s *Set) kind(name string) (*Kind, error) {
	find := func(name string) int {
		return slices.IndexFunc(s.kinds, func(k Kind) bool { return k.Name == name })
	}
	if i := find(name); i >= 0 {
		return &s.kinds[i], nil
	}
	if name == "transfer" && find("promote") >= 0 {
		return nil, fmt.Errorf("fault %q: there is no transfer of the leadership in this version; promote moves it in master-slave mode", name)
	}
	return nil, fmt.Errorf("unknown fault %q: there is %s", name, strings.Join(s.names(func(*Kind) bool { return true }), ", "))
}

// names returns the names of some of the kinds.
func (s *Set) names(of func(*Kind) bool) []string {
	var all []string
	for i := range s.kinds {
		if of(&s.kinds[i]) {
			all = append(all, s.kinds[i].Name)
		}
	}
	return all
}

// distinct returns specs without repetitions.
func distinct(specs []string) []string {
	var all []string
	for _, s := range specs {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
