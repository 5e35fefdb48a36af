package judge

import (
	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

// Fate is what the end state of a partition tells of one message: the same that the checkers and
// the contract go by.
type Fate struct {
	// Known: the end state is known, and the message was sent early enough to be in it.
	Known bool
	// Held: the message is in the end state.
	Held bool
	// ByClient: the end state is what a client read to its end, and not the log of the leader.
	ByClient bool
	// Leader of the partition, as noted last; empty: none was.
	Leader string
}

// FateOf reads the fate of a message from a history.
func FateOf(h histories.Reader, part int32, value int64) Fate {
	_, v := logview.Cache(h)
	p := v.Part(part)
	if p == nil {
		return Fate{}
	}
	f := Fate{ByClient: p.Truth.Known && p.Truth.Client, Leader: p.Leader}
	for _, c := range p.Truth.Chains {
		v.Each(c, func(m histories.Message, _ *logview.Read) { f.Held = f.Held || m.Value == value })
	}
	f.Known = f.Held || p.Truth.Known && !v.SentAfter(value, p)
	return f
}
