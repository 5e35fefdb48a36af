package netsim

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestKillResetsPeers(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, _ := pair(t, n)
		n.Host("b").Kill()
		start := time.Now()
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Positive(t, time.Since(start), "after a delay")
		require.Less(t, time.Since(start), time.Millisecond)
		_, err = n.Host("a").Dial(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestBytesInFlightSurviveAKill(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		write(t, server, "sent before")
		n.Host("b").Kill()
		got, err := io.ReadAll(client)
		require.Equal(t, "sent before", string(got))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

// A rule's delay is spent in the sender's queue: what waits there dies with the sender, and what was on its way before arrives.
func TestDelayedBytesDieWithTheirSender(t *testing.T) {
	for _, off := range []bool{false, true} {
		inBubble(t, Config{}, func(t *testing.T, n *Network) {
			client, server := pair(t, n)
			n.Shape([]Rule{{From: "b", To: "a", DelayMin: 50 * time.Millisecond, DelayMax: 60 * time.Millisecond}})
			write(t, server, "early")
			time.Sleep(40 * time.Millisecond)
			write(t, server, "late")
			time.Sleep(20 * time.Millisecond)
			if off {
				n.Host("b").PowerOff()
			} else {
				n.Host("b").Kill()
			}
			require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Minute)))
			got, err := io.ReadAll(client)
			require.Equal(t, "early", string(got))
			if off {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			} else {
				require.ErrorIs(t, err, syscall.ECONNRESET)
			}
		})
	}
}

func TestResetLostInACutIsMadeGoodByTheNextSegment(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, _ := pair(t, n)
		undo := n.Shape([]Rule{{From: "b", To: "a", Drop: true}})
		n.Host("b").Kill()
		silent(t, client, time.Minute)
		undo()
		silent(t, client, time.Minute) // an idle connection never learns
		write(t, client, "x")
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestPowerOffIsSilentUntilTheNextIncarnation(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, _ := pair(t, n)
		n.Host("b").PowerOff()
		silent(t, client, time.Minute)
		write(t, client, "x")
		silent(t, client, time.Minute)
		start := time.Now()
		_, err := n.Host("a").Dial(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, dialTimeout, time.Since(start))

		b := n.Host("b")
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "the new machine knows nothing of the connection")
		_, err = b.Listen("tcp", "b:1")
		require.NoError(t, err)
		_, err = n.Host("a").Dial(t.Context(), "tcp", "b:1")
		require.NoError(t, err)
	})
}

// The goroutines of a dead process see no error: writes are swallowed, the rest waits until they close.
func TestDeadHostIsDetached(t *testing.T) {
	for _, how := range []string{"kill", "power"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, Config{}, func(t *testing.T, n *Network) {
				b := n.Host("b")
				l, err := b.Listen("tcp", "b:1")
				require.NoError(t, err)
				client, server := pair(t, n)
				write(t, client, "arrives, and is never read")
				full := make(chan int, 1)
				go func() { k, _ := server.Write(make([]byte, 2*window)); full <- k }()
				time.Sleep(time.Second)
				if how == "kill" {
					b.Kill()
				} else {
					b.PowerOff()
				}
				require.Equal(t, 2*window, <-full, "a write that waited is swallowed")
				write(t, server, "swallowed")
				silent(t, server, time.Second)
				done := make(chan error, 3)
				go func() { _, err := server.Read(make([]byte, 1)); done <- err }()
				go func() { _, err := l.Accept(); done <- err }()
				time.Sleep(time.Minute)
				require.Empty(t, done)
				_, err = b.Dial(t.Context(), "tcp", "a:1")
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)

				b2 := n.Host("b")
				require.NotSame(t, b, b2)
				l2, err := b2.Listen("tcp", "b:1")
				require.NoError(t, err, "the address is free for the successor")
				require.NoError(t, server.Close())
				require.NoError(t, l.Close())
				require.ErrorIs(t, <-done, net.ErrClosed)
				require.ErrorIs(t, <-done, net.ErrClosed)
				_, err = n.Host("a").Dial(t.Context(), "tcp", "b:1")
				require.NoError(t, err, "the predecessor's close did not touch the successor's listener")
				_, err = l2.Accept()
				require.NoError(t, err)
			})
		})
	}
}

