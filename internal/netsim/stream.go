package netsim

import (
	"time"
)

// stream is one direction of a connection. Guarded by Network.mu.
//
// Bytes are numbered from 0; base <= sent <= end. [base, sent) travels or has arrived, as marks tell; [sent, end) waits for its
// (re)transmission. Arrival is a time stamp that the reader compares with the clock: nothing runs when a segment arrives, unless a
// reader waits for it.
type stream struct {
	net      *Network
	src, dst *Conn
	rules    []shaper // that apply from src to dst

	buf   []byte // bytes [base, end) are buf[head:]
	head  int
	base  int64
	sent  int64
	marks []mark // of [base, sent), in order, never empty ranges
	owed  int64  // bytes read whose acknowledgement could not pass

	fin     bool // no bytes after end
	finSent bool
	finAt   time.Duration

	lastSent    time.Duration // when the last mark was made
	lastArrival time.Duration

	stalled bool // the segment at sent was lost; retry is armed
	rto     time.Duration
	retry   *time.Timer
	lostBy  *ruleSet // whose rule lost it, nil when the other host did not answer
}

// mark says when the bytes before end, and after the mark before it, arrive.
type mark struct {
	end int64
	at  time.Duration
}

func (s *stream) end() int64    { return s.base + int64(len(s.buf)-s.head) }
func (s *stream) pending() bool { return s.sent < s.end() || s.fin && !s.finSent }

// room is what the window has left.
func (s *stream) room() int64 { return window - s.owed - int64(len(s.buf)-s.head) }

// push appends what src wrote. The caller keeps to room.
func (s *stream) push(p []byte) {
	if s.head > 0 && len(s.buf)+len(p) > cap(s.buf) {
		s.buf = s.buf[:copy(s.buf, s.buf[s.head:])]
		s.head = 0
	}
	s.buf = append(s.buf, p...)
}

// arrived is the number of unread bytes that have arrived.
func (s *stream) arrived(now time.Duration) int64 {
	to := s.base
	for i := range s.marks {
		if s.marks[i].at > now {
			break
		}
		to = s.marks[i].end
	}
	return to - s.base
}

// take moves at most arrived(now) bytes to p.
func (s *stream) take(p []byte, now time.Duration) int {
	n := copy(p, s.buf[s.head:s.head+int(s.arrived(now))])
	s.head += n
	s.base += int64(n)
	used := 0
	for used < len(s.marks) && s.marks[used].end <= s.base {
		used++
	}
	s.marks = s.marks[:copy(s.marks, s.marks[used:])]
	if s.head == len(s.buf) {
		s.head = 0
		if s.buf = s.buf[:0]; cap(s.buf) > maxSegment {
			s.buf = nil
		}
	}
	s.owed += int64(n)
	s.payAcks()
	return n
}

// payAcks sends the acknowledgements that are due back to the writer, if the way back is open.
func (s *stream) payAcks() {
	if s.owed > 0 && !cut(s.dst.out.rules) {
		s.owed = 0
		s.src.writer.wake()
	}
}

// nextArrival is when something new can be read, 0 when nothing travels.
func (s *stream) nextArrival() time.Duration {
	switch {
	case len(s.marks) > 0:
		return s.marks[0].at
	case s.finSent:
		return s.finAt
	}
	return 0
}

// transmit sends what waits, as far as the link and the hosts let it.
func (s *stream) transmit() {
	if s.src.host.dead || s.src.rst && s.src.rstAt <= s.net.now() {
		s.drop()
		return
	}
	for s.pending() && !s.stalled {
		if s.src.host.frozen {
			s.src.host.held++
			return // the thaw goes on from here
		}
		now := s.net.now()
		if now == s.lastSent && len(s.marks) > 0 && s.sent < s.end() {
			last := &s.marks[len(s.marks)-1] // written in the same instant: the same segment
			if last.at > now && s.end()-last.end <= maxSegment {
				last.end, s.sent = s.end(), s.end()
				continue
			}
		}
		delay, lostBy := s.net.pass(s.rules)
		switch {
		case lostBy != nil:
			s.stall(lostBy)
		case s.dst.closed || s.dst.host.dead:
			s.bounce(now + delay)
		default:
			s.deliver(now, now+delay)
		}
	}
	s.src.forgetIfDone()
}

// deliver puts the next segment, or the end of the stream, on its way.
func (s *stream) deliver(now, at time.Duration) {
	s.rto = 0
	at = max(at, s.lastArrival)
	s.lastSent, s.lastArrival = now, at
	if s.dst.host.frozen {
		s.dst.host.held++
	}
	if s.sent < s.end() {
		s.sent = min(s.sent+maxSegment, s.end())
		s.marks = append(s.marks, mark{s.sent, at})
	}
	if s.sent == s.end() && s.fin {
		s.finSent, s.finAt = true, at
	}
	s.dst.reader.wakeAt(at)
}

// bounce is a segment that finds no connection at its end: the machine there answers with a reset, or not at all.
func (s *stream) bounce(at time.Duration) {
	if s.net.silent(s.dst.host.name) {
		s.stall(nil)
		return
	}
	back, lostBy := s.net.pass(s.dst.out.rules)
	if lostBy != nil {
		s.stall(lostBy)
		return
	}
	s.src.resetAt(at + back)
	s.drop()
}

// stall waits for the retransmission timeout.
func (s *stream) stall(lostBy *ruleSet) {
	if s.src.closed && (s.dst.host.dead || s.net.now()-s.src.closedAt > orphanLimit) {
		s.drop()
		return
	}
	s.stalled, s.lostBy = true, lostBy
	s.rto = min(max(minRTO, 2*s.rto), maxRTO)
	if s.retry == nil {
		s.retry = time.AfterFunc(s.rto, s.retransmit)
	} else {
		s.retry.Reset(s.rto)
	}
}

// retransmit is the timer's function.
func (s *stream) retransmit() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.net.closed || !s.stalled {
		return
	}
	s.stalled = false
	if s.lostBy != nil && s.lostBy.active {
		s.lostBy.counts.Retransmitted++
	}
	s.transmit()
}

// recall takes back, at the death of the sending host, what has not left it: the delay of a rule is spent in the sender's queue, and dies
// with it. What is nearer to its arrival than the network's own delay travels on.
func (s *stream) recall() {
	left := s.net.now() + s.net.max
	n := len(s.marks)
	for n > 0 && s.marks[n-1].at > left {
		n--
	}
	s.marks, s.sent = s.marks[:n], s.base
	if n > 0 {
		s.sent = s.marks[n-1].end
	}
	s.finSent = s.finSent && s.finAt <= left
	s.lastArrival = min(s.lastArrival, left)
}

// drop forgets what was not transmitted yet; what travels arrives.
func (s *stream) drop() {
	s.buf = s.buf[:s.head+int(s.sent-s.base)]
	s.fin = s.finSent
	s.stalled = false
	if s.retry != nil {
		s.retry.Stop()
	}
	s.src.forgetIfDone()
}
