package harness

// Composed is a Cluster whose abilities are in several values: those of its environment, and those
// that its target has in the mode that runs.
type Composed interface {
	// Parts are the values that may have an ability, the first that has it counts. A cluster that
	// has abilities itself lists itself.
	Parts() []any
}

// Can returns an ability of a cluster (Killer, Network, Groups, Promoter, ...), and whether the
// cluster has it. Abilities are asked for in this way only: the type of a cluster does not tell
// what its target can do in its mode.
func Can[T any](c Cluster) (ability T, ok bool) {
	composed, is := c.(Composed)
	if !is {
		ability, ok = c.(T)
		return ability, ok
	}
	for _, part := range composed.Parts() {
		if ability, ok = part.(T); ok {
			return ability, true
		}
	}
	return ability, false
}

// GroupsOf returns the members of each replication group; a cluster that knows no groups is one.
func GroupsOf(c Cluster) [][]NodeID {
	if g, ok := Can[Groups](c); ok {
		return g.Groups()
	}
	return [][]NodeID{c.Nodes()}
}
