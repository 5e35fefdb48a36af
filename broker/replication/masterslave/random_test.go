package masterslave

import (
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

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

// chaos is one random experiment: producers send, nodes crash at random moments and come back, the network is cut, an operator
// promotes where it is safe. Whatever was acknowledged has to be in every log at the end.
type chaos struct {
	*world
	rng    *rand.Rand
	power  bool // power losses, too; needs flush=sync
	wipes  bool
	mu     sync.Mutex // guards acked, weak and the choice of a leader
	acked  map[string]int64
	pick   *rand.Rand
	heal   []func()
	wiped  int32 // has not caught up yet; 0: none
	stop   atomic.Bool
	weak   int
	events []string
}

func (c *chaos) note(format string, args ...any) {
	c.events = append(c.events, fmt.Sprintf("%v %s", time.Now().Format("05.000"), fmt.Sprintf(format, args...)))
}

// produce sends message after message to the node that seems to lead, until told to stop.
func (c *chaos) produce(name string, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	for i := 0; !c.stop.Load(); i++ {
		time.Sleep(time.Duration(3) * time.Millisecond)
		leader, r := c.someLeader()
		if r == nil {
			continue
		}
		text := fmt.Sprintf("%s-%d", name, i)
		offset, err := sendTo(r, batchOf(text, -1, -1, -1))
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

// step is one thing that the nemesis or the operator does.
func (c *chaos) step() {
	id := c.all()[c.rng.IntN(len(c.members))]
	m := c.nodes[id]
	switch c.rng.IntN(8) {
	case 0, 1:
		if m.r.Load() != nil {
			mode := vfs.KeepCache
			if c.power && c.rng.IntN(2) == 0 {
				mode = vfs.PowerLoss
			}
			c.note("crash %d mode %d", id, mode)
			c.crash(mode, id)
		}
	case 2, 3:
		if m.r.Load() == nil {
			c.note("start %d", id)
			c.start(id)
		}
	case 4:
		if len(c.heal) > 0 {
			c.note("heal")
			c.heal[0]()
			c.heal = c.heal[1:]
		} else {
			c.note("cut %d", id)
			c.heal = append(c.heal, c.cut(id))
		}
	case 5:
		u := c.net.Shape([]netsim.Rule{{From: fmt.Sprintf("n%d", id), DelayMin: 20 * time.Millisecond, DelayMax: 100 * time.Millisecond}})
		c.note("slow %d", id)
		c.heal = append(c.heal, func() { u() })
	case 6:
		if c.wipes && c.wiped == 0 && m.r.Load() != nil && len(c.up()) == len(c.members) {
			c.note("wipe %d", id)
			c.crash(vfs.Empty, id)
			c.wiped = id
		}
	case 7:
		res, err := c.promote(0, false)
		c.note("promote: %+v %v", res, err)
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

func (c *chaos) run(steps int) {
	c.start(c.all()...)
	c.well(0)
	c.topic(1, "t")
	done := make(chan struct{})
	for i := range 3 {
		go c.produce(fmt.Sprintf("p%d", i), done)
	}
	for range steps {
		time.Sleep(time.Duration(c.rng.IntN(1500)) * time.Millisecond)
		c.step()
	}
	for _, h := range c.heal {
		h()
	}
	for _, id := range c.all() {
		if c.nodes[id].r.Load() == nil {
			c.start(id)
		}
	}
	c.stop.Store(true)
	for range 3 {
		<-done
	}
	time.Sleep(3 * time.Second)
	for {
		if _, err := c.promote(0, false); err == nil {
			break
		} else {
			require.True(c.t, errors.Is(err, ErrUnsafe) || errors.Is(err, ErrContended), "%v", err)
			c.note("last promote: %v", err)
			time.Sleep(time.Second)
			if len(c.events) > 1000 {
				c.fatal("no safe promote with everything well")
			}
		}
	}
	c.well(0)
	for _, id := range c.all() {
		have := map[string]int64{}
		for i, text := range c.messages(id) {
			if _, twice := have[text]; twice {
				c.fatal(fmt.Sprintf("node %d: %s twice", id, text))
			}
			have[text] = int64(i)
		}
		for text, offset := range c.acked {
			if at, ok := have[text]; !ok || at != offset {
				c.fatal(fmt.Sprintf("node %d: acknowledged %s at %d: there %v at %d", id, text, offset, ok, at))
			}
		}
		c.sameAfterRestart(id)
	}
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
	} {
		t.Run(tc.name, func(t *testing.T) {
			acked, weak := 0, 0
			for seed := range seeds(1) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						opts := map[string]string{"replication": "sync", "copies": tc.copies, "flush": tc.flush, "replication.timeout.ms": "700"}
						withWorld(t, tc.nodes, uint64(seed+1), opts, func(w *world) {
							c := &chaos{world: w, rng: rand.New(rand.NewPCG(uint64(seed), 7)), pick: rand.New(rand.NewPCG(uint64(seed), 8)), power: tc.power, wipes: tc.wipes, acked: map[string]int64{}}
							c.run(30)
							acked += len(c.acked)
							weak += c.weak
						})
					})
				})
			}
			require.NotZero(t, acked)
			t.Logf("%d acknowledged, %d not", acked, weak)
		})
	}
}
