package reference

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-project/assay/broker/replication/masterslave"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
)

// MasterSlave is the mode in which a group's leader is fixed until an operator promotes.
const MasterSlave = "master-slave"

// modes lists the modes that there are, in the order in which people should see them.
func modes() []target.Mode {
	return []target.Mode{{Name: MasterSlave, Doc: "a fixed leader and followers of one log; no failover, an operator may promote"}}
}

// modeNames are the names of all modes.
func modeNames() []string {
	var names []string
	for _, m := range modes() {
		names = append(names, m.Name)
	}
	return names
}

// Names of the options that the harness's client obeys; partitions is obeyed by the broker, too.
const (
	optAcks        = "acks"
	optIdempotence = "idempotence"
	optPartitions  = "partitions"
	optReadFrom    = "read-from"
	optRetries     = "retries"
)

const (
	maxRetries = 1000
)

// clientOptions are the options of every mode that only the client obeys, by name.
func clientOptions() []harness.Option {
	return []harness.Option{
		{Name: optAcks, Default: "all", Allowed: "all, 1, 0", Doc: "who has stored a message before it is acknowledged: as the mode promises, the leader, nobody"},
		{Name: optIdempotence, Default: "true", Allowed: "true, false", Doc: "producers number their batches, so that repeats are recognised; needs acks=all, and is off by default without it"},
		{Name: optReadFrom, Default: "leader", Allowed: "leader, follower", Doc: "which replica the reads under load ask"},
		{Name: optRetries, Default: "0", Allowed: fmt.Sprintf("0 to %d", maxRetries), Doc: "how often a client repeats a refused send by itself; 0: one send is one request"},
	}
}

// Options lists every option, by name, with the modes that know it.
func Options() []harness.Option {
	out := clientOptions()
	for _, d := range masterslave.OptionDocs() {
		out = append(out, harness.Option{Name: d.Name, Default: d.Default, Allowed: d.Allowed, Doc: d.Doc})
	}
	for i := range out {
		out[i].Modes = modeNames()
	}
	slices.SortFunc(out, func(a, b harness.Option) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ClientOptions are what the harness's client obeys.
type ClientOptions struct {
	Acks         int16 // -1: all
	Idempotence  bool
	Retries      int  // 0: one send is one request
	ReadFollower bool // reads under load ask a follower
	Partitions   int  // of the topic that the load uses
}

// parseClient parses and checks the client's keys; the others are skipped.
func parseClient(set map[string]string, partitions int) (ClientOptions, error) {
	p := clientParser{set: set, table: clientOptions()}
	o := ClientOptions{
		Acks:         [...]int16{-1, 1, 0}[p.oneOf(optAcks, "all", "1", "0")],
		Retries:      p.number(optRetries, 0, maxRetries),
		ReadFollower: p.oneOf(optReadFrom, "leader", "follower") == 1,
		Idempotence:  p.oneOf(optIdempotence, "true", "false") == 0,
		Partitions:   partitions,
	}
	if _, explicit := set[optIdempotence]; o.Acks != -1 && o.Idempotence {
		if explicit {
			p.err = fmt.Errorf("option %s=true needs %s=all, not %s", optIdempotence, optAcks, set[optAcks])
		}
		o.Idempotence = false
	}
	return o, p.err
}

// clientParser keeps the first error.
type clientParser struct {
	set   map[string]string
	table []harness.Option
	err   error
}

func (p *clientParser) option(name string) (value string, o harness.Option) {
	o = p.table[slices.IndexFunc(p.table, func(o harness.Option) bool { return o.Name == name })]
	if v, ok := p.set[name]; ok {
		return v, o
	}
	return o.Default, o
}

func (p *clientParser) bad(value string, o harness.Option) {
	if p.err == nil {
		p.err = fmt.Errorf("option %s=%q: allowed are %s", o.Name, value, o.Allowed)
	}
}

// oneOf returns the index of the value among those allowed.
func (p *clientParser) oneOf(name string, allowed ...string) int {
	value, o := p.option(name)
	i := slices.Index(allowed, value)
	if i < 0 {
		p.bad(value, o)
		return 0
	}
	return i
}

func (p *clientParser) number(name string, low, high int) int {
	value, o := p.option(name)
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		p.bad(value, o)
		return low
	}
	return n
}

// brokerOptions are those of set that a node's configuration takes.
func brokerOptions(set map[string]string) map[string]string {
	out := maps.Clone(set)
	for _, o := range clientOptions() {
		delete(out, o.Name)
	}
	return out
}

// checkKnown refuses keys that no option has.
func checkKnown(mode string, set map[string]string) error {
	var names []string
	for _, o := range Options() {
		if slices.Contains(o.Modes, mode) {
			names = append(names, o.Name)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if !slices.Contains(names, k) {
			return fmt.Errorf("mode %s has no option %q; it has %s", mode, k, strings.Join(names, ", "))
		}
	}
	return nil
}
