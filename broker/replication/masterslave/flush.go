package masterslave

import "time"

// flushInterval is the time between background flushes.
const flushInterval = 500 * time.Millisecond

// flushSoon asks for a flush now, where the configuration waits for flushes. One flush serves all appends before it.
func (r *Replica) flushSoon() {
	if r.opts.Flush == FlushSync || r.opts.Flush == FlushLeader && r.state.lead != nil {
		select {
		case r.wanted <- struct{}{}:
		default: // one is asked for already, and will cover this
		}
	}
}

// flushes is the flusher.
func (r *Replica) flushes() {
	background := time.NewTicker(flushInterval)
	defer background.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.failed:
			return
		case <-r.wanted:
		case <-background.C:
		}
		before := r.log.Flushed()
		if before == r.log.End() {
			continue
		}
		start := time.Now()
		_, err := r.log.Flush()
		if err == nil && r.cfg.Observer != nil {
			r.cfg.Observer.Flushed(time.Since(start))
		}
		_ = r.do(r.ctx, func() { r.afterFlush(err) }) // an error means that the replica stops
	}
}

// afterFlush draws the consequences of a flush.
func (r *Replica) afterFlush(err error) {
	if err != nil {
		r.fail("flush", err)
		return
	}
	r.advance(time.Now())
	if n := r.state.notify; n != nil && r.opts.Flush == FlushSync {
		select {
		case n <- struct{}{}:
		default: // it has not told of the last one yet
		}
	}
}
