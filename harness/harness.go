// Package harness runs one test: cluster + workload + nemesis -> history -> verdict.
//
// It knows neither an environment nor a system: those come to it as a Cluster with whatever
// abilities it has.
package harness

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/assay-project/assay/histories"
)

// NodeID names a node, "n1", "n2", ...
type NodeID string

// Cluster is the system under test in its environment. What it can do beyond this is asked with
// Can, before the run. Methods may be called concurrently.
type Cluster interface {
	// Nodes are all nodes in order; the slice is the caller's.
	Nodes() []NodeID
	// Start brings every node up and returns when the cluster can be used.
	Start(ctx context.Context) error
	// Open returns a new client for a process. The process uses it for one op at a time and closes
	// it.
	Open(ctx context.Context, process int) (Client, error)
	// Stop ends all nodes and removes what the environment made. It also works after a failed
	// Start, and twice.
	Stop(ctx context.Context) error
}

// Client executes ops of one process. It is used by one goroutine.
type Client interface {
	// Invoke does op and returns it with its results. A nil error means ok; ErrWeak weak;
	// ErrNotApplied fail; any other error info. ctx carries the op's deadline.
	Invoke(ctx context.Context, op histories.Op) (histories.Op, error)
	// Close drops the connection; nothing buffered is sent afterwards.
	Close() error
}

var (
	// ErrWeak is returned (wrapped, with the system's reason) when the system stored the op but
	// said that it did not reach the promised copies or disks.
	ErrWeak = errors.New("stored, but not as promised")
	// ErrNotApplied is returned (wrapped) when the op certainly did not happen and never will, in
	// any of its attempts.
	ErrNotApplied = errors.New("not applied")
	// ErrUnsupported is returned (wrapped) when the environment lacks an ability.
	ErrUnsupported = errors.New("not supported")
	// ErrUnsafePromote is returned (wrapped) by Promoter when the promote needs force.
	ErrUnsafePromote = errors.New("promote is not safe")
	// ErrNeverSafe is returned (wrapped together with ErrUnsafePromote) when waiting can't make the
	// promote safe, e.g. with a single copy.
	ErrNeverSafe = errors.New("promote can never be safe")
	// ErrNodeExited is returned (wrapped, with what the node said) by Boot when the node started
	// and ended by itself, e.g. because its log is damaged: that is the system's doing, any other
	// error of Boot is the harness's.
	ErrNodeExited = errors.New("the node ended by itself")
)

// Effect is what a fault measurably did. The zero Effect means nothing.
type Effect struct {
	Count int64  // how much: packets, bytes, processes, ...; 0 means that the fault did nothing
	Text  string // for people, e.g. "231 packets dropped"
}

// Undo ends a lasting fault and says what it did. It is called once.
type Undo func(ctx context.Context) (Effect, error)

// Killer stops and starts processes.
type Killer interface {
	// Kill ends the process at once (SIGKILL); what it wrote stays (the page cache is the
	// machine's).
	Kill(ctx context.Context, n NodeID) (Effect, error)
	// Shutdown ends it in the ordinary way (SIGTERM).
	Shutdown(ctx context.Context, n NodeID) (Effect, error)
	// Boot starts a node that is down, and returns when its process runs (not necessarily serves).
	Boot(ctx context.Context, n NodeID) error
}

// PowerCutter kills the machine: unsynced bytes and directory entries are lost. Boot starts it
// again.
type PowerCutter interface {
	CutPower(ctx context.Context, n NodeID) (Effect, error)
}

// Wiper kills a node and deletes its disk, also that of a node that is down. Boot starts it empty.
type Wiper interface {
	Wipe(ctx context.Context, n NodeID) (Effect, error)
}

// Pauser freezes a process (SIGSTOP or the cgroup freezer).
type Pauser interface {
	Pause(ctx context.Context, n NodeID) (Undo, error)
}

