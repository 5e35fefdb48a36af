package promise_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness/target/reference/promise"
	"github.com/assay-project/assay/histories"
)

// cfg is a configuration of 3 nodes, changed.
func cfg(change func(*promise.Config)) promise.Config {
	c := promise.Default(promise.MasterSlave, 3)
	if change != nil {
		change(&c)
	}
	return c
}

func async(flush string) promise.Config {
	return cfg(func(c *promise.Config) { c.Flush = flush })
}

func sync(copies int, flush string) promise.Config {
	return cfg(func(c *promise.Config) { c.Replication, c.Copies, c.Flush = promise.Sync, copies, flush })
}

const sec = int64(1e9)

// after is the contract of a configuration after what happened.
func after(c promise.Config, f contract.Facts) contract.Contract {
	k, _ := c.Promise().After(f)
	return k
}

// happened are the facts of a history in which faults strike n1, with what their names of old mean.
func happened(names ...string) contract.Facts {
	var h histories.History
	for i, name := range names {
		op := histories.New(histories.Info, histories.NemesisProcess, histories.Inject)
		op.Index, op.Fault, op.Node = int64(i), name, "n1"
		h = append(h, op)
	}
	return contract.FactsOf(histories.EventsOf(h))
}

// hit is a damage from second at to second until; until 0: for good.
func hit(fault, node string, led bool, at, until int64) contract.Damage {
	d := contract.Damage{Harm: happened(fault).Damages[0].Harm, Node: node, Led: led, From: at * sec, Until: until * sec}
	if until == 0 {
		d.Until = math.MaxInt64
	}
	return d
}

func facts(damages ...contract.Damage) contract.Facts { return contract.Facts{Damages: damages} }

func promoted(f contract.Facts, ps ...contract.Promotion) contract.Facts {
	f.Promotions = ps
	return f
}

var (
	safe   = contract.Promotion{Leader: "n2", Epoch: 2, Safe: true, Moved: true}
	again  = contract.Promotion{Leader: "n1", Epoch: 4, Safe: true}
	forced = contract.Promotion{Leader: "n3", Epoch: 3, Forced: true, Moved: true}
)

// without are faults that destroy nothing.
func without(names ...string) contract.Facts {
	f := happened(names...)
	if len(f.Damages) > 0 {
		panic(fmt.Sprintf("%q can destroy something", names))
	}
	return contract.Facts{Operated: f.Operated}
}

func classes(k contract.Contract) []checker.Class {
	var all []checker.Class
	for _, c := range everyClass {
		if ok, _ := k.Permits(c); ok {
			all = append(all, c)
		}
	}
	return all
}

var everyClass = []checker.Class{
	checker.LostWrite, checker.Unseen, checker.Duplicate, checker.Phantom, checker.AbortedRead, checker.InconsistentOffsets,
	checker.NonmonotonicSend, checker.NonmonotonicPoll, checker.PollSkip, checker.RolledBackRead, checker.StaleRead, checker.OffsetRegress,
	checker.ReplicaDivergence, checker.WeakAckLie, checker.Nonlinearizable, checker.Stall,
}

func kinds(cs ...checker.Class) []checker.Class { return cs }

