package order_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/internal/oracle"
	"github.com/assay-project/assay/checker/order"
	"github.com/assay-project/assay/histories"
)

// definitions are the sentences of docs/anomalies.md that the oracle below leaves out, to see that the checker follows each.
type definitions uint

const (
	sendsInOrder definitions = 1 << iota // of two messages of a process the later one has the higher offset ...
	notTheSame                           // ... and not the same one
	onlyOK                               // a weak acknowledgement promised no offset
	lostLeftOut                          // a lost message had its offset once
	perPartition                         // each partition has its own order
	pollsInOrder                         // a read returns offsets in order ...
	notBefore                            // ... at or above the one it asked for ...
	notTwice                             // ... and none twice
	pollsSkip                            // a read leaves out no message that is known of, by acknowledgements ...
	skipsRead                            // ... or other reads
	weakMayYield                         // but not by weak acknowledgements
	fromThePlace                         // from the place that it asked for
	finalsToo                            // final reads are judged as polls are
	noScans                              // and scans are not
	noDefinition
)

// judged is the checker's findings by the definitions alone, without those in without.
func judged(h histories.History, without definitions) oracle.Found {
	o := &judging{f: oracle.Of(h), without: without, found: make(oracle.Found)}
	o.sends()
	for _, r := range o.f.Reads {
		if r.F == histories.Scan && o.on(noScans) || r.F == histories.Final && !o.on(finalsToo) {
			continue
		}
		o.read(r)
	}
	return o.found
}

type judging struct {
	f       *oracle.Facts
	without definitions
	found   oracle.Found
}

func (o *judging) on(d definitions) bool { return o.without&d == 0 }

func (o *judging) sends() {
	type key struct {
		proc int
		part int32
	}
	last := make(map[key]*oracle.Sent)
	for i := range o.f.Sends {
		s := &o.f.Sends[i]
		acked := s.Type == histories.OK || s.Type == histories.Weak && !o.on(onlyOK)
		if !acked || s.Offset == histories.Unset || o.on(lostLeftOut) && o.f.Lost(s) {
			continue
		}
		k := key{s.Proc, s.Part}
		if !o.on(perPartition) {
			k.part = 0
		}
		before := last[k]
		last[k] = s
		if before == nil || !o.on(sendsInOrder) {
			continue
		}
		if s.Offset < before.Offset || s.Offset == before.Offset && o.on(notTheSame) {
			o.found.Add(checker.NonmonotonicSend, s.Part, before.Value, s.Value)
		}
	}
}

// known returns the message that is heard of first at each offset of a partition.
func (o *judging) known(part int32) map[int64]int64 {
	at := make(map[int64]int64)
	put := func(offset, value int64) {
		if _, ok := at[offset]; !ok && offset != histories.Unset {
			at[offset] = value
		}
	}
	for _, s := range o.f.Sends {
		if s.Part == part && (s.Type == histories.OK || s.Type == histories.Weak && !o.on(weakMayYield)) {
			put(s.Offset, s.Value)
		}
	}
	for _, r := range o.f.Reads {
		if r.Part == part && r.F != histories.Scan && o.on(skipsRead) {
			for _, m := range r.Msgs {
				put(m.Offset, m.Value)
			}
		}
	}
	return at
}

func (o *judging) read(r oracle.Read) {
	known := o.known(r.Part)
	for k, m := range r.Msgs {
		due := r.From
		if !o.on(notBefore) && k == 0 {
			due = min(due, m.Offset)
		}
		if k > 0 {
			due = r.Msgs[k-1].Offset + 1
		}
		if k > 0 && m.Offset == due-1 && !o.on(notTwice) {
			continue
		}
		if m.Offset < due {
			values := []int64{m.Value}
			if k > 0 {
				values = append(values, r.Msgs[k-1].Value)
			}
			if o.on(pollsInOrder) {
				o.found.Add(checker.NonmonotonicPoll, r.Part, values...)
			}
			return
		}
		if k == 0 && !o.on(fromThePlace) {
			continue
		}
		var skipped []int64
		for at := due; at < m.Offset; at++ {
			if v, ok := known[at]; ok {
				skipped = append(skipped, v)
			}
		}
		if len(skipped) > 0 && o.on(pollsSkip) {
			o.found.Add(checker.PollSkip, r.Part, skipped...)
		}
	}
}

func TestOrderFollowsItsDefinitions(t *testing.T) {
	runs := 12_000
	if testing.Short() {
		runs = 3_000
	}
	r := rand.New(rand.NewPCG(9, 10))
	classes := make(map[checker.Class]int)
	missed := definitions(0)
	for i := range runs {
		h := oracle.Generate(r)
		require.NoError(t, histories.Validate(h))
		res := order.New().Check(t.Context(), h)
		got := oracle.Listed(res)
		if want := judged(h, 0); !maps.Equal(got, want) {
			t.Fatalf("history %d: the checker finds %v, the definitions %v\n%s", i, got, want, oracle.Text(h))
		}
		for _, a := range res.Anomalies {
			classes[a.Class]++
			require.True(t, slices.IsSorted(a.Witnesses))
		}
		for d := sendsInOrder; d < noDefinition; d <<= 1 {
			if missed&d == 0 && !maps.Equal(got, judged(h, d)) {
				missed |= d
			}
		}
	}
	require.Equal(t, noDefinition-1, missed, "a definition that makes no difference: %b", noDefinition-1-missed)
	for _, c := range []checker.Class{checker.NonmonotonicSend, checker.NonmonotonicPoll, checker.PollSkip} {
		require.Greater(t, classes[c], runs/500, "%s is too rare to say anything", c)
	}
}
