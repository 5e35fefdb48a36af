//go:build unix

package cli

import (
	"bytes"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/experiment"
)

// lockedBuffer is a writer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A signal that comes twice at once, as timeout(1) sends it, is one: a second one would end this
// process.
func TestSignalWithEcho(t *testing.T) {
	var out lockedBuffer
	a := &app{catalog: experiment.Standard(), stderr: &out}
	ctx, stop := a.interruptible(t.Context(), "stopping")
	seen := make(chan os.Signal, 2)
	signal.Notify(seen, syscall.SIGHUP)
	defer signal.Stop(seen)
	for range 2 {
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
		<-seen
	}
	<-ctx.Done()
	stop()
	require.Contains(t, out.String(), "stopping")
	require.NotContains(t, out.String(), "at once;")
}
