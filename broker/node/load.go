package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/assay-project/assay/broker/replication/masterslave"
)

// ModeMasterSlave is the one mode of replication there is.
const ModeMasterSlave = "master-slave"

// loopback is the host of an address without one.
const loopback = "127.0.0.1"

// maxConfigBytes bounds a configuration file.
const maxConfigBytes = 1 << 20

// LoadConfig reads a configuration in YAML, fills in defaults and checks it. Unknown and repeated keys are errors.
func LoadConfig(r io.Reader) (Config, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxConfigBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxConfigBytes {
		return Config{}, fmt.Errorf("configuration is longer than %d bytes", maxConfigBytes)
	}
	if err := wholeNumbers(b); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	dec.KnownFields(true)
	var cfg Config
	if err := dec.Decode(&cfg); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("configuration: more than one YAML document")
	}
	cfg = cfg.withDefaults()
	if _, err := cfg.check(); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return cfg, nil
}

// wholeNumbers refuses fractions where the configuration has whole numbers: the decoder would cut them off.
func wholeNumbers(b []byte) error {
	var document yaml.Node
	if yaml.Unmarshal(b, &document) != nil {
		return nil // the decoder says why
	}
	var walk func(n *yaml.Node) error
	walk = func(n *yaml.Node) error {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 {
				if key := n.Content[i-1].Value; (key == "id" || key == "group") && c.ShortTag() == "!!float" {
					return fmt.Errorf("line %d: %s: %s is no whole number", c.Line, key, c.Value)
				}
			}
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(&document)
}

// withDefaults fills in what may be left out.
func (c Config) withDefaults() Config {
	if c.Cluster == "" {
		c.Cluster = "assay"
	}
	if c.Mode == "" {
		c.Mode = ModeMasterSlave
	}
	if c.Log == "" {
		c.Log = "info"
	}
	c.Listen, c.Peer = withHost(c.Listen), withHost(c.Peer)
	if c.Metrics != "" {
		c.Metrics = withHost(c.Metrics)
	}
	nodes := make([]Member, len(c.Nodes))
	for i, m := range c.Nodes {
		m.Kafka, m.Peer = withHost(m.Kafka), withHost(m.Peer)
		nodes[i] = m
	}
	c.Nodes = nodes
	return c
}

// withHost gives an address without a host the loopback one: "", "9092" and ":9092" are not every interface here.
func withHost(addr string) string {
	switch host, port, err := net.SplitHostPort(addr); {
	case err == nil && host == "":
		return net.JoinHostPort(loopback, port)
	case err != nil && addr != "" && strings.Trim(addr, "0123456789") == "":
		return net.JoinHostPort(loopback, addr)
	}
	return addr
}

// check says what is wrong with a configuration, and returns its options, parsed.
func (c Config) check() (masterslave.Options, error) {
	if c.Mode != ModeMasterSlave {
		return masterslave.Options{}, fmt.Errorf("mode %q: there is %q", c.Mode, ModeMasterSlave)
	}
	opts, err := masterslave.ParseOptions(c.Options)
	if err != nil {
		return masterslave.Options{}, err
	}
	if _, err := c.level(); err != nil {
		return masterslave.Options{}, err
	}
	if err := checkAddr("listen", c.Listen); err != nil {
		return masterslave.Options{}, err
	}
	if err := checkAddr("peer", c.Peer); err != nil {
		return masterslave.Options{}, err
	}
	if c.Metrics != "" {
		if err := checkAddr("metrics", c.Metrics); err != nil {
			return masterslave.Options{}, err
		}
	}
	return opts, c.checkNodes(opts)
}

func checkAddr(what, addr string) error {
	_, _, err := parseAddr(what, addr)
	return err
}

// parseAddr splits an address; what names it in errors.
func parseAddr(what, addr string) (host string, port int32, err error) {
	if addr == "" {
		return "", 0, fmt.Errorf("%s: an address (host:port) is missing", what)
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: %w", what, addr, err)
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil || p == 0 {
		return "", 0, fmt.Errorf("%s %q: port %q: 1 to 65535 are allowed", what, addr, text)
	}
	return host, int32(p), nil
}

// checkNodes checks the list of nodes.
func (c Config) checkNodes(opts masterslave.Options) error {
	ids, addrs, sizes := make(map[int32]bool), make(map[string]int32), make([]int, opts.Groups)
	for _, m := range c.Nodes {
		switch {
		case m.ID < 1:
			return fmt.Errorf("nodes: id %d: numbers start at 1", m.ID)
		case ids[m.ID]:
			return fmt.Errorf("nodes: id %d is there twice", m.ID)
		case m.Group < 0 || m.Group >= opts.Groups:
			return fmt.Errorf("nodes: node %d is in group %d, and with groups=%d the groups are 0 to %d", m.ID, m.Group, opts.Groups, opts.Groups-1)
		}
		for what, addr := range map[string]string{"kafka": m.Kafka, "peer": m.Peer} {
			if err := checkAddr(fmt.Sprintf("nodes: node %d: %s", m.ID, what), addr); err != nil {
				return err
			}
			if other, taken := addrs[addr]; taken {
				return fmt.Errorf("nodes: %s is an address of node %d and of node %d", addr, other, m.ID)
			}
			addrs[addr] = m.ID
		}
		ids[m.ID] = true
		sizes[m.Group]++
	}
	if !ids[c.ID] {
		return fmt.Errorf("id %d is not among the %d nodes", c.ID, len(c.Nodes))
	}
	for g, n := range sizes {
		if n == 0 {
			return fmt.Errorf("nodes: group %d has none, and groups=%d", g, opts.Groups)
		}
		if n < opts.Copies {
			return fmt.Errorf("option copies=%d: group %d has only %d nodes", opts.Copies, g, n)
		}
	}
	return nil
}

// level parses the log level.
func (c Config) level() (slog.Level, error) {
	switch c.Log {
	case "", "info":
		return slog.LevelInfo, nil
	case "debug":
		return slog.LevelDebug, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log %q: allowed are debug, info, warn, error", c.Log)
}

// Level is the level that the configuration's log key names.
func (c Config) Level() slog.Level {
	l, err := c.level()
	if err != nil {
		return slog.LevelInfo
	}
	return l
}

// Members returns the nodes as the replication package, promote and status queries know them.
func (c Config) Members() []masterslave.Member {
	out := make([]masterslave.Member, len(c.Nodes))
	for i, m := range c.Nodes {
		out[i] = masterslave.Member{ID: m.ID, Group: m.Group, Kafka: m.Kafka, Peer: m.Peer}
	}
	return out
}
