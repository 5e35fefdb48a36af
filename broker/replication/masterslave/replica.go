// Package masterslave replicates a broker group's commit log from one leader to its followers, without failover: an operator
// promotes. docs/replication.md is its specification and argues why an acknowledged message survives.
//
// A Replica is one node's part in its group. Its state has one owner at a time: role, epoch, followers' progress, waiting producers,
// and every write to log and meta file except flushes. Owners take turns: who appends, the flusher, the puller that follows a
// leader, the watchers that ask peers how they are, and the goroutines of peer connections. What others may read at any time
// is the view that the last owner published.
//
// The package serves no clients and knows Kafka only by the error codes and the record batches in the log.
package masterslave

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/assay-project/assay/broker/commitlog"
	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/broker/replication"
	"github.com/assay-project/assay/internal/vfs"
)

var _ replication.Log = (*Replica)(nil)

// Config is what a Replica is made of. Everything but Observer must be set.
type Config struct {
	Cluster  string
	Node     int32
	Members  []Member // of the whole cluster, in the order of the configuration, which gives each group its first leader
	Options  Options
	FS       vfs.FS
	Dial     DialFunc
	Rand     *rand.Rand // the replica's from here on
	Logger   *slog.Logger
	Observer Observer // nil: nobody watches
}

// Observer is told durations for metrics. Its methods must not block; they are called from several goroutines.
type Observer interface {
	// Appended is called for every batch that producers wait for: the time from its append to its acknowledgement.
	Appended(d time.Duration)
	// Flushed is called for every flush of the log.
	Flushed(d time.Duration)
}

// Replica is one node of a group. Make it with Open, run it with Start.
type Replica struct {
	cfg         Config
	opts        Options
	values      map[string]string // opts, spelled; never changes
	self        Member
	group       []Member // the nodes of this group, in the order of the configuration
	ids         []int32  // theirs, in the same order
	config      uint64   // see fingerprint
	log         *commitlog.Log
	incarnation uint64
	logger      *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the replica
	done   chan struct{}  // closed when nobody owns the state any more

	wanted chan struct{} // has one token when a flush is asked for
	failed chan struct{} // closed when the disk has failed

	owner   chan struct{} // a lock of capacity 1, held while the disk works: guards state and the changes of sweeper
	state   state
	sweeper *time.Timer // for the first deadline of a producer that waits

	mu       sync.Mutex // guards what follows; held for in-memory work only
	view     view
	turn     news // of the puller: whom to follow
	progress news // of those who serve clients and followers: view.View and view.shippable
	conns    map[net.Conn]struct{}
	closing  bool
}

// state belongs to whoever holds Replica.owner.
type state struct {
	meta       meta
	known      bool // meta says something: the node has a role
	ready      bool // the start round is over
	machine    *partitions.Machine
	epochAt    epochFrame
	lead       *leadership // not nil while leading
	waiting    waiters
	committed  int64 // as a follower: the greatest committed position that a leader told, not above the log's end
	told       bool  // a leader has told one since the start
	refused    string
	failure    string
	joinEnd    int64            // while joining: what to reach, -1 not known yet
	heard      map[int32]Status // the latest answers of this group's other nodes to this process
	heardOther map[int32]Status // the same of other groups' nodes
	ignored    map[int32]string // peers whose configuration differs, and how
	scratch    []byte
	follow     followCtx
	notify     chan struct{} // to the puller's connection, has one token when something was flushed; nil when there is none
	others     []leaderView
	rebuild    bool
	sweeping   bool   // sweeper is set
	sessions   uint64 // given to followers' connections by this process, over all its leaderships
}

// epochFrame is the last epoch frame in the log.
type epochFrame struct {
	epoch int32
	end   int64
}

// followCtx ends with the epoch, so that nothing goes on following an old one.
type followCtx struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// view is what the owner of the state publishes.
type view struct {
	replication.View
	role      Role
	leader    int32 // node that the epoch names; -1: none
	joining   bool
	ready     bool
	refused   string
	failure   string
	shippable int64 // frames that end at or below it go to followers
	followers []FollowerStatus
	others    []leaderView // by group
}

// leaderView is who leads a group, as its nodes say.
type leaderView struct {
	epoch  int32
	leader int32 // -1: not known
}

// Open recovers the node's log and meta file. An error leaves nothing open.
func Open(cfg Config) (*Replica, error) {
	r := &Replica{
		cfg: cfg, opts: cfg.Options, values: cfg.Options.Values(), logger: cfg.Logger, incarnation: cfg.Rand.Uint64()>>1 | 1,
		done: make(chan struct{}), owner: make(chan struct{}, 1), wanted: make(chan struct{}, 1),
		failed: make(chan struct{}), sweeper: time.NewTimer(time.Hour), conns: make(map[net.Conn]struct{}),
	}
	if err := r.place(); err != nil {
		return nil, err
	}
	m, found, err := loadMeta(cfg.FS)
	if err != nil {
		return nil, err
	}
	if found {
		if err := r.belongs(m); err != nil {
			return nil, err
		}
	}
	s := &r.state
	s.machine = partitions.New(r.self.Group, r.opts.Groups)
	s.joinEnd = -1
	s.heard, s.heardOther, s.ignored = make(map[int32]Status), make(map[int32]Status), make(map[int32]string)
	s.others = make([]leaderView, r.opts.Groups)
	for g := range s.others {
		s.others[g].leader = -1
	}
	r.log, err = commitlog.Open(cfg.FS, commitlog.Options{Logger: cfg.Logger}, r.apply)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if found && int64(m.Epoch) < int64(r.log.LastEpoch()) {
		return nil, errors.Join(fmt.Errorf("%w: it knows epoch %d, and the log has frames of epoch %d", ErrMeta, m.Epoch, r.log.LastEpoch()), r.log.Close())
	}
	r.restore(m, found)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	s.follow.ctx, s.follow.cancel = context.WithCancel(r.ctx)
	r.publish()
	return r, nil
}

