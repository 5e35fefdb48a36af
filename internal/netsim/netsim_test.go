package netsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// inBubble runs f with a network that has hosts a and b; every goroutine must have ended after the network is closed.
func inBubble(t *testing.T, cfg Config, f func(t *testing.T, n *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(1, cfg)
		defer n.Close()
		f(t, n)
	})
}

// pair makes a connection from a to b.
func pair(t *testing.T, n *Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen("tcp", "b:0")
	require.NoError(t, err)
	client, err = n.Host("a").Dial(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return client, server
}

// live is how many ends of connections the network remembers.
func live(n *Network) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	k, err := c.Write([]byte(s))
	require.NoError(t, err)
	require.Equal(t, len(s), k)
}

// read reads exactly as much as want is long, within limit.
func read(t *testing.T, c net.Conn, want string, limit time.Duration) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(limit)))
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	require.NoError(t, c.SetReadDeadline(time.Time{}))
}

// silent requires that nothing can be read for the time.
func silent(t *testing.T, c net.Conn, d time.Duration) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(d)))
	k, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, k)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
}

func TestDelayIsWithinTheRange(t *testing.T) {
	inBubble(t, Config{MinDelay: 5 * time.Millisecond, MaxDelay: 9 * time.Millisecond}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		seen := make(map[time.Duration]bool)
		for range 50 {
			start := time.Now()
			write(t, client, "x")
			read(t, server, "x", time.Second)
			d := time.Since(start)
			require.GreaterOrEqual(t, d, 5*time.Millisecond)
			require.LessOrEqual(t, d, 9*time.Millisecond)
			seen[d] = true
		}
		require.Greater(t, len(seen), 40, "delays are drawn")
	})
}

func TestSameSeedSameDelays(t *testing.T) {
	run := func() (out []time.Duration) {
		inBubble(t, Config{}, func(t *testing.T, n *Network) {
			client, server := pair(t, n)
			for range 20 {
				start := time.Now()
				write(t, client, "x")
				read(t, server, "x", time.Second)
				out = append(out, time.Since(start))
			}
		})
		return out
	}
	require.Equal(t, run(), run())
}

func TestBytesArriveInOrder(t *testing.T) {
	inBubble(t, Config{MinDelay: 0, MaxDelay: 50 * time.Millisecond}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		n.Shape([]Rule{{From: "a", To: "b", Loss: 0.2}})
		var want []byte
		for i := range 3000 {
			want = append(want, bytes.Repeat([]byte{byte(i)}, i%777)...)
		}
		go func() {
			for rest := want; len(rest) > 0; {
				k := min(len(rest), 1000)
				_, _ = client.Write(rest[:k])
				rest = rest[k:]
				time.Sleep(time.Millisecond)
			}
			_ = client.Close()
		}()
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	})
}

func TestCutBothWaysStallsAndGoesOnAfterHeal(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		undo := n.Shape([]Rule{{From: "a", To: "b", Drop: true}, {From: "b", To: "a", Drop: true}})
		write(t, client, "ping")
		write(t, server, "pong")
		silent(t, server, 20*time.Second)
		silent(t, client, 20*time.Second)
		counts := undo()
		require.Greater(t, counts.Dropped, int64(10))
		require.Equal(t, counts.Dropped-2, counts.Retransmitted)
		require.Equal(t, counts, undo(), "a second undo changes nothing")
		read(t, server, "ping", maxRTO+time.Second)
		read(t, client, "pong", maxRTO+time.Second)
	})
}

func TestCutOneWay(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		undo := n.Shape([]Rule{{From: "a", To: "b", Drop: true}})
		write(t, client, "ping")
		write(t, server, "pong")
		read(t, client, "pong", time.Second)
		silent(t, server, 5*time.Second)
		require.Positive(t, undo().Dropped)
		read(t, server, "ping", 6*time.Second)
	})
}

