package promise_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/contract"
)

// An event excuses what it may have caused: nothing in another group, nothing that was complete
// before, no loss of what was sent long after.
func TestCovers(t *testing.T) {
	power := facts(hit("power", "n1", true, 10, 12))
	nobodys := hit("power", "n1", true, 10, 12)
	nobodys.Group = contract.AnyGroup
	later := contract.Promotion{Leader: "n2", Safe: true, Moved: true, From: 39 * sec, Done: 40 * sec}
	forcedAt := func(strikes ...contract.Strike) contract.Facts {
		f := promoted(facts(), contract.Promotion{Group: 1, Leader: "n3", Forced: true, Moved: true, From: 9 * sec, Done: 10 * sec})
		f.Strikes = strikes
		return f
	}
	wiped := func(until int64) contract.Facts { return facts(hit("wipe", "n1", true, 10, until)) }
	on := func(from, until int64) contract.Strike { return contract.Strike{From: from * sec, Until: until * sec} }
	for _, c := range []struct {
		what  string
		facts contract.Facts
		of    contract.Case
		want  bool
	}{
		{"power, its group", power, contract.Case{Seen: 60 * sec, Sent: 9 * sec}, true},
		{"power, another group", power, contract.Case{Group: 1, Seen: 60 * sec}, false},
		{"power, no group in particular", power, contract.Case{Group: contract.AnyGroup, Seen: 60 * sec}, true},
		{"power, seen before", power, contract.Case{Seen: 9 * sec}, false},
		{"power, sent before it had caught up", power, contract.Case{Seen: 60 * sec, Sent: 13 * sec}, true},
		{"power, sent after", power, contract.Case{Seen: 60 * sec, Sent: 15 * sec}, false},
		{"power, never caught up", facts(hit("power", "n1", true, 10, 0)), contract.Case{Seen: 60 * sec, Sent: 59 * sec}, true},
		{"power, sent after, and a refused follower promoted later", promoted(power, later), contract.Case{Seen: 60 * sec, Sent: 39 * sec}, true},
		{"power, sent after that promote", promoted(power, later), contract.Case{Seen: 60 * sec, Sent: 43 * sec}, false},
		{"power, a promote later in another group", promoted(power, contract.Promotion{Group: 1, Safe: true, From: 39 * sec, Done: 40 * sec}), contract.Case{Seen: 60 * sec, Sent: 39 * sec}, false},
		{"power of a node of which nobody knows the group, and a promote later", promoted(facts(nobodys), later), contract.Case{Seen: 60 * sec, Sent: 39 * sec}, true},
		{"power, a promote before it", promoted(power, contract.Promotion{Safe: true, From: 8 * sec, Done: 9 * sec}), contract.Case{Seen: 60 * sec, Sent: 39 * sec}, false},
		{"wipe, sent before it", wiped(20), contract.Case{Seen: 60 * sec, Sent: 9 * sec}, true},
		{"wipe, sent before it had caught up", wiped(20), contract.Case{Seen: 60 * sec, Sent: 21 * sec}, true},
		{"wipe, sent after", wiped(20), contract.Case{Seen: 60 * sec, Sent: 23 * sec}, false},
		{"wipe, never caught up", wiped(0), contract.Case{Seen: 60 * sec, Sent: 59 * sec}, true},
		{"forced, sent before", forcedAt(), contract.Case{Group: 1, Seen: 60 * sec, Sent: 5 * sec}, true},
		{"forced, sent while the old leader may not know", forcedAt(), contract.Case{Group: 1, Seen: 60 * sec, Sent: 11 * sec}, true},
		{"forced, sent later", forcedAt(), contract.Case{Group: 1, Seen: 60 * sec, Sent: 13 * sec}, false},
		{"forced, another group", forcedAt(), contract.Case{Seen: 60 * sec, Sent: 5 * sec}, false},
		{"forced, seen before", forcedAt(), contract.Case{Group: 1, Seen: 8 * sec}, false},
		{"forced, sent while the old leader is cut off", forcedAt(on(8, 20)), contract.Case{Group: 1, Seen: 60 * sec, Sent: 21 * sec}, true},
		{"forced, the old leader cut off again at once", forcedAt(on(8, 20), on(21, 30)), contract.Case{Group: 1, Seen: 60 * sec, Sent: 29 * sec}, true},
		{"forced, cut off again when it knew", forcedAt(on(8, 20), on(23, 30)), contract.Case{Group: 1, Seen: 60 * sec, Sent: 29 * sec}, false},
		{"forced, cut off before", forcedAt(on(1, 3)), contract.Case{Group: 1, Seen: 60 * sec, Sent: 13 * sec}, false},
		{"forced, never healed", forcedAt(on(8, 0), contract.Strike{From: 9 * sec, Until: math.MaxInt64}), contract.Case{Group: 1, Seen: 60 * sec, Sent: 59 * sec}, true},
	} {
		k := after(async("async"), c.facts)
		ok, why := k.Covers(checker.LostWrite, c.of)
		require.Equal(t, c.want, ok, c.what)
		require.Equal(t, c.want, why != "", c.what)
		anywhere, _ := k.Permits(checker.LostWrite)
		require.True(t, anywhere, c.what)
	}
}

// A node of which nothing is known may be beside a leader of any group.
func TestDamageOfUnknownGroup(t *testing.T) {
	stray := hit("wipe", "n3", true, 10, 20)
	stray.Group = contract.AnyGroup
	k := after(sync(2, "sync"), facts(hit("wipe", "n1", true, 10, 20), stray))
	for _, group := range []int{0, 1} {
		ok, _ := k.Covers(checker.LostWrite, contract.Case{Group: group, Seen: 60 * sec})
		require.True(t, ok)
	}
}

// A follower that stays refused is as well as it can be in the group whose leader lost its tail,
// and nowhere else.
func TestDivergenceByGroup(t *testing.T) {
	k := after(async("async"), facts(hit("power", "n1", true, 10, 12)))
	require.True(t, k.DivergencePermitted(0))
	require.False(t, k.DivergencePermitted(1))
}
