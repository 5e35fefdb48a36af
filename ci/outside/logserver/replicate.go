package logserver

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/assay-project/assay/harness"
)

const (
	copyWait  = 300 * time.Millisecond // of an append, for the followers
	copyPoll  = 100 * time.Millisecond // how often a follower is asked what it has, or tried again
	copyTime  = time.Second            // of one round of copies to a follower
	lateFlush = 200 * time.Millisecond // how late BugAckBeforeWrite stores
	cacheTime = 300 * time.Millisecond // how long BugStaleCache remembers
)

// append stores messages here and on every follower. With old it is a compare-and-swap.
func (s *Server) append(
	ctx context.Context, part int64, old *int64, values []int64,
) (answer string, err error) {
	if !s.leads() {
		return "", errors.New("this node does not lead")
	}
	offset, added := s.log.add(part, old, values)
	if !added {
		return "", errors.New("the last message is another one")
	}
	if s.cfg.Bug == BugAckBeforeWrite {
		return ok([]int64{offset}), nil
	}
	if err := s.log.flush(part); err != nil {
		return "", s.fail(err)
	}
	timer := time.NewTimer(copyWait)
	defer timer.Stop()
	for {
		change := s.log.waiter()
		if s.log.copied(part, offset+int64(len(values))-1, s.cfg.Nodes[1:]) {
			return ok([]int64{offset}), nil
		}
		select {
		case <-change:
		case <-timer.C:
			return line("few", []int64{offset}), nil // stored here, and not yet everywhere
		case <-ctx.Done():
			return line("few", []int64{offset}), nil
		}
	}
}

// copier copies what is stored on the leader to one follower.
type copier struct {
	from   *log
	to     harness.NodeID
	client *Client
	has    map[int64]int64 // partition -> how many messages the follower said that it has
}

// copyTo copies to a follower until ctx ends.
func (s *Server) copyTo(ctx context.Context, follower harness.NodeID) {
	c := copier{s.log, follower, NewClient(s.world.Addr, s.world.Dial), make(map[int64]int64)}
	defer c.client.Close()
	for ctx.Err() == nil {
		change := s.log.waiter()
		timer := time.NewTimer(copyPoll)
		if err := c.all(ctx); err != nil {
			s.world.Logger.Debug("copying", "to", follower, "err", err)
			change = nil // it is tried again when the time is over
		}
		select {
		case <-change:
		case <-timer.C:
			clear(c.has) // it may have lost what it had: ask
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (c *copier) all(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, copyTime)
	defer cancel()
	for _, part := range c.from.ids() {
		if err := c.part(ctx, part); err != nil {
			delete(c.has, part)
			return err
		}
	}
	return nil
}

// part copies one partition as far as it is stored.
func (c *copier) part(ctx context.Context, part int64) error {
	for {
		at, known := c.has[part]
		end, values := c.from.read(part, at)
		if known && at >= end {
			return nil
		}
		if !known {
			values = nil // ask only
		}
		answer, err := c.client.Ask(ctx, c.to, "store", append([]int64{part, at}, values...)...)
		if err != nil {
			return err
		}
		c.has[part] = answer[0]
		c.from.confirm(part, c.to, answer[0])
	}
}

// last answers what the last message of a partition is.
func (s *Server) last(part int64) int64 {
	end, _ := s.log.read(part, math.MaxInt64)
	_, values := s.log.read(part, end-1)
	now := last(values)
	if s.cfg.Bug == BugStaleCache {
		return s.cache.get(part, now)
	}
	return now
}

// flushLate stores what BugAckBeforeWrite left in memory.
func (s *Server) flushLate(ctx context.Context) {
	ticks := time.NewTicker(lateFlush)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		for _, part := range s.log.ids() {
			if err := s.log.flush(part); err != nil {
				_ = s.fail(err) // it ends the node, which tells why
				return
			}
		}
	}
}

// cache is what BugStaleCache answers from.
type cache struct {
	mu     sync.Mutex // guards what follows; held for map access only
	values map[int64]int64
	until  map[int64]time.Time
}

// get returns what it remembers of a partition, and remembers what is there now if that is too old.
func (c *cache) get(part, now int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values, c.until = make(map[int64]int64), make(map[int64]time.Time)
	}
	if time.Now().After(c.until[part]) {
		c.values[part], c.until[part] = now, time.Now().Add(cacheTime)
	}
	return c.values[part]
}
