package masterslave

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// chaos is one random experiment: producers send and readers read, nodes crash at random moments,
// are paused, and come back, the network is cut, disks fail, and operators promote where it is
// safe, several at once, and are interrupted. Whatever was acknowledged or read has to be in every
// log at the end.
type chaos struct {
	*world
	rng    *rand.Rand
	power  bool // power losses, too; needs flush=sync
	wipes  bool
	mu     sync.Mutex // guards what follows
	acked  map[string]int64
	read   []string // by offset
	epoch  int32    // the highest in which a leader was read from
	pick   *rand.Rand
	weak   int
	events []string

	heal      []func()
	wiped     int32 // has not caught up yet; 0: none
	stop      atomic.Bool
	operators sync.WaitGroup
}

func (c *chaos) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, fmt.Sprintf("%v %s", time.Now().Format("05.000"), fmt.Sprintf(format, args...)))
}

// produce sends message after message to the node that seems to lead, until told to stop. An
// idempotent producer sends each until it is acknowledged, the others once.
func (c *chaos) produce(id int64, idempotent bool, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	for i := int32(0); !c.stop.Load(); {
		time.Sleep(time.Duration(3) * time.Millisecond)
		leader, r := c.someLeader()
		if r == nil {
			continue
		}
		text, batch := fmt.Sprintf("p%d-%d", id, i), []byte(nil)
		if idempotent {
			batch = batchOf(text, id, 0, i)
		} else {
			batch = batchOf(text, -1, -1, -1)
			i++
		}
		offset, err := sendTo(r, batch)
		if c.nodes[leader].r.Load() != r {
			continue // the node has died: its answer reached nobody
		}
		c.mu.Lock()
		if err == nil {
			c.acked[text] = offset
		} else {
			c.weak++
		}
		c.mu.Unlock()
		if err == nil && idempotent {
			i++
		}
	}
}

// consume reads what any node shows to consumers, from where the reading has got to. Two nodes must
// never show different messages at one offset, and the leader of the highest epoch must show
// everything that was ever shown.
func (c *chaos) consume(done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	for !c.stop.Load() && !c.t.Failed() { // one wrong reading says enough
		time.Sleep(5 * time.Millisecond)
		c.mu.Lock()
		id := c.all()[c.pick.IntN(len(c.members))]
		c.mu.Unlock()
		if r := c.nodes[id].r.Load(); r != nil {
			c.readFrom(id, r)
		}
	}
}

func (c *chaos) readFrom(id int32, r *Replica) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := r.View()
	p := partOf(r, "t")
	if !v.Readable || p == nil || v.Machine.Partition(p.Topic, p.Index) != p {
		return
	}
	limit, from := p.HighWatermark(v.Visible), max(0, len(c.read)-5)
	var got []string
	for _, e := range p.Batches(int64(from), limit, 1<<20) {
		f, err := r.ReadFrame(e.Start)
		if err != nil {
			return
		}
		b, _, err := partitions.DecodeBatchPayload(f.Payload)
		if !assert.NoError(c.t, err) {
			return
		}
		got = append(got, string(b.Batch[61:]))
	}
	if now := r.View(); now.Machine != v.Machine || now.Rebuilding || c.nodes[id].r.Load() != r {
		return // truncated meanwhile, or dead
	}
	if v.Leading && v.Epoch >= c.epoch {
		c.epoch = v.Epoch
		if !assert.GreaterOrEqual(c.t, limit, int64(len(c.read)), "node %d, leader in epoch %d, shows less than was read before", id, v.Epoch) {
			return
		}
	}
	for i, text := range got {
		if at := from + i; at < len(c.read) {
			if !assert.Equal(c.t, c.read[at], text, "node %d shows another message at offset %d", id, at) {
				return
			}
		} else {
			c.read = append(c.read, text)
		}
	}
}

// someLeader returns one of the nodes that believe that they lead.
func (c *chaos) someLeader() (leader int32, r *Replica) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.all() {
		if x := c.nodes[id].r.Load(); x != nil && x.Status().Role == RoleLeader && (r == nil || c.pick.IntN(2) == 0) {
			leader, r = id, x
		}
	}
	return leader, r
}

