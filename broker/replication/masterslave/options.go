package masterslave

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-project/assay/broker/partitions"
)

// Flush says when a log's frames are made durable.
type Flush uint8

const (
	// FlushAsync flushes in the background: an acknowledged batch may still be in the page cache only.
	FlushAsync Flush = iota
	// FlushLeader flushes on the leader before a batch is acknowledged, and in the background on followers.
	FlushLeader
	// FlushSync flushes on the leader and on the counted followers before a batch is acknowledged.
	FlushSync
)

// Options are the mode's options, parsed.
type Options struct {
	Copies            int           // distinct nodes, the leader included, that hold a batch before it is acknowledged; 1: replication=async
	Groups            int32         // replication groups; partition p of a topic lives in group p mod Groups
	Flush             Flush         // what "hold" means
	FollowerRead      bool          // followers serve consumers
	VisibleAppended   bool          // consumers read what is not yet committed
	Timeout           time.Duration // after it an append that is not yet committed is answered weakly
	DefaultPartitions int32         // of a topic that is created without a number
	AutoCreate        bool          // an unknown topic is created when a client asks for it
}

// OptionDoc describes one option for people.
type OptionDoc struct {
	Name    string
	Default string
	Allowed string
	Doc     string
}

// OptionDocs lists every option, in the order of their names.
func OptionDocs() []OptionDoc {
	return []OptionDoc{
		{"auto.create.topics.enable", "true", "true, false", "create a topic when a client asks for an unknown one"},
		{"copies", "2", "2 to the size of the group", "copies that an acknowledged batch has, the leader's included; only with replication=sync"},
		{"flush", "async", "async, sync, leader", "sync: a copy counts when it is flushed; leader: only the leader flushes; async: flush every 500 ms"},
		{"follower-read", "false", "true, false", "followers answer consumers, up to the committed position that they know"},
		{"groups", "1", "1 or more", "replication groups; partition p of a topic lives in group p mod groups"},
		{"partitions", "3", fmt.Sprintf("1 to %d", partitions.MaxPartitions), "partitions of a topic that is created without a number"},
		{"replication", "async", "async, sync", "async: acknowledged by the leader alone; sync: by as many nodes as copies says"},
		{"replication.timeout.ms", "3000", "1 to 3600000", "an append that has not enough copies by then is answered weakly"},
		{"visible", "replicated", "replicated, appended", "what consumers read: committed batches, or everything in the leader's log (RocketMQ's way)"},
	}
}

// ParseOptions parses and checks options in the spelling of `assay run --set`. An unknown key or a bad value is an error that names it
// and says what is allowed. Whether a group has as many nodes as copies asks for is the caller's to check.
func ParseOptions(m map[string]string) (Options, error) {
	docs := OptionDocs()
	value := make(map[string]string, len(docs))
	for _, d := range docs {
		value[d.Name] = d.Default
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if _, known := value[k]; !known {
			return Options{}, fmt.Errorf("unknown option %q of mode master-slave; known are %s", k, optionNames(docs))
		}
		value[k] = m[k]
	}
	p := optionParser{value: value, docs: docs}
	o := Options{
		Groups:            int32(p.number("groups", 1, 1<<15)),
		FollowerRead:      p.oneOf("follower-read", "false", "true") == 1,
		VisibleAppended:   p.oneOf("visible", "replicated", "appended") == 1,
		Timeout:           time.Duration(p.number("replication.timeout.ms", 1, 3600000)) * time.Millisecond,
		DefaultPartitions: int32(p.number("partitions", 1, partitions.MaxPartitions)),
		AutoCreate:        p.oneOf("auto.create.topics.enable", "false", "true") == 1,
		Flush:             [...]Flush{FlushAsync, FlushLeader, FlushSync}[p.oneOf("flush", "async", "leader", "sync")],
		Copies:            1,
	}
	copies := p.number("copies", 2, 1<<15)
	if p.oneOf("replication", "async", "sync") == 1 {
		o.Copies = copies
	} else if _, set := m["copies"]; set && p.err == nil {
		p.err = fmt.Errorf("option copies=%s needs replication=sync: with replication=async the leader's copy is the only one that counts", m["copies"])
	}
	if p.err != nil {
		return Options{}, p.err
	}
	return o, nil
}

// Values returns the options in the spelling of ParseOptions. With replication=async, copies is left out.
func (o Options) Values() map[string]string {
	v := map[string]string{
		"auto.create.topics.enable": strconv.FormatBool(o.AutoCreate),
		"flush":                     [...]string{FlushAsync: "async", FlushLeader: "leader", FlushSync: "sync"}[o.Flush],
		"follower-read":             strconv.FormatBool(o.FollowerRead),
		"groups":                    strconv.Itoa(int(o.Groups)),
		"partitions":                strconv.Itoa(int(o.DefaultPartitions)),
		"replication":               "async",
		"replication.timeout.ms":    strconv.FormatInt(o.Timeout.Milliseconds(), 10),
		"visible":                   "replicated",
	}
	if o.Copies > 1 {
		v["replication"], v["copies"] = "sync", strconv.Itoa(o.Copies)
	}
	if o.VisibleAppended {
		v["visible"] = "appended"
	}
	return v
}

// optionParser keeps the first error.
type optionParser struct {
	value map[string]string
	docs  []OptionDoc
	err   error
}

func (p *optionParser) bad(name string) {
	if p.err != nil {
		return
	}
	i := slices.IndexFunc(p.docs, func(d OptionDoc) bool { return d.Name == name })
	p.err = fmt.Errorf("option %s=%q: allowed are %s", name, p.value[name], p.docs[i].Allowed)
}

func (p *optionParser) number(name string, low, high int) int {
	n, err := strconv.Atoi(p.value[name])
	if err != nil || n < low || n > high {
		p.bad(name)
		return low
	}
	return n
}

// oneOf returns the index of the value among those allowed.
func (p *optionParser) oneOf(name string, allowed ...string) int {
	i := slices.Index(allowed, p.value[name])
	if i < 0 {
		p.bad(name)
		return 0
	}
	return i
}

func optionNames(docs []OptionDoc) string {
	names := make([]string, len(docs))
	for i, d := range docs {
		names[i] = d.Name
	}
	return strings.Join(names, ", ")
}