// place finds this node's group and checks the configuration.
func (r *Replica) place() error {
	i := slices.IndexFunc(r.cfg.Members, func(m Member) bool { return m.ID == r.cfg.Node })
	if i < 0 {
		return fmt.Errorf("node %d is not in the list of nodes", r.cfg.Node)
	}
	r.self = r.cfg.Members[i]
	sizes := make([]int, r.opts.Groups)
	for _, m := range r.cfg.Members {
		if m.Group < 0 || m.Group >= r.opts.Groups {
			return fmt.Errorf("node %d is in group %d, and option groups=%d", m.ID, m.Group, r.opts.Groups)
		}
		sizes[m.Group]++
		if m.Group == r.self.Group {
			r.group, r.ids = append(r.group, m), append(r.ids, m.ID)
		}
	}
	r.config = fingerprint(r.cfg.Cluster, r.self.Group, r.opts, r.ids)
	for g, n := range sizes {
		if n < r.opts.Copies || n == 0 {
			return fmt.Errorf("option copies=%d: group %d has %d nodes", r.opts.Copies, g, n)
		}
	}
	return nil
}

// restore sets the role that disk and log give.
func (r *Replica) restore(m meta, found bool) {
	s := &r.state
	s.meta, s.known = m, found
	if !found {
		s.meta = meta{Cluster: r.cfg.Cluster, Group: r.self.Group, Node: r.cfg.Node, Groups: r.opts.Groups, Members: r.ids}
		if r.log.End() > 0 {
			// The log outlived the meta file: what this node has promised is not known, so it must not count before it has caught up.
			s.known, s.meta.Joining, s.meta.Epoch = true, true, int32(r.log.LastEpoch())
		}
	}
}

// apply feeds the machine with a frame that is in the log.
func (r *Replica) apply(f commitlog.Frame) error {
	if f.Epoch > maxEpoch {
		return fmt.Errorf("%w: epoch %d at position %d", partitions.ErrPayload, f.Epoch, f.Position)
	}
	err := r.state.machine.Apply(partitions.Frame{Kind: uint8(f.Kind), Epoch: int32(f.Epoch), Start: f.Position, End: f.End, Payload: f.Payload})
	if err == nil && uint8(f.Kind) == partitions.KindEpoch {
		r.state.epochAt = epochFrame{epoch: int32(f.Epoch), end: f.End}
	}
	return err
}

// Start runs the replica, and serves peers on the listener, which is the replica's from here on.
func (r *Replica) Start(peers net.Listener) {
	r.logger.Info("replica starts", "group", r.self.Group, "epoch", r.state.meta.Epoch, "leading", r.state.meta.Leading, "joining", r.state.meta.Joining,
		"end", r.log.End(), "last_epoch", r.log.LastEpoch(), "cut_bytes", r.log.Recovery().TruncatedBytes)
	r.goes(r.run)
	r.goes(r.flushes)
	r.goes(r.follows)
	for _, m := range r.cfg.Members {
		if m.ID != r.cfg.Node {
			r.goes(func() { r.watch(m) })
		}
	}
	r.goes(func() { r.servePeers(peers) })
	r.goes(func() {
		<-r.ctx.Done()
		_ = peers.Close()
	})
}

func (r *Replica) goes(f func()) {
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		f()
	}()
}

// Close stops the replica, waits for its goroutines, and flushes and closes the log. Producers that still wait get REQUEST_TIMED_OUT.
func (r *Replica) Close() error {
	r.cancel()
	r.mu.Lock()
	r.closing = true
	conns := r.conns
	r.conns = make(map[net.Conn]struct{})
	r.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	r.wg.Wait()
	r.sweeper.Stop()
	r.state.follow.cancel()
	err := r.log.Close()
	if errors.Is(err, commitlog.ErrFailed) {
		err = nil // known, and said
	}
	r.logger.Info("replica stopped", "group", r.self.Group, "end", r.log.End(), "flushed", r.log.Flushed())
	return err
}

// keep notes an open connection, so that Close ends it; false when Close was called already.
func (r *Replica) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *Replica) drop(c net.Conn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close()
}

// Failed returns a channel that is closed when the node's disk has failed: it then takes no more writes until it is restarted.
func (r *Replica) Failed() <-chan struct{} { return r.failed }

// ReadFrame implements replication.Log.
func (r *Replica) ReadFrame(position int64) (commitlog.Frame, error) {
	return r.log.ReadFrame(position)
}
