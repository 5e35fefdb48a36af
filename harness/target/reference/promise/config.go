package promise

import (
	"fmt"
	"strconv"

	"github.com/assay-project/assay/checker/contract"
)

// Values of Config, in the spelling of the command line.
const (
	MasterSlave = "master-slave"

	Async  = "async"
	Sync   = "sync"
	Leader = "leader"

	Replicated = "replicated"
	Appended   = "appended"
)

// Config is the part of a configuration that promises depend on.
type Config struct {
	Mode        string
	Nodes       int    // of one replication group
	Groups      int    // replication groups; partition p lives in group p mod Groups
	Replication string // Async, Sync
	Copies      int    // with Sync: how many nodes a message is on, the leader included, before it is acknowledged
	Flush       string // Sync: every copy is flushed before it counts; Leader: the leader's; Async: none
	Visible     string // Replicated: consumers read what counts as replicated; Appended: whatever the leader has appended
	Acks        string // "all", "1", "0"
	Idempotence bool
	Retries     int // by the producer
	// FollowerReads: reads under load ask followers.
	FollowerReads bool
}

// Default returns the configuration of a mode without options.
func Default(mode string, nodes int) Config {
	return Config{
		Mode: mode, Nodes: nodes, Groups: 1, Replication: Async, Copies: 2, Flush: Async,
		Visible: Replicated, Acks: "all", Idempotence: true,
	}
}

// Parse returns the configuration of a mode with options as `--set` spells them. Nodes are those of
// the whole cluster. Options that no promise depends on are not looked at; whether they exist is
// not its business.
func Parse(mode string, nodes int, options map[string]string) (Config, error) {
	c := Default(mode, nodes)
	texts := []struct {
		key  string
		to   *string
		want []string
	}{
		{"replication", &c.Replication, []string{Async, Sync}},
		{"flush", &c.Flush, []string{Async, Sync, Leader}},
		{"visible", &c.Visible, []string{Replicated, Appended}},
		{"acks", &c.Acks, []string{"all", "1", "0", "-1"}},
	}
	for _, t := range texts {
		if err := oneOf(options, t.key, t.to, t.want); err != nil {
			return Config{}, err
		}
	}
	from := "leader"
	if err := oneOf(options, "read-from", &from, []string{"leader", "follower"}); err != nil {
		return Config{}, err
	}
	c.FollowerReads = from == "follower"
	if c.Acks == "-1" {
		c.Acks = "all"
	}
	for key, to := range map[string]*int{"copies": &c.Copies, "retries": &c.Retries, "groups": &c.Groups} {
		if err := number(options, key, to); err != nil {
			return Config{}, err
		}
	}
	if c.Groups < 1 || c.Copies < 1 || c.Retries < 0 {
		return Config{}, fmt.Errorf("groups=%d copies=%d retries=%d: groups and copies are at least 1, retries at least 0", c.Groups, c.Copies, c.Retries)
	}
	if nodes < 1 || nodes%c.Groups != 0 {
		return Config{}, fmt.Errorf("groups=%d: %d nodes cannot be divided evenly into %d groups", c.Groups, nodes, c.Groups)
	}
	c.Nodes = nodes / c.Groups
	if v, ok := options["idempotence"]; ok {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return Config{}, fmt.Errorf("idempotence=%q: want true or false", v)
		}
		c.Idempotence = b
	}
	return c, nil
}

func oneOf(options map[string]string, key string, to *string, want []string) error {
	v, ok := options[key]
	if !ok {
		return nil
	}
	for _, w := range want {
		if v == w {
			*to = v
			return nil
		}
	}
	return fmt.Errorf("%s=%q: want one of %q", key, v, want)
}

func number(options map[string]string, key string, to *int) error {
	v, ok := options[key]
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%s=%q is no number", key, v)
	}
	*to = n
	return nil
}

// NeededCopies is on how many nodes a message is when its strong acknowledgement is sent: one under
// asynchronous replication, and when the producer asks for no more than the leader's append.
func (c *Config) NeededCopies() int {
	if c.Replication != Sync || c.Acks != "all" {
		return 1
	}
	return c.Copies
}

// Promise returns what the configuration promises.
func (c Config) Promise() contract.Promise {
	return contract.Promise{
		Groups: c.Groups, Copies: c.NeededCopies(), NoAcks: c.Acks == "0",
		LinearReads: func(f contract.Facts) bool { return c.linearReads(f) },
		Permits:     func(f contract.Facts) []contract.Permission { return c.permits(f) },
	}
}

// linearReads reports whether reads under load are linearizable: those of a master-slave leader are
// while nobody promotes another one, where an acknowledged message is visible at once, with
// acks=all or when everything appended is visible.
func (c *Config) linearReads(f contract.Facts) bool {
	return (c.Acks == "all" || c.Visible == Appended) && !c.FollowerReads && len(f.Promotions) == 0
}

// permits applies the rules of the mode.
func (c *Config) permits(f contract.Facts) []contract.Permission {
	var all []contract.Permission
	for _, r := range rulesOf(c.Mode) {
		for _, s := range r.spans(&conditions{Config: c, Facts: &f}) {
			for _, class := range r.Permits {
				all = append(all, contract.Permission{Span: s, Class: class, Rows: r.Rows, Reason: r.Reason})
			}
		}
	}
	return all
}

// rulesOf returns the rules of a mode. A mode without rules excludes everything.
func rulesOf(mode string) []Rule {
	if mode == MasterSlave {
		return Rules()
	}
	return nil
}

// tears reports whether a power loss of a node may take what that node had confirmed by the time of
// a strong acknowledgement.
func (c *Config) tears(led bool) bool {
	switch {
	case c.Acks != "all": // the leader's append alone, before any flush
		return true
	case c.Flush == Sync:
		return false
	case c.Flush == Leader:
		return !led
	}
	return true
}
