package agent

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"golang.org/x/sys/unix"
)

// delayQueue holds back the packets that the kernel puts in one netfilter queue. One goroutine, loop, owns the packets held.
type delayQueue struct {
	delay   delay
	number  uint16
	nf      *nfqueue.Nfqueue
	cancel  context.CancelFunc
	arrived chan held
	stop    chan struct{} // closed to let everything go and end
	ended   chan struct{} // closed by loop when it has
	delayed atomic.Int64  // packets sent on since the last takeCount
}

// held is a packet in the kernel that waits for its verdict.
type held struct {
	id  uint32
	due time.Time
}

// openQueue binds a netfilter queue. The caller closes it.
func openQueue(d delay, number uint16) (*delayQueue, error) {
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue:      number,
		MaxPacketLen: 128,
		MaxQueueLen:  65535,
		Copymode:     nfqueue.NfQnlCopyMeta,
		Flags:        nfqueue.NfQaCfgFlagFailOpen | nfqueue.NfQaCfgFlagGSO,
		AfFamily:     unix.AF_INET,
	})
	if err != nil {
		return nil, fmt.Errorf("open netfilter queue %d: %w", number, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &delayQueue{
		delay: d, number: number, nf: nf, cancel: cancel,
		arrived: make(chan held, 1024), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(number))) // used by the receiving goroutine only
	receive := func(a nfqueue.Attribute) int {
		if a.PacketID == nil {
			return 0
		}
		p := held{id: *a.PacketID, due: time.Now().Add(d.Min + time.Duration(random.Int64N(int64(d.Max-d.Min)+1)))}
		select {
		case q.arrived <- p:
		case <-q.stop: // a straggler of a queue that no rule feeds any more
			_ = nf.SetVerdict(p.id, nfqueue.NfAccept)
		}
		return 0
	}
	lost := func(err error) int {
		if ctx.Err() != nil {
			return 1
		}
		if errors.Is(err, unix.ENOBUFS) { // the kernel had more to say than the socket held; with fail-open those packets went on
			return 0
		}
		time.Sleep(time.Millisecond) // whatever it is, don't spin on it
		return 0
	}
	if err := nf.RegisterWithErrorFunc(ctx, receive, lost); err != nil {
		cancel()
		_ = nf.Close()
		return nil, fmt.Errorf("bind netfilter queue %d: %w", number, err)
	}
	go q.loop()
	return q, nil
}

// loop sends each packet on when it is due, until stop is closed; then everything at once.
func (q *delayQueue) loop() {
	defer close(q.ended)
	var waiting heldHeap
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case p := <-q.arrived:
			heap.Push(&waiting, p)
		case <-timer.C:
		case <-q.stop:
			q.release(&waiting, func(held) bool { return true })
			return
		}
		now := time.Now()
		q.release(&waiting, func(p held) bool { return !p.due.After(now) })
		next := time.Hour
		if len(waiting) > 0 {
			next = time.Until(waiting[0].due)
		}
		timer.Reset(next)
	}
}

// release sends packets on, the one due first first, as long as due says so.
func (q *delayQueue) release(waiting *heldHeap, due func(held) bool) {
	for len(*waiting) > 0 && due((*waiting)[0]) {
		p := heap.Pop(waiting).(held)
		if q.nf.SetVerdict(p.id, nfqueue.NfAccept) == nil {
			q.delayed.Add(1)
		}
	}
}

// close lets all packets go and unbinds the queue. No rule may feed it any more.
func (q *delayQueue) close() {
	close(q.stop)
	<-q.ended
	for len(q.arrived) > 0 {
		_ = q.nf.SetVerdict((<-q.arrived).id, nfqueue.NfAccept)
	}
	q.cancel()
	_ = q.nf.Close()
}

// heldHeap orders packets by when they are due.
type heldHeap []held

var _ heap.Interface = (*heldHeap)(nil)

func (h heldHeap) Len() int           { return len(h) }
func (h heldHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h heldHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *heldHeap) Push(x any) { *h = append(*h, x.(held)) }

// Pop implements heap.Interface.
func (h *heldHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	*h = (*h)[:last]
	return p
}
