package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
)

// wire is a connection whose other end is the test.
type wire struct {
	net.Conn
	arrives chan []byte
	sent    bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error) {
	data, ok := <-w.arrives
	if !ok {
		return 0, io.EOF
	}
	return copy(p, data), nil
}

func (w *wire) Write(p []byte) (int, error)      { return w.sent.Write(p) }
func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// linked returns the links and a connection of process 1 to n1.
func linked() (*links, *wire, *shaped) {
	l, w := newLinks(), &wire{arrives: make(chan []byte, 10)}
	return l, w, newShaped(w, l, link{process: 1, node: "n1"})
}

func toNode(change func(*harness.Rule)) harness.Rule {
	r := harness.Rule{From: harness.Endpoint{Process: 1}, To: harness.Endpoint{Node: "n1"}}
	change(&r)
	return r
}

func toClient(change func(*harness.Rule)) harness.Rule {
	r := harness.Rule{From: harness.Endpoint{Node: "n1"}, To: harness.Endpoint{Process: 1}}
	change(&r)
	return r
}

func slow50(r *harness.Rule) { r.DelayMin, r.DelayMax = 50*time.Millisecond, 50*time.Millisecond }

// took is how much virtual time do takes.
func took(do func()) time.Duration {
	begin := time.Now()
	do()
	return time.Since(begin)
}

func TestLinkDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w, c := linked()
		l.add("s1", []harness.Rule{toNode(slow50), toClient(slow50)})
		l.add("s2", []harness.Rule{toNode(slow50)})
		require.Equal(t, 100*time.Millisecond, took(func() {
			_, err := c.Write([]byte("abc"))
			require.NoError(t, err)
		}), "delays add up")
		require.Equal(t, "abc", w.sent.String())

		w.arrives <- []byte("defg")
		require.Equal(t, 50*time.Millisecond, took(func() {
			for range 2 { // what arrived at once is delayed once
				n, err := c.Read(make([]byte, 2))
				require.NoError(t, err)
				require.Equal(t, 2, n)
			}
		}))
		require.Equal(t, int64(2), l.remove("s1"))
		require.Equal(t, int64(1), l.remove("s2"))
		require.Zero(t, took(func() { _, _ = c.Write([]byte("h")) }))
	})
}

func TestLinkLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w, c := linked()
		l.add("s1", []harness.Rule{toNode(func(r *harness.Rule) { r.Loss = 1 })})
		require.Equal(t, retransmit, took(func() { _, _ = c.Write([]byte("abc")) }))
		require.Equal(t, "abc", w.sent.String(), "TCP sends it again")
	})
}

func TestLinkOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, c := linked()
		other := toNode(drop)
		other.From.Process = 2
		elsewhere := toNode(drop)
		elsewhere.To.Node = "n2"
		l.add("s1", []harness.Rule{other, elsewhere, toClient(drop), {From: harness.Endpoint{Node: "n1"}, To: harness.Endpoint{Node: "n2"}, Drop: true}})
		require.Zero(t, took(func() {
			_, err := c.Write([]byte("abc"))
			require.NoError(t, err)
		}))
		require.Zero(t, l.remove("s1"))
	})
}

func TestLinkSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w, c := linked()
		l.add("s1", []harness.Rule{toNode(drop), toClient(drop)})
		w.arrives <- []byte("abc")
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		require.Equal(t, time.Second, took(func() {
			_, err := c.Read(make([]byte, 8))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}))
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Second)))
		require.Equal(t, time.Second, took(func() {
			_, err := c.Write([]byte("x"))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}))
		require.NoError(t, c.SetDeadline(time.Time{}))
		go func() {
			time.Sleep(3 * time.Second)
			l.remove("s1")
		}()
		require.Equal(t, 3*time.Second, took(func() {
			p := make([]byte, 8)
			n, err := c.Read(p)
			require.NoError(t, err)
			require.Equal(t, "abc", string(p[:n]), "what arrived during the split is there after it")
		}))
		require.Empty(t, w.sent.String(), "what could not be sent in time is never sent")
	})
}

func TestLinkCloseEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*links, *shaped){
			func(_ *links, c *shaped) { assert.NoError(t, errors.Join(c.Close(), c.Close())) },
			func(l *links, _ *shaped) { l.close() },
		} {
			l, w, c := linked()
			l.add("s1", []harness.Rule{toNode(drop)})
			go func() {
				time.Sleep(time.Second)
				end(l, c)
			}()
			_, err := c.Write([]byte("x"))
			require.ErrorIs(t, err, net.ErrClosed)
			require.Empty(t, w.sent.String())
		}
	})
}

func TestLinkDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := link{process: 1, node: "n1"}
		opened := 0
		open := func(context.Context) (net.Conn, error) {
			opened++
			return &wire{}, nil
		}
		l := newLinks()
		l.add("s1", []harness.Rule{toNode(slow50), toClient(slow50)})
		require.Equal(t, 100*time.Millisecond, took(func() {
			_, err := l.dial(t.Context(), k, open)
			require.NoError(t, err)
		}))
		for _, way := range []harness.Rule{toNode(drop), toClient(drop)} {
			l := newLinks()
			l.add("s1", []harness.Rule{way})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.Equal(t, time.Second, took(func() {
				_, err := l.dial(ctx, k, open)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}))
		}
		require.Equal(t, 2, opened, "an answer that is lost was sent")
		_, err := newLinks().dial(t.Context(), k, func(context.Context) (net.Conn, error) { return nil, io.EOF })
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeadline()
		expired := func() bool {
			synctest.Wait()
			select {
			case <-d.wait():
				return true
			default:
				return false
			}
		}
		d.set(time.Now().Add(time.Second))
		time.Sleep(500 * time.Millisecond)
		require.False(t, expired())
		d.set(time.Now().Add(time.Second)) // later
		time.Sleep(600 * time.Millisecond)
		require.False(t, expired())
		time.Sleep(600 * time.Millisecond)
		require.True(t, expired())
		d.set(time.Now().Add(time.Second)) // anew
		require.False(t, expired())
		d.set(time.Now().Add(-time.Second)) // in the past
		require.True(t, expired())
		d.set(time.Time{}) // none
		time.Sleep(time.Hour)
		require.False(t, expired())
	})
}