// The rows of the verification matrix that are about this mode (semantics.md 6.1), with what each
// permits. Rows about things that the reference broker does not have (registries, consumer offsets,
// slave-acting) are not among them.
func TestMatrixRows(t *testing.T) {
	both := func(fault string, atLeader, atFollower string) contract.Facts {
		return facts(hit(atLeader, "n1", true, 10, 12), hit(atFollower, "n2", false, 11, 12))
	}
	loss, diverge, unseen := checker.LostWrite, checker.ReplicaDivergence, checker.Unseen
	for _, row := range []struct {
		id, what string
		cfg      promise.Config
		facts    contract.Facts
		permits  []checker.Class
	}{
		{"VMS-01", "async, async flush, kill of the master", async("async"), without("kill"), nil},
		{"VMS-02", "async, async flush, power loss of the master that returns", async("async"), facts(hit("power", "n1", true, 10, 12)), kinds(loss, diverge)},
		{"VMS-03", "async, sync flush, power loss of the master", async("sync"), facts(hit("power", "n1", true, 10, 12)), nil},
		{"VMS-04", "async, disk of the master lost, a slave promoted", async("sync"), promoted(facts(hit("wipe", "n1", true, 10, 20)), forced), kinds(loss)},
		{"VMS-04", "the same, async flush", async("async"), promoted(facts(hit("wipe", "n1", true, 10, 20)), forced), kinds(loss)},
		{"VMS-05", "sync, async flush, kill of the master", sync(2, "async"), without("kill"), nil},
		{"VMS-06", "sync, one slave of one, disk of the master lost, the slave promoted", pair(sync(2, "async")), promoted(facts(hit("wipe", "n1", true, 10, 20)), safe), nil},
		{"VMS-06", "the same with two slaves and a safe promote", sync(2, "async"), promoted(facts(hit("wipe", "n1", true, 10, 20)), safe), nil},
		{"VMS-07", "sync, two slaves, the other slave promoted by force", sync(2, "async"), promoted(facts(hit("wipe", "n1", true, 10, 20)), forced), kinds(loss)},
		{"VMS-08", "sync, async flush, power loss of the master that returns unpromoted", sync(2, "async"), facts(hit("power", "n1", true, 10, 12)), kinds(loss, unseen, diverge)},
		{"VMS-09", "sync, async flush, power loss of both", pair(sync(2, "async")), both("power", "power", "power"), kinds(loss, unseen, diverge)},
		{"VMS-10", "sync, flush on the master, power loss of both", pair(sync(2, "leader")), both("power", "power", "power"), kinds(unseen, diverge)},
		{"VMS-10", "sync, flush on every copy, power loss of both", pair(sync(2, "sync")), both("power", "power", "power"), nil},
		{"VMS-11", "sync, flush on the master, disk of the master lost and power loss of the slave", pair(sync(2, "leader")), promoted(both("", "wipe", "power"), safe), kinds(loss)},
		{"VMS-11", "the same with flush on every copy", pair(sync(2, "sync")), promoted(both("", "wipe", "power"), safe), nil},
		{"VMS-12", "sync, the slave cut off", pair(sync(2, "async")), without("partition"), nil},
		{"VMS-13", "sync that waits for one copy: the master's", sync(1, "async"), promoted(facts(hit("wipe", "n1", true, 10, 20)), forced), kinds(loss)},
		{"VMS-14", "sync, the slave down", sync(2, "async"), without("kill", "restart"), nil},
		{"VMS-14", "the same with visible=appended, until the master loses its tail", appended(sync(2, "sync")), without("kill"), nil},
		{"VMS-14", "visible=appended, disk of the master lost", appended(sync(2, "sync")), promoted(facts(hit("wipe", "n1", true, 10, 20)), safe), kinds(checker.RolledBackRead)},
		{"VMS-15", "clients cut off", async("async"), without("partition"), nil},
		{"VMS-16", "readers on a slow slave", async("async"), without("slow", "kill"), nil},
		{"VMS-22", "the master paused for a minute", async("async"), without("pause"), nil},
		{"VMS-23", "sync flush, fsync fails on the master", async("sync"), facts(hit("fsync", "n1", true, 10, 0)), kinds(checker.Stall)},
		{"VMS-24", "a slave longer than its master: refused", sync(2, "async"), facts(hit("power", "n1", true, 10, 0)), kinds(loss, unseen, diverge)},
	} {
		got := after(row.cfg, row.facts)
		require.ElementsMatch(t, row.permits, classes(got), "%s: %s", row.id, row.what)
	}
}

// pair makes it a group of two.
func pair(c promise.Config) promise.Config {
	c.Nodes = 2
	return c
}

func appended(c promise.Config) promise.Config {
	c.Visible = promise.Appended
	return c
}