func TestOneWayCutHoldsAcknowledgementsBack(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		undo := n.Shape([]Rule{{From: "b", To: "a", Drop: true}})
		go func() { _, _ = io.Copy(io.Discard, server) }()
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(3*time.Second)))
		k, err := client.Write(make([]byte, 3*window))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the reader reads, but the writer cannot know")
		require.Equal(t, window, k)
		undo()
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(3*time.Second)))
		k, err = client.Write(make([]byte, 3*window))
		require.NoError(t, err)
		require.Equal(t, 3*window, k)
	})
}

func TestLossSlowsDown(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		elapsed := func() time.Duration {
			start := time.Now()
			for range 200 {
				write(t, client, "x")
				read(t, server, "x", time.Minute)
			}
			return time.Since(start)
		}
		clean := elapsed()
		undo := n.Shape([]Rule{{From: "a", To: "b", Loss: 0.3}})
		lossy := elapsed()
		counts := undo()
		require.Greater(t, lossy, clean+50*minRTO)
		require.Equal(t, counts.Dropped, counts.Retransmitted, "every loss was made good")
		require.InDelta(t, 200*0.3/0.7, counts.Dropped, 40)
	})
}

func TestSetsOfRulesAddUp(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		const ms = time.Millisecond
		slow := n.Shape([]Rule{{From: "a", DelayMin: 10 * ms, DelayMax: 10 * ms}})
		slower := n.Shape([]Rule{{To: "b", DelayMin: 20 * ms, DelayMax: 20 * ms}})
		start := time.Now()
		write(t, client, "x")
		read(t, server, "x", time.Second)
		require.InDelta(t, 30*ms, time.Since(start), float64(ms))
		require.Equal(t, Counts{Delayed: 1}, slow())
		start = time.Now()
		write(t, client, "x")
		read(t, server, "x", time.Second)
		require.InDelta(t, 20*ms, time.Since(start), float64(ms))
		require.Equal(t, Counts{Delayed: 2}, slower())
		start = time.Now()
		write(t, server, "y")
		read(t, client, "y", time.Second)
		require.Less(t, time.Since(start), ms, "the way back was never shaped")
	})
}

func TestWindowBlocksTheWriter(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(time.Second)))
		k, err := client.Write(make([]byte, 2*window))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, window, k)
		require.NoError(t, client.SetWriteDeadline(time.Time{}))
		done := make(chan error, 1)
		go func() { _, err := client.Write(make([]byte, 10)); done <- err }()
		synctest.Wait()
		require.Empty(t, done)
		_, err = io.ReadFull(server, make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, <-done)
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		start := time.Now()
		silent(t, client, 3*time.Second)
		require.Equal(t, 3*time.Second, time.Since(start))

		// A deadline in the past ends a read that already waits, as net/http does it.
		go func() { time.Sleep(time.Second); _ = client.SetReadDeadline(time.Unix(1, 0)) }()
		start = time.Now()
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.Equal(t, time.Second, time.Since(start))
		write(t, server, "x")
		time.Sleep(time.Second)
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "also when there is something to read")

		// A deadline that is moved away while a read waits does not end it.
		require.NoError(t, client.SetReadDeadline(time.Time{}))
		read(t, client, "x", time.Second)
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Second)))
		go func() {
			time.Sleep(500 * time.Millisecond)
			_ = client.SetReadDeadline(time.Now().Add(time.Hour))
			time.Sleep(time.Second)
			_, _ = server.Write([]byte("y"))
		}()
		_, err = client.Read(make([]byte, 1))
		require.NoError(t, err)
	})
}

func TestHalfCloseAndClose(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		write(t, client, "request")
		require.NoError(t, client.(*Conn).CloseWrite())
		_, err := client.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "request", string(got))
		write(t, server, "answer")
		require.NoError(t, server.Close())
		got, err = io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
		require.NoError(t, client.Close())
		require.ErrorIs(t, client.Close(), net.ErrClosed)
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.Zero(t, live(n), "nothing is remembered of closed connections")
	})
}

