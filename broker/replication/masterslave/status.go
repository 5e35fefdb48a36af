package masterslave

import "fmt"

// Role is what a node does in its group, as it says itself.
type Role string

// Roles. The empty string is none that a node ever states.
const (
	RoleIdle     Role = "idle"     // it has no part yet: starting, or its epoch names it without its having been told to lead
	RoleJoining  Role = "joining"  // it came with an empty disk and has not caught up
	RoleFollower Role = "follower" // it copies its leader's log
	RoleRefused  Role = "refused"  // its leader refuses it; Refused says why
	RoleLeader   Role = "leader"
	RoleFailed   Role = "failed" // its disk has failed: it writes nothing more; Failed says why
)

// Status is what a node says of itself. Positions are byte positions in the group's log.
type Status struct {
	Cluster     string           `json:"cluster"`
	Node        int32            `json:"node"`
	Group       int32            `json:"group"`
	Epoch       int32            `json:"epoch"`  // highest recorded; 0: none
	Leader      int32            `json:"leader"` // the node that Epoch names, whether it leads or not; -1 for epoch 0
	Role        Role             `json:"role"`
	Joining     bool             `json:"joining"` // its log may lack what it once confirmed
	Serving     bool             `json:"serving"` // it answers consumers' reads
	Ready       bool             `json:"ready"`   // its start round is over
	Failed      string           `json:"failed,omitempty"`
	Refused     string           `json:"refused,omitempty"`
	LastEpoch   int32            `json:"last_epoch"` // of the last frame
	End         int64            `json:"end"`
	Chain       uint64           `json:"chain"` // at End: equal chains, equal logs
	Flushed     int64            `json:"flushed"`
	Committed   int64            `json:"committed"`
	Copies      int              `json:"copies"`
	Members     []int32          `json:"members"` // the nodes of its group, in the order of its configuration, which says whom an epoch names
	Groups      int32            `json:"groups"`
	Topics      int              `json:"topics"`
	Incarnation uint64           `json:"incarnation"` // a random number of this process
	Followers   []FollowerStatus `json:"followers,omitempty"`

	Options map[string]string `json:"options,omitempty"` // in force; see Options.Values
}

// FollowerStatus is a leader's view of a follower since it began to lead.
type FollowerStatus struct {
	Node     int32  `json:"node"`
	Matched  bool   `json:"matched"` // its log is known to be a prefix of the leader's
	Joining  bool   `json:"joining"`
	Appended int64  `json:"appended"`
	Flushed  int64  `json:"flushed"`
	Refused  string `json:"refused,omitempty"`
}

// point is how much history a log holds; see less.
type point struct {
	LastEpoch int32
	End       int64
}

// less orders logs by the epoch of their last frame, then by length.
func (a point) less(b point) bool {
	return a.LastEpoch < b.LastEpoch || a.LastEpoch == b.LastEpoch && a.End < b.End
}

func (s Status) point() point { return point{LastEpoch: s.LastEpoch, End: s.End} }

// Health is what the statuses of one group's nodes say together.
type Health struct {
	Leader  int32    // -1: none leads
	Refused []int32  // nodes whose leader refuses them
	Serving bool     // the leader answers consumers' reads
	Missing []string // what is not yet well, one sentence each, refusals not included
}

// Recovered says whether the group is as well as it can get without an operator: a leader, and every node in step with it. A
// refused follower stays refused until a promote; with allowRefused a group that has some counts as recovered, even when that
// leaves too few copies for anything to be committed.
func (h Health) Recovered(allowRefused bool) bool {
	if len(h.Refused) > 0 {
		return allowRefused && len(h.Missing) == 0
	}
	return len(h.Missing) == 0 && h.Serving
}

// GroupHealth judges the statuses of one group; size is the number of its nodes. The statuses should be of a quiet moment:
// followers that are copying count as not yet well.
func GroupHealth(statuses []Status, size int) Health {
	h := Health{Leader: -1}
	var leader Status
	for _, s := range statuses {
		if s.Role == RoleLeader && s.Epoch > leader.Epoch {
			leader, h.Leader = s, s.Node
		}
	}
	if len(statuses) < size {
		h.Missing = append(h.Missing, fmt.Sprintf("%d of %d nodes answer", len(statuses), size))
	}
	if h.Leader < 0 {
		h.Missing = append(h.Missing, "no node leads")
		return h
	}
	h.Serving = leader.Serving
	for _, s := range statuses {
		switch {
		case s.Node == h.Leader:
		case s.Epoch != leader.Epoch:
			h.Missing = append(h.Missing, fmt.Sprintf("node %d is in epoch %d, not %d", s.Node, s.Epoch, leader.Epoch))
		case s.Role == RoleRefused:
			h.Refused = append(h.Refused, s.Node)
		case s.Role != RoleFollower:
			h.Missing = append(h.Missing, fmt.Sprintf("node %d is %s", s.Node, s.Role))
		case s.End != leader.End || s.Chain != leader.Chain:
			h.Missing = append(h.Missing, fmt.Sprintf("node %d has %d of %d bytes", s.Node, s.End, leader.End))
		}
	}
	if !h.Serving && len(h.Refused) == 0 {
		h.Missing = append(h.Missing, "the leader does not serve reads yet")
	}
	return h
}
