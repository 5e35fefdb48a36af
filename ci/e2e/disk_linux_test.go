package e2e

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// TestFailedDiskEndsTheNode: a node whose disk refuses a write acknowledges nothing more and ends with exit code 1 and the reason. Started
// again on a disk that works, it has what it acknowledged.
func TestFailedDiskEndsTheNode(t *testing.T) {
	c := startProcesses(t, 1, "replication: async")
	const topic = "disk"
	produceFranz(t, c, topic, []string{"before"})

	// A file may not grow beyond a few frames from now on, as if the disk were full.
	limit := unix.Rlimit{Cur: 1 << 10, Max: 1 << 10}
	node := c.procs[0]
	require.NoError(t, unix.Prlimit(node.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil))
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.kafka...), kgo.RecordDeliveryTimeout(3*time.Second), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.NoError(t, err)
	defer cl.Close()
	large := &kgo.Record{Topic: topic, Value: make([]byte, 4<<10)}
	require.Error(t, cl.ProduceSync(within(t, 20*time.Second), large).FirstErr())

	var exit *exec.ExitError
	require.True(t, errors.As(node.Wait(), &exit))
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, node.Stderr.(*bytes.Buffer).String(), "assay: node 1: its disk has failed")

	c.start(0)
	require.Equal(t, []string{"before"}, consumeFranz(t, c, topic, 1))
	c.terminate(0)
}