// Cells that no row of the matrix has.
func TestCells(t *testing.T) {
	retries := cfg(func(c *promise.Config) { c.Retries = 3 })
	plain := cfg(func(c *promise.Config) { c.Retries, c.Idempotence = 3, false })
	loss := checker.LostWrite
	acks1 := func(c promise.Config) promise.Config { c.Acks = "1"; return c }
	for _, c := range []struct {
		what    string
		cfg     promise.Config
		facts   contract.Facts
		permits []checker.Class
	}{
		{"nothing happened", async("async"), facts(), nil},
		{"faults that destroy nothing, all together", async("async"), without("kill", "pause", "partition", "slow", "loss", "restart", "promote"), nil},
		{"power loss of a follower: the leader has everything", async("async"), facts(hit("power", "n2", false, 10, 12)), nil},
		{"power loss of all followers", sync(2, "async"), facts(hit("power", "n2", false, 10, 12), hit("power", "n3", false, 10, 12)), nil},
		{"disks of all followers lost", sync(2, "async"), facts(hit("wipe", "n2", false, 10, 12), hit("wipe", "n3", false, 10, 12)), nil},
		{"power loss of the leader, flush=leader: frames were shipped before they were flushed", async("leader"), facts(hit("power", "n1", true, 10, 12)), kinds(checker.ReplicaDivergence)},
		{"the leader's disk lost, then another's, after the first has caught up", sync(2, "async"), promoted(facts(hit("wipe", "n1", true, 10, 15), hit("wipe", "n2", true, 30, 35)), safe, safe), nil},
		{"the same, before it has caught up", sync(2, "async"), promoted(facts(hit("wipe", "n1", true, 10, 35), hit("wipe", "n2", true, 30, 35)), safe, safe), kinds(loss)},
		{"a majority of three disks lost, the leader's among them", sync(2, "sync"), facts(hit("wipe", "n1", true, 10, 12), hit("wipe", "n3", false, 10, 12)), kinds(loss)},
		{"the same with three copies: one is left", sync(3, "sync"), promoted(facts(hit("wipe", "n1", true, 10, 12), hit("wipe", "n3", false, 10, 12)), safe), nil},
		{"two disks lost in different groups", sync(2, "sync"), promoted(facts(hit("wipe", "n1", true, 10, 12), other(hit("wipe", "n3", false, 10, 12))), safe), nil},
		{"all disks lost", sync(3, "sync"), facts(hit("wipe", "n1", true, 1, 0), hit("wipe", "n2", false, 1, 0), hit("wipe", "n3", false, 1, 0)), kinds(loss)},
		{"a follower without its tail, and the leader's disk lost before it had caught up", sync(2, "async"), promoted(facts(hit("power", "n2", false, 10, 20), hit("wipe", "n1", true, 15, 30)), safe), kinds(loss)},
		{"the same with flush=sync: a power loss takes nothing", sync(2, "sync"), promoted(facts(hit("power", "n2", false, 10, 20), hit("wipe", "n1", true, 15, 30)), safe), nil},
		{"a safe promote", async("async"), promoted(facts(), safe), nil},
		{"the present leader again", async("async"), promoted(facts(), again), nil},
		{"a forced promote without any other fault", sync(2, "sync"), promoted(facts(), forced), kinds(loss)},
		{"acks=1, a safe promote that moved", acks1(sync(2, "sync")), promoted(facts(), safe), kinds(loss)},
		{"acks=1, the present leader again", acks1(sync(2, "sync")), promoted(facts(), again), nil},
		{"acks=1, kill", acks1(sync(2, "sync")), without("kill"), nil},
		{"acks=1, flush=sync, power loss of the leader: the append was not flushed yet", acks1(sync(2, "sync")), facts(hit("power", "n1", true, 10, 12)), kinds(loss)},
		{"acks=1, the leader's disk lost", acks1(sync(2, "sync")), promoted(facts(hit("wipe", "n1", true, 10, 12)), safe), kinds(loss)},
		{"retries with idempotence", retries, without("loss"), nil},
		{"retries without", plain, without("loss"), kinds(checker.Duplicate, checker.NonmonotonicSend)},
		{"retries with idempotence, the leader's disk lost: a retry may follow a loss", retries, promoted(facts(hit("wipe", "n1", true, 10, 20)), forced), kinds(loss, checker.Duplicate)},
		{"the same with enough copies", with2Copies(retries), promoted(facts(hit("wipe", "n1", true, 10, 20)), safe), nil},
		{"the same with visible=appended", appended(with2Copies(retries)), promoted(facts(hit("wipe", "n1", true, 10, 20)), safe), kinds(checker.RolledBackRead, checker.Duplicate)},
		{"visible=appended, kill", appended(async("async")), without("kill"), nil},
		{"visible=appended, the leader's disk lost, and nobody promoted", appended(sync(2, "sync")), facts(hit("wipe", "n1", true, 10, 12)), kinds(checker.RolledBackRead)},
		{"visible=appended, a safe promote that moved", appended(sync(2, "async")), promoted(facts(), safe), kinds(checker.RolledBackRead)},
		{"visible=appended, the present leader again", appended(sync(2, "async")), promoted(facts(), again), nil},
		{"visible=appended, flush=sync, power loss of the leader: only what is flushed is visible", appended(sync(2, "sync")), facts(hit("power", "n1", true, 10, 12)), nil},
		{"power loss of the leader, and a promote beside it", async("async"), with(facts(hit("power", "n1", true, 10, 12)), "promote"), kinds(loss, checker.ReplicaDivergence, checker.Stall)},
		{"the same with flush=sync", async("sync"), with(facts(hit("power", "n1", true, 10, 12)), "promote"), nil},
		{"the same at a follower", async("async"), with(facts(hit("power", "n2", false, 10, 12)), "promote"), nil},
		{"visible=appended, power loss of the leader", appended(async("async")), facts(hit("power", "n1", true, 10, 12)), kinds(loss, checker.RolledBackRead, checker.ReplicaDivergence)},
		{"a bit flip at a follower", sync(2, "sync"), facts(hit("corrupt", "n2", false, 10, 0)), kinds(checker.Stall)},
		{"a bit flip at the leader", sync(2, "sync"), facts(hit("corrupt", "n1", true, 10, 0)), kinds(loss, checker.ReplicaDivergence, checker.Stall)},
		{"a full disk", sync(2, "sync"), facts(hit("full", "n1", true, 10, 0)), kinds(checker.Stall)},
	} {
		got := after(c.cfg, c.facts)
		require.ElementsMatch(t, c.permits, classes(got), c.what)
		for _, p := range got.Permissions() {
			require.NotEmpty(t, p.Reason)
			require.Regexp(t, `^VMS-\d\d(, VMS-\d\d)*$`, p.Rows)
			ok, why := got.Permits(p.Class)
			require.True(t, ok)
			require.Contains(t, why, "VMS-")
		}
		diverges, _ := got.Permits(checker.ReplicaDivergence)
		require.Equal(t, diverges, got.DivergencePermitted(0))
	}
}