func TestFreezeKeepsEverythingBack(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		l, err := n.Host("b").Listen("tcp", "b:1")
		require.NoError(t, err)
		thaw := n.Host("b").Freeze()
		require.Zero(t, n.Host("b").Freeze()(), "a second freeze is none")
		write(t, client, "in")
		write(t, server, "out")
		dialed := make(chan error, 1)
		go func() { _, err := n.Host("a").Dial(t.Context(), "tcp", l.Addr().String()); dialed <- err }()
		silent(t, server, 4*time.Second)
		silent(t, client, 4*time.Second)
		require.Empty(t, dialed)
		require.Equal(t, int64(2), thaw())
		read(t, server, "in", time.Second)
		read(t, client, "out", time.Second)
		require.Error(t, <-dialed, "eight seconds were too long")
		_, err = n.Host("a").Dial(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
	})
}

func TestFrozenWriterWithAFullWindowDoesNotSpin(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		thaw := n.Host("a").Freeze()
		errs := make(chan error, 1)
		go func() { _, err := client.Write(make([]byte, 2*window)); errs <- err }()
		time.Sleep(time.Second)
		_ = server
		n.Host("b").Kill() // resets the frozen client, which feels it after the thaw
		time.Sleep(time.Minute)
		require.Empty(t, errs)
		thaw()
		require.ErrorIs(t, <-errs, syscall.ECONNRESET)
	})
}

func TestKillOfAFrozenHost(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, _ := pair(t, n)
		thaw := n.Host("b").Freeze()
		n.Host("b").Kill()
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		n.Host("b")
		require.Zero(t, thaw())
	})
}

func TestClosedHostIsForgotten(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		client, server := pair(t, n)
		n.Host("a").Close()
		_, err := server.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.NoError(t, client.Close())
		require.NotContains(t, n.hosts, "a")
	})
}

func TestHTTP(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, n *Network) {
		l, err := n.Host("b").Listen("tcp", "b:80")
		require.NoError(t, err)
		srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				_, _ = w.Write(body)
			}
		})}
		go func() { _ = srv.Serve(l) }()
		tr := &http.Transport{DialContext: n.Host("a").Dial, IdleConnTimeout: time.Minute}
		client := &http.Client{Transport: tr, Timeout: 30 * time.Second}
		undo := n.Shape([]Rule{{Loss: 0.05}})
		for i := range 50 {
			body := strings.Repeat(fmt.Sprint(i), 5000)
			res, err := client.Post("http://b/", "text/plain", strings.NewReader(body))
			require.NoError(t, err)
			got, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.True(t, body == string(got), "echo %d", i)
		}
		require.Positive(t, undo().Dropped)
		tr.CloseIdleConnections()
		require.NoError(t, srv.Close())
		synctest.Wait()
	})
}

// BenchmarkRoundTrips measures request and answer over one connection: one wake per segment. 60 virtual seconds at 200 op/s are 12,000 ops.
func BenchmarkRoundTrips(b *testing.B) {
	b.ReportAllocs()
	synctest.Test(&testing.T{}, func(t *testing.T) {
		n := New(1, Config{})
		l, err := n.Host("b").Listen("tcp", "b:1")
		require.NoError(b, err)
		client, err := n.Host("a").Dial(t.Context(), "tcp", "b:1")
		require.NoError(b, err)
		server, err := l.Accept()
		require.NoError(b, err)
		go func() {
			buf := make([]byte, 1024)
			for {
				k, err := server.Read(buf)
				if err != nil {
					return
				}
				_, _ = server.Write(buf[:k])
			}
		}()
		buf := make([]byte, 1024)
		for range b.N { // not b.Loop, which would measure virtual time
			_ = client.SetDeadline(time.Now().Add(time.Minute))
			_, _ = client.Write(buf)
			_, err := io.ReadFull(client, buf)
			require.NoError(b, err)
		}
		n.Close()
	})
}
