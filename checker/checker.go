// Package checker judges histories. Every judge is pure: the same history gives the same result,
// and no judge does I/O. The packages below it hold one family of properties each; none of them
// imports another.
package checker

import (
	"context"
	"io"

	"github.com/assay-project/assay/histories"
)

// Verdict is a judge's answer. Verdicts combine by Worse, never by comparing numbers.
type Verdict uint8

// The zero Verdict is Unknown, so that a forgotten one cannot pass.
const (
	Unknown Verdict = iota // not decided: out of time, nothing to judge, or the judge itself failed
	Valid                  // the property holds in this history
	Invalid                // the property is violated, and an Anomaly proves it
)

// Class names a kind of anomaly. Each has one definition in docs/anomalies.md.
type Class string

// Names of jepsen.tests.kafka where one exists.
const (
	LostWrite           Class = "lost-write"
	Unseen              Class = "unseen"
	Duplicate           Class = "duplicate"
	Phantom             Class = "phantom"
	AbortedRead         Class = "aborted-read"
	InconsistentOffsets Class = "inconsistent-offsets"
	NonmonotonicSend    Class = "nonmonotonic-send"
	NonmonotonicPoll    Class = "nonmonotonic-poll"
	PollSkip            Class = "poll-skip"
	RolledBackRead      Class = "rolled-back-read"
	StaleRead           Class = "stale-read"
	OffsetRegress       Class = "offset-regress"
	ReplicaDivergence   Class = "replica-divergence"
	WeakAckLie          Class = "weak-ack-lie"
	Nonlinearizable     Class = "nonlinearizable"
	Stall               Class = "stall"
)

// byWeight are the classes in the order in which people read them: what is gone, what came twice or
// from nowhere, and then what mostly follows from that.
var byWeight = [...]Class{
	LostWrite, Unseen, WeakAckLie, Stall, Duplicate, Phantom, AbortedRead, StaleRead, NonmonotonicSend, NonmonotonicPoll, PollSkip,
	OffsetRegress, RolledBackRead, InconsistentOffsets, ReplicaDivergence, Nonlinearizable,
}

// Weight is the place of a class in the order in which people read them, from 0; classes that this
// version does not know come last.
func (c Class) Weight() int {
	for i, known := range byWeight {
		if c == known {
			return i
		}
	}
	return len(byWeight)
}

// Anomaly is one violation: data first, then a sentence.
type Anomaly struct {
	Class Class `json:"class"`
	// Part is the partition, or -1 when the anomaly is not about one.
	Part int32 `json:"part"`
	// Values are the messages concerned, Offsets their positions where they matter.
	Values  []int64 `json:"values,omitempty"`
	Offsets []int64 `json:"offsets,omitempty"`
	// Witnesses are indexes of the ops that prove it, in history order.
	Witnesses []int64 `json:"witnesses"`
	// Explanation is one sentence that a reader understands without the data.
	Explanation string `json:"explanation"`
}

// Result is what a Checker found. Unknown with anomalies does not occur: an anomaly makes it
// Invalid.
//
// A result that is Invalid may have a Reason too: what could not be judged beside what was found.
type Result struct {
	Verdict   Verdict   `json:"verdict"`
	Anomalies []Anomaly `json:"anomalies,omitempty"`
	// Reason says why the verdict is Unknown.
	Reason string `json:"reason,omitempty"`
	// Figures are measurements beside the verdict, e.g. "weak_sends": 12. The figure of a class's
	// name is its true number of anomalies.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Checker judges one family of properties. It may be called from several goroutines. ctx only
// bounds time: when it ends, the result is Unknown with a reason.
type Checker interface {
	Name() string
	Check(ctx context.Context, h histories.Reader) Result
}

// Follower is a Checker some of whose anomalies follow from the loss of messages: where the tail of
// a log is gone, another message takes its offset, who had read it has read what is no longer
// there, and who reads later does not see what others saw.
type Follower interface {
	// FollowsLoss lists their classes. Where the contract permits that messages are lost, it
	// permits anomalies of these classes about the same messages, and about no others.
	FollowsLoss() []Class
}

// Drawer is a Checker that can draw what it found.
type Drawer interface {
	// Visualize writes a picture of what it found in a partition, as one self-contained HTML page.
	// It fails when there is nothing to draw.
	Visualize(ctx context.Context, h histories.Reader, part int32, w io.Writer) error
}