func with2Copies(c promise.Config) promise.Config {
	c.Replication, c.Copies = promise.Sync, 2
	return c
}

// with adds a fault that destroys nothing.
func with(f contract.Facts, fault string) contract.Facts {
	f.Operated = f.Operated || without(fault).Operated
	return f
}

func other(d contract.Damage) contract.Damage {
	d.Group = 1
	return d
}

// No rule ever permits these: they are bugs in every configuration.
func TestNeverPermitted(t *testing.T) {
	for _, r := range promise.Rules() {
		for _, c := range []checker.Class{checker.Phantom, checker.AbortedRead, checker.WeakAckLie} {
			require.NotContains(t, r.Permits, c)
		}
	}
}

// The zero Contract, and that of a mode without rules, exclude everything.
func TestDefaultIsExclusion(t *testing.T) {
	require.Empty(t, classes(contract.Contract{}))
	all := facts(hit("wipe", "n1", true, 1, 0), hit("power", "n2", true, 1, 0))
	unknown := cfg(func(c *promise.Config) { c.Mode = "dledger" })
	require.Empty(t, classes(after(unknown, all)))
	k, terms := contract.Promise{}.After(all)
	require.Empty(t, classes(k))
	require.Zero(t, terms, "and it promises neither copies nor linearizable reads")
}

func TestParse(t *testing.T) {
	c, err := promise.Parse(promise.MasterSlave, 4, map[string]string{
		"replication": "sync", "copies": "3", "flush": "leader", "visible": "appended", "acks": "-1", "idempotence": "false", "retries": "2", "groups": "2", "partitions": "9",
	})
	require.NoError(t, err)
	require.Equal(t, promise.Config{
		Mode: promise.MasterSlave, Nodes: 2, Groups: 2, Replication: "sync", Copies: 3, Flush: "leader", Visible: "appended", Acks: "all", Retries: 2,
	}, c)
	c, err = promise.Parse(promise.MasterSlave, 3, nil)
	require.NoError(t, err)
	require.Equal(t, promise.Default(promise.MasterSlave, 3), c)
	for _, bad := range []struct{ key, value, says string }{
		{"replication", "semi", `replication="semi": want one of ["async" "sync"]`}, {"flush", "", `flush="": want one of ["async" "sync" "leader"]`},
		{"visible", "x", `visible="x": want one of ["replicated" "appended"]`}, {"acks", "2", `acks="2": want one of ["all" "1" "0" "-1"]`},
		{"read-from", "anybody", `read-from="anybody": want one of ["leader" "follower"]`},
		{"copies", "two", `copies="two" is no number`}, {"copies", "0", "copies=0"}, {"retries", "-1", "retries=-1"}, {"groups", "0", "groups=0"},
		{"idempotence", "maybe", `idempotence="maybe": want true or false`},
	} {
		_, err := promise.Parse(promise.MasterSlave, 3, map[string]string{bad.key: bad.value})
		require.ErrorContains(t, err, bad.says)
	}
}

