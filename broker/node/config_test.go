package node

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const goodConfig = `
cluster: c1
id: 2
data: /var/lib/assay
listen: 9192
peer: :9193
metrics: "9194"
nodes:
  - {id: 1, kafka: "9092", peer: "9093"}
  - {id: 2, kafka: "9192", peer: "9193"}
options: {replication: sync, copies: "2", flush: sync}
`

func TestLoadConfig(t *testing.T) {
	cfg, err := LoadConfig(strings.NewReader(goodConfig))
	require.NoError(t, err)
	require.Equal(t, Config{
		Cluster: "c1", ID: 2, Mode: "master-slave", Data: "/var/lib/assay", Listen: "127.0.0.1:9192", Peer: "127.0.0.1:9193", Metrics: "127.0.0.1:9194",
		Nodes:   []Member{{ID: 1, Kafka: "127.0.0.1:9092", Peer: "127.0.0.1:9093"}, {ID: 2, Kafka: "127.0.0.1:9192", Peer: "127.0.0.1:9193"}},
		Options: map[string]string{"replication": "sync", "copies": "2", "flush": "sync"}, Log: "info",
	}, cfg)
	require.Equal(t, slog.LevelInfo, cfg.Level())
	require.Len(t, cfg.Members(), 2)
}

func TestBadConfigs(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":        {"cluster: c1", "clutser: c1", "clutser"},
		"repeated key":       {"id: 2", "id: 2\nid: 2", "already defined"},
		"two documents":      {"cluster: c1", "---\ncluster: c1\n---\n", "more than one"},
		"own id missing":     {"id: 2\n", "id: 3\n", "id 3 is not among the 2 nodes"},
		"id twice":           {"{id: 1,", "{id: 2,", "id 2 is there twice"},
		"id zero":            {"{id: 1,", "{id: 0,", "numbers start at 1"},
		"group out of range": {"{id: 1,", "{id: 1, group: 1,", "groups are 0 to 0"},
		"group without node": {"options: {", "options: {groups: \"2\", ", "group 1 has none"},
		"too few copies":     {`copies: "2"`, `copies: "3"`, "group 0 has only 2 nodes"},
		"address twice":      {`peer: "9093"`, `peer: "9092"`, "127.0.0.1:9092 is an address of node 1 and of node 1"},
		"no address":         {"listen: 9192", "", "listen: an address"},
		"bad address":        {"listen: 9192", "listen: nowhere", "listen"},
		"no port":            {"listen: 9192", `listen: "127.0.0.1:"`, `port ""`},
		"port by name":       {"listen: 9192", "listen: 127.0.0.1:kafka", `port "kafka": 1 to 65535`},
		"port zero":          {`peer: "9093"`, `peer: "127.0.0.1:0"`, `nodes: node 1: peer "127.0.0.1:0": port "0"`},
		"port too large":     {`metrics: "9194"`, "metrics: :65536", "1 to 65535"},
		"fraction":           {"id: 2\n", "id: 2.5\n", "line 3: id: 2.5 is no whole number"},
		"fraction of a node": {"{id: 1,", "{id: 1, group: 0.5,", "group: 0.5 is no whole number"},
		"bad option":         {"flush: sync", "flush: often", `option flush="often"`},
		"bad log level":      {"id: 2\n", "id: 2\nlog: loud\n", "allowed are debug"},
		"bad mode":           {"id: 2\n", "id: 2\nmode: isr\n", `mode "isr"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(goodConfig, c.from, c.to, 1)
			require.NotEqual(t, goodConfig, changed)
			_, err := LoadConfig(strings.NewReader(changed))
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := LoadConfig(strings.NewReader(""))
	require.ErrorContains(t, err, "empty")
	_, err = LoadConfig(strings.NewReader(strings.Repeat("#", maxConfigBytes+1)))
	require.ErrorContains(t, err, "longer than")
}

func FuzzLoadConfig(f *testing.F) {
	f.Add(goodConfig)
	f.Fuzz(func(t *testing.T, s string) {
		cfg, err := LoadConfig(strings.NewReader(s))
		if err == nil {
			_, err = cfg.check()
			require.NoError(t, err)
		}
	})
}
