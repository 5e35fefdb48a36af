package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/histories"
)

// TestMain makes the test binary a program that Spawn can start again.
func TestMain(m *testing.M) {
	ChildMain(map[string]Handler{
		"echo": func(_ context.Context, req json.RawMessage, progress func(json.RawMessage)) (json.RawMessage, error) {
			for i := range 3 {
				time.Sleep(time.Hour)
				progress(json.RawMessage(fmt.Sprint(i)))
			}
			fmt.Println("noise on standard output")
			return req, nil
		},
		"nothing": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			return nil, nil
		},
		"error": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			return nil, errors.New("no such luck")
		},
		"panic": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			panic("a bug in the harness")
		},
		"panic elsewhere": func(ctx context.Context, _ json.RawMessage, _ func(json.RawMessage)) (json.RawMessage, error) {
			go func() { panic("a bug in the broker") }()
			<-ctx.Done()
			return nil, nil
		},
		"exit": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			fmt.Fprintln(os.Stderr, "last words")
			os.Exit(7)
			return nil, nil
		},
		"frozen": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			var mu sync.Mutex
			mu.Lock()
			time.Sleep(time.Second)
			mu.Lock()
			return nil, nil
		},
		"spin": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			for { //nolint:staticcheck // to spin is the point
			}
		},
		"for ever": func(context.Context, json.RawMessage, func(json.RawMessage)) (json.RawMessage, error) {
			select {}
		},
		"until stopped": func(ctx context.Context, _ json.RawMessage, progress func(json.RawMessage)) (json.RawMessage, error) {
			for ctx.Err() == nil {
				time.Sleep(time.Second)
				progress(json.RawMessage(`"tick"`))
			}
			return json.RawMessage(`"stopped"`), nil
		},
		"signal": func(ctx context.Context, req json.RawMessage, _ func(json.RawMessage)) (json.RawMessage, error) {
			sig := map[string]os.Signal{`"term"`: syscall.SIGTERM, `"int"`: os.Interrupt, `"kill"`: os.Kill}[string(req)]
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Signal(sig)
			}
			for err == nil && ctx.Err() == nil {
				time.Sleep(time.Millisecond) // virtual
			}
			return json.RawMessage(`"stopped"`), err
		},
		"cluster": clusterInAChild,
	})
	os.Exit(m.Run())
}

// clusterInAChild sends ten values through a cluster whose leader dies, and leaves everything open.
func clusterInAChild(ctx context.Context, _ json.RawMessage, _ func(json.RawMessage)) (json.RawMessage, error) {
	c, err := New(specOf(3))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.Start(ctx), createTopic(ctx, c, 1)); err != nil {
		return nil, err
	}
	cl, err := c.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	acked := 0
	for i := range 10 {
		if i == 5 {
			if _, err := c.Kill(ctx, "n1"); err != nil {
				return nil, err
			}
			if err := c.Boot(ctx, "n1"); err != nil {
				return nil, err
			}
			time.Sleep(5 * time.Second)
		}
		op := histories.New(histories.Invoke, 0, histories.Send)
		op.Value = int64(i)
		if _, err := cl.Invoke(ctx, op); err == nil {
			acked++
		}
	}
	return json.Marshal(acked)
}

func TestClusterInAChild(t *testing.T) {
	result, err := Spawn(t.Context(), Request{Handler: "cluster"}, nil)
	require.NoError(t, err)
	require.Equal(t, "10", string(result))
}

func TestChildReturnsMessagesAndResult(t *testing.T) {
	var got []string
	result, err := Spawn(t.Context(), Request{Handler: "echo", Body: json.RawMessage(`{"a": 1}`)}, func(m json.RawMessage) { got = append(got, string(m)) })
	require.NoError(t, err)
	require.JSONEq(t, `{"a": 1}`, string(result))
	require.Equal(t, []string{"0", "1", "2"}, got)

	result, err = Spawn(t.Context(), Request{Handler: "nothing"}, nil)
	require.NoError(t, err)
	require.Equal(t, "null", string(result))
}

func TestEveryEndOfTheChildWithoutAResultIsAnError(t *testing.T) {
	for _, c := range []struct{ handler, want, stderr string }{
		{"error", "no such luck", ""},
		{"no such handler", `has no handler "no such handler"`, ""},
		{"panic", "panic: a bug in the harness", "goroutine"},
		{"panic elsewhere", "panic: a bug in the broker", "goroutine"},
		{"exit", "exit status 7", "last words"},
		{"frozen", "virtual time has stood still at", "sync.(*Mutex)"},
		{"spin", "virtual time has stood still", "TestMain.func"},
		{"for ever", "was not over after 1h0m0", "TestMain.func"},
	} {
		t.Run(c.handler, func(t *testing.T) {
			var stderr bytes.Buffer
			_, err := Spawn(t.Context(), Request{Handler: c.handler, Stderr: &stderr, Stall: 2 * time.Second, Limit: time.Hour}, nil)
			require.ErrorIs(t, err, ErrChild)
			require.ErrorContains(t, err, c.want)
			require.Contains(t, stderr.String(), c.stderr)
		})
	}
}

func TestStopRequestEndsTheContextInside(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ticks := 0
	result, err := Spawn(ctx, Request{Handler: "until stopped"}, func(json.RawMessage) {
		if ticks++; ticks == 10 {
			cancel()
		}
	})
	require.NoError(t, err)
	require.Equal(t, `"stopped"`, string(result))
	_, err = Spawn(ctx, Request{Handler: "until stopped"}, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSignalsAreStopRequests(t *testing.T) {
	for _, sig := range []string{`"term"`, `"int"`} {
		result, err := Spawn(t.Context(), Request{Handler: "signal", Body: json.RawMessage(sig)}, nil)
		require.NoError(t, err)
		require.Equal(t, `"stopped"`, string(result))
	}
	_, err := Spawn(t.Context(), Request{Handler: "signal", Body: json.RawMessage(`"kill"`)}, nil)
	require.ErrorIs(t, err, ErrChild)
	require.ErrorContains(t, err, "signal: killed")
}

func TestExcerptKeepsBothEnds(t *testing.T) {
	var e excerpt
	for i := range 1000 {
		_, _ = fmt.Fprintf(&e, "line %d\nhalf", i)
		_, _ = e.Write([]byte("-"))
	}
	s := e.String()
	require.Contains(t, s, "line 0\nhalf-line 1\n")
	require.Contains(t, s, "... (870 lines) ...\nhalf-line 900\n")
	require.Contains(t, s, "half-line 999\nhalf-")
}

// A main function that does not call ChildMain would have every child start another one.
func TestSpawnInAChild(t *testing.T) {
	t.Setenv(childEnv, "1")
	_, err := Spawn(t.Context(), Request{Handler: "echo"}, nil)
	require.ErrorIs(t, err, ErrChild)
	require.ErrorContains(t, err, "does not call ChildMain")
}
