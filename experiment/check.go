package experiment

import (
	"errors"
	"fmt"

	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/nemesis"
)

// check says what is wrong with a catalog, whoever put it together: entries that cannot be told
// apart, or that lack what they need.
func (c Catalog) check() error {
	if err := checkAll("target", c.Targets, func(t *target.Target) (string, error) {
		if t == nil {
			return "", errors.New("it is nil")
		}
		return t.Name, t.Check()
	}); err != nil {
		return err
	}
	if err := checkAll("workload", c.Workloads, func(w Workload) (string, error) {
		if w.New == nil || w.Judging == nil {
			return w.Name, errors.New("it needs both New and Judging")
		}
		return w.Name, nil
	}); err != nil {
		return err
	}
	if err := checkAll("environment", c.Environments, func(e Environment) (string, error) {
		if e.New == nil {
			return e.Name, errors.New("it needs New")
		}
		return e.Name, nil
	}); err != nil {
		return err
	}
	_, err := nemesis.NewSet(c.Faults...)
	return err
}

// checkAll checks the entries of one kind.
func checkAll[T any](what string, all []T, check func(T) (name string, err error)) error {
	seen := make(map[string]bool, len(all))
	for i, entry := range all {
		name, err := check(entry)
		switch {
		case name == "" && err == nil:
			return fmt.Errorf("%s %d of the catalog has no name", what, i+1)
		case name == "":
			return fmt.Errorf("%s %d of the catalog: %w", what, i+1, err)
		case err != nil:
			return fmt.Errorf("%s %q of the catalog: %w", what, name, err)
		case seen[name]:
			return fmt.Errorf("the catalog has two entries for %s %q: remove or rename one", what, name)
		}
		seen[name] = true
	}
	return nil
}
