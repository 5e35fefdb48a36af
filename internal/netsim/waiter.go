package netsim

import "time"

// waiter is where one goroutine at a time waits for its connection.
//
// Its timer serves both deadlines and arrivals: whoever sends something resets the timer to the moment of its arrival, and the waiting
// goroutine then looks again. So a segment costs a Reset and one wake, and no goroutine. (A timer channel never delivers a
// value from before a Reset: Go 1.23.) What happens now comes over kick, because timers no longer fire when a bubble ends.
type waiter struct {
	net   *Network
	turn  chan struct{} // capacity 1: held by the call that may wait, taken before and never while Network.mu is held
	kick  chan struct{} // capacity 1
	timer *time.Timer   // made at the first wait

	// Guarded by Network.mu.
	waiting bool
	at      time.Duration // when timer fires, 0 for never; meaningful while waiting
}

func newWaiter(n *Network) waiter {
	return waiter{net: n, turn: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

func (w *waiter) acquire() { w.turn <- struct{}{} }
func (w *waiter) release() { <-w.turn }

// wait gives up Network.mu until at (0 for never), the deadline (zero for none) or an earlier wake.
func (w *waiter) wait(at time.Duration, deadline time.Time) {
	if !deadline.IsZero() {
		if d := max(1, deadline.Sub(w.net.start)); at == 0 || d < at {
			at = d
		}
	}
	w.waiting, w.at = true, at
	switch {
	case w.timer == nil && at == 0:
		w.timer = time.NewTimer(time.Hour)
		w.timer.Stop()
	case w.timer == nil:
		w.timer = time.NewTimer(at - w.net.now())
	case at == 0:
		w.timer.Stop()
	default:
		w.timer.Reset(at - w.net.now())
	}
	w.net.mu.Unlock()
	select {
	case <-w.timer.C:
	case <-w.kick:
	}
	w.net.mu.Lock()
	w.waiting = false
}

// wakeAt makes the waiting goroutine, if there is one, look again at that time or earlier.
func (w *waiter) wakeAt(at time.Duration) {
	switch now := w.net.now(); {
	case !w.waiting:
	case at <= now:
		w.wake()
	case w.at == 0 || at < w.at:
		w.at = at
		w.timer.Reset(at - now)
	}
}

// wake makes it look again now. A kick that finds nobody any more costs the next wait one look.
func (w *waiter) wake() {
	if w.waiting {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
}
