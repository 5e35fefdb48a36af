package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// echoTime is how soon after the first signal another one is the same again: timeout(1) signals its
// child and then the whole process group, so the child has each signal twice.
const echoTime = time.Second

// abandonTime is what a second signal leaves for removing the cluster.
const abandonTime = 20 * time.Second

// clusters are the clusters of this process that have to be removed on the way out, whatever way
// that is. The zero value is ready.
type clusters struct {
	mu   sync.Mutex // guards what follows
	next int
	stop map[int]func(context.Context) error
}

// add remembers how to remove a cluster until release is called.
func (c *clusters) add(stop func(context.Context) error) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil {
		c.stop = make(map[int]func(context.Context) error)
	}
	id := c.next
	c.next++
	c.stop[id] = stop
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.stop, id)
	}
}

// remove removes what is left.
func (c *clusters) remove() error {
	c.mu.Lock()
	left := maps.Clone(c.stop)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), abandonTime)
	defer cancel()
	var errs []error
	for _, stop := range left {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP ends; doing says what
// happens then. The second one ends the process at once, after an attempt to remove what the run
// made.
func (a *app) interruptible(ctx context.Context, doing string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				if !first.IsZero() && time.Since(first) < echoTime {
					continue
				}
				if !first.IsZero() {
					a.complain("stopping at once; " + a.program() + " clean removes what may be left")
					if err := a.clusters.remove(); err != nil {
						a.complain(oneLine(err))
					}
					exit(1)
				}
				first = time.Now()
				a.complain(fmt.Sprintf("%v: %s (again to stop at once)", s, doing))
				cancel()
			}
		}
	}()
	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			signal.Stop(signals)
			close(done)
			cancel()
		})
	}
}
