package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"

	"github.com/assay-project/assay/internal/vfs"
)

// Config describes one broker node. It is what `assay node --config FILE` reads (YAML; unknown keys are errors).
type Config struct {
	Cluster string `yaml:"cluster"` // name; a disk that belongs to another cluster is refused
	ID      int32  `yaml:"id"`      // this node's number, from 1
	Mode    string `yaml:"mode"`    // "master-slave"
	Data    string `yaml:"data"`    // directory of the log (used by `assay node`; a simulated node is handed its file system)
	// Listen is the Kafka address to bind, Peer the one for replication and administration, Metrics the one for Prometheus ("" = none).
	// A host left out means 127.0.0.1.
	Listen  string `yaml:"listen"`
	Peer    string `yaml:"peer"`
	Metrics string `yaml:"metrics"`
	// Nodes are all nodes of the cluster, this one included, with the addresses at which others reach them.
	Nodes []Member `yaml:"nodes"`
	// Options are the mode's options, in the spelling of `assay run --set`.
	Options map[string]string `yaml:"options"`
	Log     string            `yaml:"log"` // debug, info (default), warn, error
}

// Member is a node as the others see it.
type Member struct {
	ID    int32  `yaml:"id"`
	Group int32  `yaml:"group"` // replication group, from 0; the first member listed of a group leads it at first
	Kafka string `yaml:"kafka"` // host:port advertised to clients
	Peer  string `yaml:"peer"`  // host:port for replication and administration
}

// Env is the world that a node touches. Nothing in broker/ reaches around it, apart from time, which is the standard library's.
type Env struct {
	FS     vfs.FS
	Listen func(network, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Rand   *rand.Rand // owned by the node from here on
	Logger *slog.Logger
}