func (c *chaos) up() (ids []int32) {
	for _, id := range c.all() {
		if c.nodes[id].r.Load() != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// step is one thing that the nemesis or an operator does.
func (c *chaos) step() {
	id := c.all()[c.rng.IntN(len(c.members))]
	m := c.nodes[id]
	up := m.r.Load()
	switch c.rng.IntN(11) {
	case 0, 1:
		if up != nil {
			mode := vfs.KeepCache
			if c.power && c.rng.IntN(2) == 0 {
				mode = vfs.PowerLoss
			}
			c.note("crash %d mode %d", id, mode)
			c.down(mode, id)
		}
	case 2, 3:
		if up == nil {
			c.note("start %d", id)
			c.start(id)
		} else if up.Status().Role == RoleFailed {
			c.repair(id)
		}
	case 4, 5:
		c.cutOrHeal(id)
	case 6:
		if c.wipes && c.wiped == 0 && len(c.up()) == len(c.members) {
			c.note("wipe %d", id)
			c.down(vfs.Empty, id)
			c.wiped = id
		}
	case 7:
		if up != nil && up.Status().Role != RoleFailed {
			c.note("disk of %d fails", id)
			if c.rng.IntN(2) == 0 {
				m.disk.FailSync(true)
			} else {
				m.disk.SetFull(true)
			}
		}
	case 8:
		res, err := c.promote(0, false)
		c.note("promote: %+v %v", res, err)
	case 9:
		c.operator(id * int32(c.rng.IntN(2)))
		c.operator(0)
	case 10:
		if up != nil {
			c.note("pause %d", id)
			thaw := m.host.Freeze()
			c.heal = append(c.heal, func() { thaw() })
		}
	}
	if c.wiped != 0 {
		if r := c.nodes[c.wiped].r.Load(); r != nil {
			if s := r.Status(); s.Epoch > 0 && !s.Joining {
				c.note("rejoined %d", c.wiped)
				c.wiped = 0
			}
		}
	}
}

// operator promotes beside what else happens, and is interrupted at some moment.
func (c *chaos) operator(node int32) {
	c.operators.Add(1)
	limit := time.Duration(c.rng.IntN(4000)) * time.Millisecond
	go func() {
		defer c.operators.Done()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		res, err := Promote(ctx, PromoteRequest{Node: node}, c.members, c.admin.Dial, WithRequestTimeout(time.Second))
		c.note("operator for %v: promote %d: %+v %v", limit, node, res, err)
	}()
}

// repair restarts a node whose disk had failed, with its page cache.
func (c *chaos) repair(id int32) {
	c.note("repair %d", id)
	c.down(vfs.KeepCache, id)
	c.start(id)
}

// down crashes a node; what was wrong with its disk is repaired before it starts again.
func (c *chaos) down(mode vfs.ImageMode, id int32) {
	c.crash(mode, id)
	c.nodes[id].disk.FailSync(false)
	c.nodes[id].disk.SetFull(false)
}

// cutOrHeal does something to the network, or ends what was done to it longest ago.
func (c *chaos) cutOrHeal(id int32) {
	name := fmt.Sprintf("n%d", id)
	rule, what := netsim.Rule{From: name, DelayMin: 20 * time.Millisecond, DelayMax: 100 * time.Millisecond}, "slow"
	switch c.rng.IntN(6) {
	case 0, 1, 2:
		if len(c.heal) > 0 {
			c.note("heal")
			c.heal[0]()
			c.heal = c.heal[1:]
			return
		}
		c.note("cut %d", id)
		c.heal = append(c.heal, c.cut(id))
		return
	case 3:
		rule, what = netsim.Rule{From: name, Drop: true}, "mute"
	case 4:
		rule, what = netsim.Rule{To: name, Drop: true}, "deafen"
	}
	c.note("%s %d", what, id)
	undo := c.net.Shape([]netsim.Rule{rule})
	c.heal = append(c.heal, func() { undo() })
}

func (c *chaos) run(steps int) {
	c.start(c.all()...)
	c.well(0)
	c.topic(1, "t")
	done := make(chan struct{})
	for i := range int64(3) {
		go c.produce(i, i > 0, done)
	}
	go c.consume(done)
	for range steps {
		time.Sleep(time.Duration(c.rng.IntN(1500)) * time.Millisecond)
		c.step()
	}
	for _, h := range c.heal {
		h()
	}
	for _, id := range c.all() {
		c.nodes[id].disk.FailSync(false)
		c.nodes[id].disk.SetFull(false)
		if r := c.nodes[id].r.Load(); r == nil {
			c.start(id)
		} else if r.Status().Role == RoleFailed {
			c.repair(id)
		}
	}
	c.operators.Wait()
	c.stop.Store(true)
	for range 4 {
		<-done
	}
	c.recover()
	for _, id := range c.all() {
		c.judge(id)
	}
}

// recover promotes until it is safe, which it has to be once everything is up.
func (c *chaos) recover() {
	time.Sleep(3 * time.Second)
	for range 100 {
		_, err := c.promote(0, false)
		if err == nil {
			c.well(0)
			return
		}
		require.True(c.t, errors.Is(err, ErrUnsafe) || errors.Is(err, ErrContended), "%v", err)
		c.note("last promote: %v", err)
		time.Sleep(time.Second)
	}
	c.fatal("no safe promote with everything well")
}

// judge compares a node's log with what was acknowledged and read.
func (c *chaos) judge(id int32) {
	have := map[string]int64{}
	for i, text := range c.messages(id) {
		if _, twice := have[text]; twice {
			c.fatal(fmt.Sprintf("node %d: %s twice", id, text))
		}
		have[text] = int64(i)
		if i < len(c.read) && c.read[i] != text {
			c.fatal(fmt.Sprintf("node %d: %s at %d, where %s was read", id, text, i, c.read[i]))
		}
	}
	if len(have) < len(c.read) {
		c.fatal(fmt.Sprintf("node %d: %d messages, and %d were read", id, len(have), len(c.read)))
	}
	for text, offset := range c.acked {
		if at, ok := have[text]; !ok || at != offset {
			c.fatal(fmt.Sprintf("node %d: acknowledged %s at %d: there %v at %d", id, text, offset, ok, at))
		}
	}
	c.sameAfterRestart(id)
}

func (c *chaos) fatal(what string) {
	c.t.Helper()
	for _, e := range c.events {
		c.t.Log(e)
	}
	require.Fail(c.t, what)
}

// ASSAY_SEEDS asks for more than the default number of seeds.
func seeds(def int) int {
	if n, err := strconv.Atoi(os.Getenv("ASSAY_SEEDS")); err == nil {
		return n
	}
	return def
}

func TestAcknowledgedSurvives(t *testing.T) {
	for _, tc := range []struct {
		name   string
		nodes  int
		copies string
		flush  string
		power  bool
		wipes  bool
	}{
		{"kill, cut, slow", 3, "2", "async", false, false},
		{"kill, wipe", 3, "2", "async", false, true},
		{"kill, flush=leader", 3, "2", "leader", false, false},
		{"power, flush=sync", 3, "2", "sync", true, false},
		{"power and wipe, flush=sync", 3, "2", "sync", true, true},
		{"five nodes, three copies", 5, "3", "sync", true, true},
		{"all copies", 3, "3", "sync", true, true},
		{"two nodes", 2, "2", "sync", true, true},
		{"four nodes, two copies", 4, "2", "async", false, true},
		{"replication=async", 3, "1", "async", false, false},
		{"replication=async, power, flush=sync", 2, "1", "sync", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			acked, weak, read := 0, 0, 0
			for seed := range seeds(1) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						opts := map[string]string{"replication": "sync", "copies": tc.copies, "flush": tc.flush, "replication.timeout.ms": "700", "follower-read": "true"}
						if tc.copies == "1" {
							delete(opts, "copies")
							opts["replication"] = "async"
						}
						withWorld(t, tc.nodes, uint64(seed+1), opts, func(w *world) {
							c := &chaos{world: w, rng: rand.New(rand.NewPCG(uint64(seed), 7)), pick: rand.New(rand.NewPCG(uint64(seed), 8)), power: tc.power, wipes: tc.wipes, acked: map[string]int64{}}
							c.run(30)
							acked += len(c.acked)
							weak += c.weak
							read += len(c.read)
						})
					})
				})
			}
			require.NotZero(t, acked)
			require.NotZero(t, read)
			t.Logf("%d acknowledged, %d not, %d read", acked, weak, read)
		})
	}
}
