package nemesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/assay-project/assay/harness"
)

// Each calls do for all nodes at once, and returns their effects as one. An error names its node;
// a panic is an error.
func Each(nodes []harness.NodeID, do func(harness.NodeID) (harness.Effect, error)) (harness.Effect, error) {
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

// InjectEach injects a lasting fault into all nodes at once, and returns one Undo for all. The Undo
// is never nil, so that an error of one node does not keep the others from being healed.
func InjectEach(ctx context.Context, nodes []harness.NodeID, inject func(context.Context, harness.NodeID) (harness.Undo, error)) (harness.Undo, error) {
	var mu sync.Mutex // guards undos; held for map accesses only
	undos := make(map[harness.NodeID]harness.Undo)
	_, err := Each(nodes, func(n harness.NodeID) (harness.Effect, error) {
		undo, err := inject(ctx, n)
		mu.Lock()
		defer mu.Unlock()
		undos[n] = undo
		return harness.Effect{}, err
	})
	return func(ctx context.Context) (harness.Effect, error) {
		return Each(nodes, func(n harness.NodeID) (harness.Effect, error) {
			mu.Lock()
			undo := undos[n]
			mu.Unlock()
			if undo == nil {
				return harness.Effect{}, nil
			}
			return undo(ctx)
		})
	}, err
}

// Boot starts nodes that are down, all at once. A node that starts and ends by itself is what the
// system does, not an error of the harness: refused says so, for the text of the effect.
func Boot(ctx context.Context, c harness.Cluster, nodes []harness.NodeID) (refused string, err error) {
	k, ok := harness.Can[harness.Killer](c)
	if !ok {
		return "", fmt.Errorf("starting nodes again: %w", harness.ErrUnsupported)
	}
	e, err := Each(nodes, func(n harness.NodeID) (harness.Effect, error) {
		err := k.Boot(ctx, n)
		if errors.Is(err, harness.ErrNodeExited) {
			return harness.Effect{Text: fmt.Sprintf("%s did not come back: %v", n, err)}, nil
		}
		return harness.Effect{}, err
	})
	return e.Text, err
}

// Unsupported is the error of a fault whose ability a cluster lacks. ability is what cannot be
// done, such as "kill a process". It wraps harness.ErrUnsupported.
func Unsupported(s Spec, ability string) error {
	return fmt.Errorf("fault %s: neither this environment nor the mode can %s: %w", s, ability, harness.ErrUnsupported)
}