func TestCloseWakesBlockedCalls(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, _ := pair(t, n)
		errs := make(chan error, 4)
		for range 2 {
			go func() { _, err := client.Read(make([]byte, 1)); errs <- err }()
			go func() { _, err := client.Write(make([]byte, 2*window)); errs <- err }()
		}
		synctest.Wait()
		require.NoError(t, client.Close())
		for range 4 {
			require.ErrorIs(t, <-errs, net.ErrClosed)
		}
	})
}

func TestClosingWithUnreadBytesResets(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		write(t, client, "never read")
		time.Sleep(time.Millisecond)
		require.NoError(t, server.Close())
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestWritingToAClosedConnectionResets(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		require.NoError(t, server.Close())
		write(t, client, "x")
		time.Sleep(time.Millisecond)
		_, err := client.Write([]byte("y"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestClosedConnectionDeliversItsLastBytesThroughACut(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		undo := n.Shape([]Rule{{From: "a", To: "b", Drop: true}})
		write(t, client, "last")
		require.NoError(t, client.Close())
		time.Sleep(10 * time.Second)
		undo()
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "last", string(got))
		require.NoError(t, server.Close())

		client, server = pair(t, n)
		n.Shape([]Rule{{From: "a", To: "b", Drop: true}})
		write(t, client, "lost")
		require.NoError(t, client.Close())
		time.Sleep(2 * orphanLimit)
		require.Equal(t, 1, live(n), "given up, only the server's end is left")
		require.NoError(t, server.Close())
	})
}

func TestDial(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		a, b := n.Host("a"), n.Host("b")
		start := time.Now()
		_, err := a.Dial(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Positive(t, time.Since(start), "one round trip")
		require.Less(t, time.Since(start), time.Millisecond)

		l, err := b.Listen("tcp", ":1")
		require.NoError(t, err)
		require.Equal(t, "b:1", l.Addr().String())
		_, err = b.Listen("tcp", "b:1")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = b.Listen("tcp", "a:2")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		for _, bad := range []string{"b", "b:x", "b:70000", ""} {
			_, err = a.Dial(t.Context(), "tcp", bad)
			require.Error(t, err, bad)
		}
		_, err = a.Dial(t.Context(), "udp", "b:1")
		require.ErrorAs(t, err, new(net.UnknownNetworkError))

		undo := n.Shape([]Rule{{From: "b", To: "a", Drop: true}})
		start = time.Now()
		_, err = a.Dial(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, dialTimeout, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = a.Dial(ctx, "tcp", "b:1")
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)

		go func() { time.Sleep(5 * time.Second); undo() }()
		start = time.Now()
		c, err := a.Dial(t.Context(), "tcp", "b:1")
		require.NoError(t, err, "repeated after the heal")
		require.InDelta(t, 7*time.Second, time.Since(start), float64(time.Millisecond))
		s, err := l.Accept()
		require.NoError(t, err)
		require.Equal(t, c.LocalAddr(), s.RemoteAddr())
		require.Equal(t, c.RemoteAddr(), s.LocalAddr())

		pending, err := a.Dial(t.Context(), "tcp", "b:1")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = pending.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "closing a listener resets what waits for Accept")
		_, err = a.Dial(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestNetworkCloseEndsEverything(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		l, err := n.Host("b").Listen("tcp", "b:1")
		require.NoError(t, err)
		n.Shape([]Rule{{From: "a", To: "c", Drop: true}})
		errs := make(chan error, 5)
		go func() { _, err := l.Accept(); errs <- err }()
		go func() { _, err := client.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := server.Write(make([]byte, 2*window)); errs <- err }()
		go func() { _, err := n.Host("a").Dial(t.Context(), "tcp", "c:1"); errs <- err }()
		synctest.Wait()
		n.Host("b").Kill()
		go func() { _, err := n.Host("b").Dial(t.Context(), "tcp", "c:1"); errs <- err }()
		synctest.Wait()
		n.Close()
		for range 4 {
			err := <-errs
			require.True(t, errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || err == nil, "%v", err)
		}
		synctest.Wait()
	})
}
