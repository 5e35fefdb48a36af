package nemesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/assay-project/assay/harness"
)

// each calls do for all nodes at once, and returns their effects as one.
func each(nodes []harness.NodeID, do func(harness.NodeID) (harness.Effect, error)) (harness.Effect, error) {
	effects := make([]harness.Effect, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			defer harness.Guard(string(n), &errs[i])
			if effects[i], errs[i] = do(n); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", n, errs[i])
			}
		})
	}
	wg.Wait()
	return combine(nodes, effects), errors.Join(errs...)
}

// combine adds effects up. Of several nodes, each text says whose it is.
func combine(nodes []harness.NodeID, effects []harness.Effect) harness.Effect {
	if len(effects) == 1 {
		return effects[0]
	}
	var sum harness.Effect
	var texts []string
	for i, e := range effects {
		sum.Count += e.Count
		if e.Text != "" {
			texts = append(texts, fmt.Sprintf("%s: %s", nodes[i], e.Text))
		}
	}
	sum.Text = strings.Join(texts, "; ")
	return sum
}

// and joins what was said to what is said now; either may be nothing.
func and(said, more string) string {
	if said == "" || more == "" {
		return said + more
	}
	return said + "; " + more
}

// lasting injects a fault that each node has of its own, and returns one Undo for all. It is never nil, so that what was
// injected before an error is undone too.
func lasting(ctx context.Context, nodes []harness.NodeID, inject func(context.Context, harness.NodeID) (harness.Undo, error)) (harness.Undo, error) {
	undos := make([]harness.Undo, len(nodes))
	_, err := each(nodes, func(n harness.NodeID) (harness.Effect, error) {
		undo, err := inject(ctx, n)
		for i := range nodes {
			if nodes[i] == n {
				undos[i] = undo
			}
		}
		return harness.Effect{}, err
	})
	return func(ctx context.Context) (harness.Effect, error) {
		return each(nodes, func(n harness.NodeID) (harness.Effect, error) {
			for i := range nodes {
				if nodes[i] == n && undos[i] != nil {
					return undos[i](ctx)
				}
			}
			return harness.Effect{}, nil
		})
	}, err
}

// unsupported is the refusal of a fault whose ability the cluster lacks.
func unsupported(s Spec, ability string) error {
	return fmt.Errorf("fault %s: this environment cannot %s: %w", s, ability, harness.ErrUnsupported)
}
