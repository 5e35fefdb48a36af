// Package replication says what a replicated log is to the part of a broker that speaks to clients. Each mode of replication has
// a package of its own below this one.
//
// It says nothing about how copies are made, who decides on leaders, or what an operator can do: the modes have little of that in common.
package replication

import (
	"context"

	"github.com/assay-project/assay/broker/commitlog"
	"github.com/assay-project/assay/broker/partitions"
)

// Log is one replica of a replicated commit log that carries many partitions. Its methods may be called from any number of goroutines.
type Log interface {
	// View returns what the replica knows at this moment.
	View() View
	// Append stores a record batch (v2) in a partition of View().Machine, after checking its producer's sequence. It returns when the
	// batch has its place in this node's log. With all, the returned Wait tells when the configuration's promise is kept. The
	// batch is the log's from here on. Errors are Kafka's (kerr).
	Append(ctx context.Context, part *partitions.Partition, batch []byte, all bool) (Appended, error)
	// ReadFrame returns the frame that starts at a position of the log.
	ReadFrame(position int64) (commitlog.Frame, error)
	// Progress returns a channel that is closed at the next change of the View.
	Progress() <-chan struct{}
}

// View is a consistent picture of a replica. Positions are byte positions in the log.
type View struct {
	// Machine is the state that the log's frames give. It lives on; a truncation replaces it by another one.
	Machine *partitions.Machine
	Epoch   int32 // this replica's; 0: none yet
	Leading bool  // it takes appends
	// Readable says that consumers may be served, up to Visible. A leader that is not readable yet will be.
	Readable   bool
	Rebuilding bool  // a truncation is under way: the log holds less than Machine says
	Committed  int64 // frames that end at or below it have all the copies that the configuration asks for
	Visible    int64 // frames that end at or below it may be shown to consumers
	End        int64 // the log's end
}

// Appended is where a batch was stored.
type Appended struct {
	BaseOffset int64
	// Wait waits until the configuration's promise is kept for the batch, and is nil when nothing was asked for. It is called at most
	// once. It returns nil, ctx's error, or a Kafka error: NOT_ENOUGH_REPLICAS_AFTER_APPEND when the time for it is over and the batch is
	// stored on this node at least, REQUEST_TIMED_OUT when nothing can be said.
	Wait func(ctx context.Context) error
}
