package reference

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-project/assay/broker/node"
	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// maxNodes bounds a cluster; more than this is a typing error, and every node costs memory.
const maxNodes = 64

// Spec says what cluster is wanted, in the words of the command line.
type Spec target.Config

// Settings are a Spec's options, parsed, with defaults.
type Settings struct {
	Mode   string
	Nodes  int
	Broker masterslave.Options
	Client ClientOptions

	given map[string]string
}

// Validate says what is wrong with the spec, nil when nothing is.
func (s Spec) Validate() error {
	_, err := s.Settings()
	return err
}

// Settings parses and checks the spec.
func (s Spec) Settings() (Settings, error) {
	if !slices.Contains(modeNames(), s.Mode) {
		return Settings{}, fmt.Errorf("unknown mode %q (want %s)", s.Mode, strings.Join(modeNames(), " or "))
	}
	if s.Nodes < 1 || s.Nodes > maxNodes {
		return Settings{}, fmt.Errorf("a cluster has 1 to %d nodes, not %d", maxNodes, s.Nodes)
	}
	if err := checkKnown(s.Mode, s.Options); err != nil {
		return Settings{}, err
	}
	broker, err := masterslave.ParseOptions(brokerOptions(s.Options))
	if err != nil {
		return Settings{}, err
	}
	client, err := parseClient(s.Options, int(broker.DefaultPartitions))
	if err != nil {
		return Settings{}, err
	}
	set := Settings{Mode: s.Mode, Nodes: s.Nodes, Broker: broker, Client: client, given: maps.Clone(s.Options)}
	return set, set.check()
}

// check holds what options say against each other and against the number of nodes.
func (s Settings) check() error {
	groups := s.Groups()
	if groups > s.Nodes || s.Nodes%groups != 0 {
		return fmt.Errorf("option groups=%d: %d nodes cannot be divided evenly into %d groups", groups, s.Nodes, groups)
	}
	size := s.Nodes / groups
	if s.Copies() > size {
		return fmt.Errorf("option copies=%d: a group has only %d of the %d nodes", s.Copies(), size, s.Nodes)
	}
	if s.Client.ReadFollower && !s.Broker.FollowerRead {
		return errors.New("option read-from=follower needs follower-read=true: followers refuse consumers otherwise")
	}
	if s.Client.ReadFollower && size < 2 {
		return errors.New("option read-from=follower needs groups of at least 2 nodes: there is no follower to ask")
	}
	return nil
}

// Copies is how many distinct nodes, the leader included, hold a message before it is acknowledged.
func (s Settings) Copies() int { return s.Broker.Copies }

// Groups is the number of replication groups.
func (s Settings) Groups() int { return int(s.Broker.Groups) }

// GroupOf is the group, from 0, of the node with number id, from 1: nodes are dealt out in order.
func (s Settings) GroupOf(id int32) int32 { return (id - 1) / int32(s.Nodes/s.Groups()) }

// Effective returns every option of the mode with its value, defaults included. Where an option has
// no say (copies without replication=sync), the value is what is in force.
func (s Settings) Effective() map[string]string {
	out := make(map[string]string)
	for _, o := range Options() {
		if slices.Contains(o.Modes, s.Mode) {
			out[o.Name] = o.Default
		}
	}
	maps.Copy(out, s.given)
	out["copies"] = strconv.Itoa(s.Copies())
	out[optIdempotence] = strconv.FormatBool(s.Client.Idempotence)
	return out
}

// NodeName is the harness's name of the node with number id.
func NodeName(id int32) harness.NodeID { return target.NodeName(int(id)) }

// inForce is the spec of a configuration with the options in force: a single copy is in force
// without synchronous replication, where nobody can ask for it.
func inForce(c target.Config) Spec {
	spec := Spec(c)
	if c.Options["copies"] == "1" {
		spec.Options = maps.Clone(c.Options)
		delete(spec.Options, "copies")
	}
	return spec
}

// members are the nodes, in order, with the addresses at which others reach them.
func (s Settings) members(addr func(n harness.NodeID, port string) string) []masterslave.Member {
	out := make([]masterslave.Member, s.Nodes)
	for i := range out {
		id := int32(i + 1)
		out[i] = masterslave.Member{ID: id, Group: s.GroupOf(id), Kafka: addr(NodeName(id), portKafka), Peer: addr(NodeName(id), portPeer)}
	}
	return out
}

// nodeConfigs are the configurations of the nodes, in order. Each binds the addresses at which it
// is reached, and has no data directory.
func (s Spec) nodeConfigs(members []masterslave.Member) []node.Config {
	all := make([]node.Member, len(members))
	for i, m := range members {
		all[i] = node.Member{ID: m.ID, Group: m.Group, Kafka: m.Kafka, Peer: m.Peer}
	}
	out := make([]node.Config, len(members))
	for i, m := range members {
		out[i] = node.Config{
			Cluster: "assay",
			ID:      m.ID,
			Mode:    s.Mode,
			Listen:  m.Kafka,
			Peer:    m.Peer,
			Nodes:   slices.Clone(all),
			Options: brokerOptions(s.Options),
			Log:     "info",
		}
	}
	return out
}