// Endpoint is one end of a link: a node, or a client process.
type Endpoint struct {
	Node    NodeID
	Process int // when Node is empty
}

// Rule shapes the packets of one direction of one link.
type Rule struct {
	From, To Endpoint
	Drop     bool          // everything
	Loss     float64       // 0..1, at random
	DelayMin time.Duration // each packet waits a random time in [DelayMin, DelayMax]
	DelayMax time.Duration
}

// Network shapes traffic. Several sets of rules may be active at once. The effect counts packets
// dropped or delayed.
type Network interface {
	Shape(ctx context.Context, rules []Rule) (Undo, error)
}

// ClientShaper is a Network that may be able to shape the links between client processes and nodes
// too.
type ClientShaper interface {
	Network
	ShapesClients() bool
}

// TopicMaker creates the topic that clients opened afterwards write and read. It succeeds when the
// topic can be used, and when there is one already.
type TopicMaker interface {
	CreateTopic(ctx context.Context, name string, partitions int) error
}

// Disks breaks disks.
type Disks interface {
	FailSync(ctx context.Context, n NodeID) (Undo, error)
	Fill(ctx context.Context, n NodeID) (Undo, error)
	// Corrupt flips one bit of the log of n, in a closed segment or in the tail as pick decides.
	Corrupt(ctx context.Context, n NodeID, pick uint64) (Effect, error)
}

// NodeState is what a node says of itself.
type NodeState struct {
	Node      NodeID
	Group     int
	Up        bool   // it answered
	Role      string // leader, follower, joining, refused, failed, ...
	Epoch     int64
	End       int64 // log end (bytes)
	Committed int64
	Serving   bool   // a leader that answers consumers
	CaughtUp  bool   // a follower that has all that its leader committed
	Refused   string // why its leader refuses it; "" when it does not
	Detail    string // whatever helps a person
}

// Groups tells how nodes form replication groups and who leads. A group is a set of nodes that
// replicates one log; a node may be in several, with a role in each. Partition p of a workload's
// topic lives in group p mod the number of groups.
type Groups interface {
	// Groups lists the members of each group; without groups, one that holds all. The numbers of
	// groups stay the same during a run.
	Groups() [][]NodeID
	// State asks a node for its part in a group. An unreachable node is a state with Up false, not
	// an error.
	State(ctx context.Context, group int, n NodeID) (NodeState, error)
}

// Promotion is the result of a promote.
type Promotion struct {
	Group  int
	Leader NodeID
	Epoch  int64
	Safe   bool // nothing acknowledged can have been left behind
	Forced bool
}

// Promoter makes a node the leader, as an operator would.
type Promoter interface {
	// Promote picks the node itself when n is empty. Without force an unsafe promote is
	// ErrUnsafePromote.
	Promote(ctx context.Context, group int, n NodeID, force bool) (Promotion, error)
}

// Context is what a generator may look at.
type Context struct {
	Now     time.Duration // since the start of the load
	Process int           // the process that asks
}

// Status says what a generator's Next means.
type Status uint8

// Answers of Next.
const (
	Done    Status = iota // no more ops, ever
	Ready                 // the op is to be invoked
	Pending               // nothing for this process now
)

// Generator makes ops. It is called from one goroutine at a time and does no I/O.
type Generator interface {
	Next(c Context) (histories.Op, Status)
	// Observe sees every completion, so that the generator may follow positions.
	Observe(c Context, op histories.Op)
}

// Workload is what is done to a cluster. How its histories are judged is said beside it: see
// checker/judge.
type Workload interface {
	Name() string
	// Functions are all functions that its ops have (Op.F), those of Generator and of Finals.
	Functions() []Function
	// Setup makes what the load needs (topics), unless it is there. It may be called again under
	// load.
	Setup(ctx context.Context, c Cluster) error
	Generator(seed uint64) Generator
	// Finals are the reads to make after the recovery, in stages: a stage begins when the one
	// before it has ended. Those of one stage run side by side, each by a fresh process.
	Finals(c Cluster) [][]FinalRead
}

