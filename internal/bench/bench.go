// Package bench measures the reference broker under a simple load, beside the floor: about the
// least that a replicated log can do on the machine. It runs in real time, on loopback and real
// files; it judges nothing.
package bench

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"
)

// Load is what is asked of a log.
type Load struct {
	InFlight int           // requests at one time
	Time     time.Duration // of the measurement, after a warm-up of a fifth of it
	Size     int           // bytes of a record; one record a request
}

// Floor measures the floor, whose files are in dir.
func Floor(ctx context.Context, l Load, dir string, fsync bool) (Measured, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Measured{}, err
	}
	floor, err := startFloor(dir, fsync)
	if err != nil {
		return Measured{}, err
	}
	defer floor.close()
	senders := make([]func() error, l.InFlight)
	for i := range senders {
		send, closeIt, err := floorClient(ctx, floor.addr, make([]byte, l.Size))
		if err != nil {
			return Measured{}, err
		}
		defer closeIt()
		senders[i] = send
	}
	return drive(ctx, senders, l.Time)
}

// Measured is what came of a load.
type Measured struct {
	PerSecond float64 // acknowledged
	P50, P99  time.Duration
}

// drive calls each sender in a loop of its own for d, after a warm-up of a fifth of that.
func drive(ctx context.Context, senders []func() error, d time.Duration) (Measured, error) {
	var (
		wg    sync.WaitGroup
		took  = make([][]time.Duration, len(senders))
		errs  = make([]error, len(senders))
		start = time.Now().Add(d / 5)
		end   = start.Add(d)
	)
	for i, send := range senders {
		wg.Go(func() {
			for {
				begin := time.Now()
				if begin.After(end) || ctx.Err() != nil {
					return
				}
				if errs[i] = send(); errs[i] != nil {
					return
				}
				if done := time.Now(); begin.After(start) && done.Before(end) {
					took[i] = append(took[i], done.Sub(begin))
				}
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	if err := errors.Join(errs...); err != nil {
		return Measured{}, err
	}
	if len(all) == 0 {
		return Measured{}, errors.New("nothing was acknowledged: give more --time")
	}
	slices.Sort(all)
	return Measured{PerSecond: float64(len(all)) / d.Seconds(), P50: all[len(all)/2], P99: all[len(all)*99/100]}, nil
}
