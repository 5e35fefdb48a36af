package masterslave

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// The nodes of a group have to agree on some of their configuration: on the list of the group's nodes and its order, since an epoch names its leader by
// an index into it, and two nodes could lead one epoch else; on the number of groups, which says where a partition lives; on the number of copies,
// from which follows how many nodes make a promote safe; and on the cluster. Nodes that do not agree have nothing to do with each other.

// differs returns what a peer's answer says that cannot be if its configuration is like this node's, nil for nothing.
func (r *Replica) differs(m Member, st Status) error {
	switch {
	case st.Node != m.ID || st.Group != m.Group || st.Cluster != r.cfg.Cluster || st.Groups != r.opts.Groups:
		return fmt.Errorf("%s answers as node %d, group %d of %d, of cluster %q", m.Peer, st.Node, st.Group, st.Groups, st.Cluster)
	case m.Group == r.self.Group && !slices.Equal(st.Members, r.ids):
		return fmt.Errorf("node %d lists the nodes of group %d as %v, and this node as %v: an epoch would name another leader", m.ID, m.Group, st.Members, r.ids)
	case m.Group == r.self.Group && st.Copies != r.opts.Copies:
		return fmt.Errorf("node %d wants %d copies, and this node %d: a promote would count on too few", m.ID, st.Copies, r.opts.Copies)
	case st.Epoch > maxEpoch:
		return fmt.Errorf("node %d says epoch %d, beyond all reason (at most %d)", m.ID, st.Epoch, maxEpoch)
	}
	return nil
}

// fingerprint stands in a pull for all that must be the same at both ends.
func fingerprint(cluster string, group int32, o Options, ids []int32) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%q %d %d %d %v", cluster, group, o.Groups, o.Copies, ids) // a hash takes everything
	return h.Sum64()
}
