package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/internal/netsim"
	"github.com/assay-project/assay/internal/vfs"
)

func simulated(t *testing.T, nodes int, options map[string]string) (*netsim.Network, []*Node, []Config) {
	t.Helper()
	nw := netsim.New(1, netsim.Config{})
	var cfgs []Config
	var members []Member
	for i := range nodes {
		members = append(members, Member{ID: int32(i + 1), Kafka: fmt.Sprintf("n%d:9092", i+1), Peer: fmt.Sprintf("n%d:9093", i+1)})
	}
	var out []*Node
	for i, m := range members {
		cfg := Config{Cluster: "test", ID: m.ID, Mode: ModeMasterSlave, Listen: m.Kafka, Peer: m.Peer, Metrics: fmt.Sprintf("n%d:9094", i+1), Nodes: members, Options: options}
		host := nw.Host(fmt.Sprintf("n%d", i+1))
		n, err := New(cfg, Env{FS: vfs.NewDisk(uint64(i), vfs.DiskOptions{}), Listen: host.Listen, Dial: host.Dial,
			Rand: rand.New(rand.NewPCG(uint64(i), 1)), Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, n.Start(context.Background()))
		out, cfgs = append(out, n), append(cfgs, cfg)
	}
	return nw, out, cfgs
}

func waitWell(t *testing.T, nodes []*Node) {
	t.Helper()
	var h masterslave.Health
	for range 3000 {
		var st []masterslave.Status
		for _, n := range nodes {
			st = append(st, n.Status())
		}
		if h = masterslave.GroupHealth(st, len(nodes)); h.Recovered(false) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Failf(t, "the group did not get well", "%+v", h)
}

// A Kafka client produces and consumes through three nodes, before and after a promote.
func TestClientEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw, nodes, cfgs := simulated(t, 3, map[string]string{"replication": "sync"})
		defer nw.Close()
		defer func() {
			for _, n := range nodes {
				require.NoError(t, n.Stop(context.Background()))
			}
		}()
		waitWell(t, nodes)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		host := nw.Host("client")
		cl, err := kgo.NewClient(kgo.SeedBrokers("n1:9092"), kgo.Dialer(host.Dial), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("t"),
			kgo.MetadataMinAge(100*time.Millisecond))
		require.NoError(t, err)
		defer cl.Close()
		var want []string
		for i := range 30 {
			v := fmt.Sprint("v", i)
			want = append(want, v)
			require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(v)}).FirstErr())
			if i == 15 {
				res, err := masterslave.Promote(ctx, masterslave.PromoteRequest{Node: 2}, cfgs[0].Members(), host.Dial)
				require.NoError(t, err)
				require.True(t, res.Safe)
			}
		}
		var got []string
		for len(got) < len(want) {
			f := cl.PollFetches(ctx)
			require.NoError(t, ctx.Err())
			require.NoError(t, f.Err0())
			f.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		require.ElementsMatch(t, want, got)

		req := &http.Client{Transport: &http.Transport{DialContext: host.Dial, DisableKeepAlives: true}}
		resp, err := req.Get("http://n2:9094/metrics")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Contains(t, string(body), `assay_role{role="leader"} 1`)
		require.Contains(t, string(body), "assay_epoch 4")
		require.Regexp(t, `(?m)^assay_connections [1-9]`, string(body))
		require.Regexp(t, `(?m)^assay_requests_total [1-9]`, string(body))
		require.Regexp(t, `(?m)^assay_request_bytes_total [1-9]`, string(body))
		require.Regexp(t, `(?m)^assay_response_bytes_total [1-9]`, string(body))
		require.Contains(t, string(body), "assay_connections_malformed_total 0")
		require.Contains(t, string(body), "assay_connections_refused_total 0")
	})
}

// DescribeConfigs tells what holds: a replication=async broker has no number of copies.
func TestConfigsAreDescribed(t *testing.T) {
	for _, c := range []struct {
		options       map[string]string
		broker, topic map[string]string
		without       string // of the broker's
	}{
		{
			map[string]string{"replication": "sync", "copies": "3", "flush": "sync"},
			map[string]string{"mode": "master-slave", "replication": "sync", "copies": "3", "flush": "sync", "broker.id": "1", "auto.create.topics.enable": "true"},
			map[string]string{"min.insync.replicas": "3", "cleanup.policy": "delete", "max.message.bytes": "1048588"}, "-",
		},
		{
			map[string]string{"auto.create.topics.enable": "false"},
			map[string]string{"replication": "async", "flush": "async", "auto.create.topics.enable": "false"},
			map[string]string{"min.insync.replicas": "1", "retention.ms": "-1"}, "copies",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			nw, nodes, _ := simulated(t, 3, c.options)
			defer nw.Close()
			defer func() {
				for _, n := range nodes {
					require.NoError(t, n.Stop(context.Background()))
				}
			}()
			waitWell(t, nodes)
			parts(t, nodes)
			cl, err := kgo.NewClient(kgo.SeedBrokers("n1:9092"), kgo.Dialer(nw.Host("client").Dial))
			require.NoError(t, err)
			defer cl.Close()
			configs := func(kind kmsg.ConfigResourceType, name string) map[string]string {
				req := kmsg.NewPtrDescribeConfigsRequest()
				req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name}}
				resp, err := req.RequestWith(context.Background(), cl.Broker(1))
				require.NoError(t, err)
				got := map[string]string{}
				for _, c := range resp.Resources[0].Configs {
					got[c.Name] = *c.Value
				}
				return got
			}
			broker := configs(kmsg.ConfigResourceTypeBroker, "1")
			require.Subset(t, broker, c.broker)
			require.NotContains(t, broker, c.without)
			require.Subset(t, configs(kmsg.ConfigResourceTypeTopic, "t"), c.topic)
		})
	}
}

// A scraper that keeps its connection and asks no more is let go.
func TestIdleScraperIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw, nodes, _ := simulated(t, 1, nil)
		defer nw.Close()
		defer func() { require.NoError(t, nodes[0].Stop(context.Background())) }()
		conn, err := nw.Host("scraper").Dial(context.Background(), "tcp", "n1:9094")
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: n1\r\n\r\n")
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, conn.SetReadDeadline(start.Add(time.Hour)))
		body, err := io.ReadAll(conn)
		require.NoError(t, err, "after %v", time.Since(start))
		require.Contains(t, string(body), "assay_role")
	})
}

// The same on real sockets and a real directory.
func TestLoopback(t *testing.T) {
	var members []Member
	for i := range 3 {
		members = append(members, Member{ID: int32(i + 1), Kafka: freeAddr(t), Peer: freeAddr(t)})
	}
	var nodes []*Node
	for _, m := range members {
		env, err := OSEnv(t.TempDir(), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		n, err := New(Config{ID: m.ID, Listen: m.Kafka, Peer: m.Peer, Nodes: members, Options: map[string]string{"replication": "sync", "copies": "3"}}, env)
		require.NoError(t, err)
		require.NoError(t, n.Start(context.Background()))
		nodes = append(nodes, n)
	}
	defer func() {
		for _, n := range nodes {
			require.NoError(t, n.Stop(context.Background()))
		}
	}()
	require.Eventually(t, func() bool { return nodes[0].Status().Serving }, 20*time.Second, 10*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(members[1].Kafka), kgo.AllowAutoTopicCreation())
	require.NoError(t, err)
	defer cl.Close()
	for i := range 10 {
		require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(fmt.Sprint(i))}).FirstErr())
	}
	require.Eventually(t, func() bool { return nodes[2].Status().End == nodes[0].Status().End }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, nodes[0].Status().Chain, nodes[2].Status().Chain)
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
