package node

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/replication/masterslave"
)

// TestMetrics: what a scrape says of a leader with a refused follower, of a refused follower with a failed disk, and of what clients did.
func TestMetrics(t *testing.T) {
	status := masterslave.Status{
		Node: 1, Role: masterslave.RoleLeader, Epoch: 4, End: 300, Flushed: 200, Committed: 100,
		Followers: []masterslave.FollowerStatus{{Node: 2, Appended: 250, Flushed: 150}, {Node: 3, Appended: 1, Refused: "ahead: 400 is beyond 300"}},
	}
	m := newMetrics(func() masterslave.Status { return status }, func() kafka.Stats {
		return kafka.Stats{Connections: 3, Refused: 4, Requests: 5, Malformed: 6, BytesIn: 7, BytesOut: 8}
	})
	scrape := func(want ...string) string {
		t.Helper()
		w := httptest.NewRecorder()
		m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, line := range want {
			require.Contains(t, w.Body.String(), line+"\n")
		}
		return w.Body.String()
	}
	m.produced(1000, nil)
	m.produced(1000, kerr.NotLeaderForPartition)
	m.produced(1000, errors.New("other"))
	m.fetched(10)
	m.Appended(time.Millisecond)
	m.Flushed(time.Second)
	m.Flushed(time.Second)
	scrape(
		`assay_role{role="leader"} 1`, `assay_epoch 4`, `assay_disk_failed 0`,
		`assay_log_position_bytes{position="end"} 300`, `assay_log_position_bytes{position="flushed"} 200`, `assay_log_position_bytes{position="committed"} 100`,
		`assay_follower_position_bytes{node="2",position="appended"} 250`, `assay_follower_position_bytes{node="2",position="flushed"} 150`,
		`assay_refused{node="3",reason="ahead"} 1`,
		`assay_produce_batches_total{result="appended"} 1`, `assay_produce_batches_total{result="NOT_LEADER_FOR_PARTITION"} 1`,
		`assay_produce_batches_total{result="error"} 1`, `assay_produce_bytes_total 1000`, `assay_fetch_partitions_total 1`, `assay_fetch_bytes_total 10`,
		`assay_append_seconds_count 1`, `assay_flush_seconds_count 2`,
		`assay_connections 3`, `assay_connections_refused_total 4`, `assay_requests_total 5`, `assay_connections_malformed_total 6`,
		`assay_request_bytes_total 7`, `assay_response_bytes_total 8`,
	)
	status = masterslave.Status{Node: 1, Role: masterslave.RoleRefused, Refused: "diverged: at 17", Failed: "fsync"}
	text := scrape(`assay_role{role="refused"} 1`, `assay_disk_failed 1`, `assay_refused{node="1",reason="diverged"} 1`)
	require.NotContains(t, text, "assay_follower_position_bytes{")
	require.NotContains(t, text, `node="3"`)
}
