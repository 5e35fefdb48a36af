package netsim

import "time"

// waiter is where one goroutine at a time waits for its connection. A single timer wakes it for every reason, so that a
// segment which arrives later costs the writer a Reset and no goroutine: whoever has news resets the timer to the moment when the
// news can be felt, and the waiting goroutine looks again. (A timer channel never delivers a value from before a Reset: Go 1.23.)
type waiter struct {
	net   *Network
	turn  chan struct{} // capacity 1: held by the call that may wait, taken before and never while Network.mu is held
	timer *time.Timer   // made at the first wait

	// Guarded by Network.mu.
	waiting bool
	at      time.Duration // when timer fires, 0 for never; meaningful while waiting
}

func newWaiter(n *Network) waiter { return waiter{net: n, turn: make(chan struct{}, 1)} }

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
	<-w.timer.C
	w.net.mu.Lock()
	w.waiting = false
}

// wakeAt makes the waiting goroutine, if there is one, look again at that time or earlier.
func (w *waiter) wakeAt(at time.Duration) {
	if w.waiting && (w.at == 0 || at < w.at) {
		w.at = at
		w.timer.Reset(at - w.net.now())
	}
}

// wake makes it look again now.
func (w *waiter) wake(now time.Duration) { w.wakeAt(max(1, now)) }
