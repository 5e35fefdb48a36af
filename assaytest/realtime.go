package assaytest

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/assay-project/assay/experiment"
)

// teardown is how much of the test's time is kept for healing, stopping and judging.
const teardown = 15 * time.Second

// signalTime is how long a signal that ends this process may take. A process that ignores it goes
// on with its tests.
const signalTime = 5 * time.Second

// inRealTime runs the experiment so that it ends, and removes what it made, before the test binary
// does: package testing panics when the test's time is over, and a signal ends the process at once.
func inRealTime(t *testing.T, c experiment.Catalog, spec experiment.Spec) (*experiment.Result, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if end, ok := t.Deadline(); ok {
		left := time.Until(end)
		timer := time.AfterFunc(left-min(teardown, left/2), cancel)
		defer timer.Stop()
	}
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	asked := make(chan os.Signal, 1) // closed when nobody looks any more
	go func() {
		defer close(asked)
		select {
		case s := <-signals:
			asked <- s
			cancel()
		case <-ended:
		}
	}()
	res, err := c.Run(ctx, spec, experiment.Hooks{})
	signal.Stop(signals)
	close(ended)
	if s, ok := <-asked; ok { // now that nothing is left, the process may have it
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			if self.Signal(s) == nil {
				<-time.After(signalTime) // the signal may reach another thread, a little later
			}
		}
	}
	return res, err
}