// What a fault can destroy is what the history says of it: one that nobody knows by name is a wipe
// if it takes the disk, and nothing if it takes nothing.
func TestHarmDecides(t *testing.T) {
	contractOf := func(c promise.Config, fault string, harm histories.Harm) contract.Contract {
		ops := []histories.Op{
			histories.NewGroupNote(0, "n1", "n2", "n3"), histories.NewInject(fault, histories.Event{Strike: 1, Harm: harm}, "n1"),
			histories.NewHeal(fault, 1, "n1"), histories.NewNote(histories.NoteCaughtUp, "n1"),
		}
		for i := range ops {
			ops[i].Index, ops[i].Time = int64(i), int64(i)*10*sec
		}
		return after(c, contract.FactsOf(histories.EventsOf(histories.History(ops))))
	}
	for _, c := range []promise.Config{async("async"), async("sync"), sync(2, "async"), sync(2, "sync"), appended(sync(2, "leader"))} {
		for _, harm := range []histories.Harm{histories.HarmDisk, histories.HarmUnsynced, histories.HarmBits, histories.HarmWrites, histories.HarmNone} {
			known := map[histories.Harm]string{
				histories.HarmDisk: "wipe", histories.HarmUnsynced: "power", histories.HarmBits: "corrupt", histories.HarmWrites: "fsync", histories.HarmNone: "kill",
			}[harm]
			require.Equal(t, contractOf(c, known, harm).Permissions(), contractOf(c, "acid:leader", harm).Permissions(), "%v %s", c, harm)
		}
		require.Empty(t, contractOf(c, "wipe:leader", histories.HarmNone).Permissions(), "the name says nothing")
	}
	wiped := contractOf(async("sync"), "acid", histories.HarmDisk)
	for sent, want := range map[int64]bool{5: true, 31: true, 33: false} { // it lasts from second 10 until it had caught up, at 30, and everybody knew
		ok, _ := wiped.Covers(checker.LostWrite, contract.Case{Seen: 60 * sec, Sent: sent * sec})
		require.Equal(t, want, ok, sent)
	}
}

// How many copies an acknowledgement means, and whether reads are linearizable, is promised too.
func TestTerms(t *testing.T) {
	acks := func(c promise.Config, acks string) promise.Config { c.Acks = acks; return c }
	followers := func(c promise.Config) promise.Config { c.FollowerReads = true; return c }
	for _, c := range []struct {
		what  string
		cfg   promise.Config
		facts contract.Facts
		want  contract.Terms
	}{
		{"async", async("async"), facts(), contract.Terms{Copies: 1, LinearReads: true}},
		{"sync", sync(2, "async"), facts(), contract.Terms{Copies: 2, LinearReads: true}},
		{"acks=1", acks(sync(2, "async"), "1"), facts(), contract.Terms{Copies: 1}},
		{"acks=0", acks(sync(2, "async"), "0"), facts(), contract.Terms{Copies: 1, NoAcks: true}},
		{"acks=1, visible=appended", appended(acks(sync(2, "async"), "1")), facts(), contract.Terms{Copies: 1, LinearReads: true}},
		{"reads of followers", followers(sync(3, "async")), facts(), contract.Terms{Copies: 3}},
		{"faults that move nobody", sync(2, "async"), without("kill", "partition"), contract.Terms{Copies: 2, LinearReads: true}},
		{"a promote", sync(2, "async"), promoted(facts(), safe), contract.Terms{Copies: 2}},
		{"a promote of the present leader", sync(2, "async"), promoted(facts(), again), contract.Terms{Copies: 2}},
	} {
		_, terms := c.cfg.Promise().After(c.facts)
		require.Equal(t, c.want, terms, c.what)
	}
	require.Equal(t, 4, cfg(func(c *promise.Config) { c.Groups = 4 }).Promise().Groups)
}