// Function says what the engine does with the ops of one function of a workload.
type Function struct {
	Name string // Op.F
	// ReadOnly: the op changes nothing, so that one without an answer has certainly failed. Any
	// other whose fate is not known is info.
	ReadOnly bool
	// Answer says which fields of the client's answer are recorded with ok and weak; the node
	// always is. An answer that changes another field, or the partition or the position that was
	// asked, is an error of the client, and ends the run: it would be lost.
	Answer Fields
}

// Fields is a set of an op's fields that hold results.
type Fields uint8

// Fields of an answer.
const (
	FieldValue  Fields = 1 << iota // Op.Value
	FieldOffset                    // Op.Offset
	FieldHW                        // Op.HW
	FieldMsgs                      // Op.Msgs
)

// FinalRead is one read after the recovery, in as many steps as it takes.
type FinalRead struct {
	Op histories.Op // the first step; type and process are set by the engine
	// Next says, after an ok answer, what to ask next and whether that is all. nil: one answer is
	// all. To ask another function, node, partition, value or position than before is progress;
	// without progress the engine waits before it asks again.
	Next func(asked, answer histories.Op) (next histories.Op, done bool)
}

// Fault is one way to hurt a cluster. It may be used for several strikes at once.
type Fault interface {
	// Name is the fault in the spelling of the command line, with role and shape.
	Name() string
	// Supports says, before the run, why c cannot be hurt so; nil when it can.
	Supports(c Cluster) error
	// Draw picks the victims among the nodes of c as they are now; at.Pick is its only randomness.
	// An error that wraps ErrNotNow means that the strike has to wait.
	Draw(ctx context.Context, c Cluster, at Strike) ([]NodeID, error)
	// Inject hurts nodes. The Undo ends it and returns the effect, also what an instant did (a
	// kill); whoever injects calls it on every way out. An Undo that comes with an error is called
	// too.
	Inject(ctx context.Context, s Stage, at Strike, nodes []NodeID) (Undo, error)
}

// ErrNotNow is returned (wrapped, with the reason) by Draw when the strike is not possible at the
// moment.
var ErrNotNow = errors.New("not possible now")

// Nemesis carries out a plan of faults.
type Nemesis interface {
	// Supports says, before the run, why c cannot be hurt so; nil when it can.
	Supports(c Cluster) error
	// Run strikes until its plan is over or ctx ends, and heals everything before it returns,
	// whatever happens. It returns only errors of the harness and the environment: what the system
	// under test did wrong is recorded. It is called once.
	Run(ctx context.Context, s Stage) error
	// Now names the faults that are on. It may be called while Run runs.
	Now() []string
}

// Stage is what a Nemesis acts on.
type Stage struct {
	Cluster Cluster
	// Record writes an op of the nemesis into the history, and returns it with its index and time.
	Record func(histories.Op) (histories.Op, error)
	// Start is when the load started: the zero of Strike.At.
	Start time.Time
	// Clients is the number of client processes in use at one time; process p is replaced by
	// p+Clients.
	Clients int
	// Processes returns the clients' processes in use now.
	Processes func() []int
	// Restore makes again what the workload needs (topics), for when every disk of a group was
	// lost; nil when there is nothing to make.
	Restore func(ctx context.Context) error
	Logger  *slog.Logger
}

// Strike is one planned use of a fault.
type Strike struct {
	ID    int           `json:"id"`
	Fault string        `json:"fault"`
	At    time.Duration `json:"at_ns"`  // from the start of the load
	For   time.Duration `json:"for_ns"` // until it is healed
	Pick  uint64        `json:"pick"`   // decides whatever is drawn when it strikes: victims, sides, bits
}

// Plan is the schedule of a run, as data: kept in the manifest, readable with --plan.
type Plan struct {
	Seed    uint64   `json:"seed"`
	Strikes []Strike `json:"strikes"`
}
