package delivery_test

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker"
	"github.com/assay-project/assay/checker/delivery"
	"github.com/assay-project/assay/checker/internal/oracle"
	"github.com/assay-project/assay/histories"
)

// definitions are the sentences of docs/anomalies.md that the oracle below leaves out, to see that the checker follows each.
type definitions uint

const (
	lostWrites    definitions = 1 << iota // an ok message that the truth does not hold is lost ...
	unseenOnes                            // ... or unseen if its leader's log holds it
	onlyOK                                // a weak or open message is neither
	afterwards                            // the truth says nothing of a send that ended after it began
	duplicates                            // a message at two places
	leadersLog                            // where a message is, the leader's scan says too ...
	noOtherLog                            // ... and no other scan
	phantoms                              // what was never sent there
	notTwice                              // unless it is also where it belongs, and so a duplicate
	everyLog                              // phantoms and refused messages may be in no log at all
	refusedOnes                           // what was refused, and is read
	twoAtOne                              // two messages at one offset
	weakMayYield                          // of which a weak acknowledgement is none
	elsewhere                             // acknowledged here and read there only
	weakElsewhere                         // be it weakly
	noDefinition
)

// judged is the checker's findings by the definitions alone, without those in without.
func judged(h histories.History, without definitions) oracle.Found {
	o := &judging{f: oracle.Of(h), without: without, found: make(oracle.Found)}
	for i := range o.f.Sends {
		s := &o.f.Sends[i]
		o.fate(s)
		o.places(s)
	}
	for _, r := range o.f.Reads {
		o.strays(r)
	}
	for part := range int32(2) {
		o.conflicts(part)
	}
	return o.found
}

type judging struct {
	f       *oracle.Facts
	without definitions
	found   oracle.Found
}

func (o *judging) on(d definitions) bool { return o.without&d == 0 }

func (o *judging) fate(s *oracle.Sent) {
	if s.Type != histories.OK && (o.on(onlyOK) || s.Type == histories.Fail) {
		return
	}
	gone := *s
	if !o.on(afterwards) {
		gone.Done = -1
	}
	if !o.f.Lost(&gone) {
		return
	}
	log := o.f.Log(s.Part, o.f.Leader(s.Part))
	switch held := log.Has(s.Value) && o.on(unseenOnes); {
	case held:
		o.found.Add(checker.Unseen, s.Part, s.Value)
	case o.on(lostWrites):
		o.found.Add(checker.LostWrite, s.Part, s.Value)
	}
}

// sightings returns the places where a value was read, as far as reads say where a message is.
func (o *judging) sightings(value int64) map[[2]int64]bool {
	at := make(map[[2]int64]bool)
	for _, r := range o.f.Reads {
		leads := r.Node == o.f.Leader(r.Part) && o.on(leadersLog)
		if r.F == histories.Scan && !leads && o.on(noOtherLog) {
			continue
		}
		for _, m := range r.Msgs {
			if m.Value == value {
				at[[2]int64{int64(r.Part), m.Offset}] = true
			}
		}
	}
	return at
}

func (o *judging) places(s *oracle.Sent) {
	at := o.sightings(s.Value)
	if len(at) > 1 && o.on(duplicates) {
		o.found.Add(checker.Duplicate, s.Part, s.Value)
	}
	acked := s.Offset != histories.Unset && (s.Type == histories.OK || o.on(weakElsewhere))
	if acked && len(at) > 0 && !at[[2]int64{int64(s.Part), s.Offset}] && o.on(elsewhere) {
		o.found.Add(checker.InconsistentOffsets, s.Part, s.Value)
	}
}

// strays finds what should not be in r.
func (o *judging) strays(r oracle.Read) {
	if r.F == histories.Scan && !o.on(everyLog) && r.Node != o.f.Leader(r.Part) {
		return
	}
	for _, m := range r.Msgs {
		var s *oracle.Sent // wherever it was sent to
		for part := range int32(2) {
			if to := o.f.Sent(part, m.Value); to != nil {
				s = to
			}
		}
		if s != nil && s.Type == histories.Fail && o.on(refusedOnes) {
			o.found.Add(checker.AbortedRead, -1, m.Value)
		}
		if s != nil && (s.Part == r.Part || o.on(notTwice) && len(o.sightings(m.Value)) > 1) {
			continue
		}
		if o.on(phantoms) {
			o.found.Add(checker.Phantom, r.Part, m.Value)
		}
	}
}

// conflicts finds the offsets of a partition at which there are two messages: each but the first that is heard of, with the first.
func (o *judging) conflicts(part int32) {
	first := make(map[int64]int64)
	put := func(offset, value int64) {
		if was, ok := first[offset]; !ok {
			first[offset] = value
		} else if was != value && o.on(twoAtOne) {
			o.found.Add(checker.InconsistentOffsets, part, was, value)
		}
	}
	for _, s := range o.f.Sends {
		if s.Part == part && s.Offset != histories.Unset && (s.Type == histories.OK || !o.on(weakMayYield)) {
			put(s.Offset, s.Value)
		}
	}
	for _, r := range o.f.Reads {
		if r.Part == part && r.F != histories.Scan {
			for _, m := range r.Msgs {
				put(m.Offset, m.Value)
			}
		}
	}
}

// found is what the checker says. Where a refused message was read first is not compared.
func found(t testing.TB, h histories.History) oracle.Found {
	res := delivery.New().Check(t.Context(), h)
	for i := range res.Anomalies {
		if a := &res.Anomalies[i]; a.Class == checker.AbortedRead {
			a.Part = -1
		}
	}
	return oracle.Listed(res)
}

func TestDeliveryFollowsItsDefinitions(t *testing.T) {
	runs := 12_000
	if testing.Short() {
		runs = 3_000
	}
	r := rand.New(rand.NewPCG(7, 8))
	classes := make(map[checker.Class]int)
	missed := definitions(0)
	for i := range runs {
		h := oracle.Generate(r)
		require.NoError(t, histories.Validate(h))
		got := found(t, h)
		if want := judged(h, 0); !maps.Equal(got, want) {
			t.Fatalf("history %d: the checker finds %v, the definitions %v\n%s", i, got, want, oracle.Text(h))
		}
		for _, a := range delivery.New().Check(t.Context(), h).Anomalies {
			classes[a.Class]++
		}
		for d := lostWrites; d < noDefinition; d <<= 1 {
			if missed&d == 0 && !maps.Equal(got, judged(h, d)) {
				missed |= d
			}
		}
	}
	require.Equal(t, noDefinition-1, missed, "a definition that makes no difference: %b", noDefinition-1-missed)
	for _, c := range []checker.Class{checker.LostWrite, checker.Duplicate, checker.Phantom, checker.AbortedRead, checker.InconsistentOffsets} {
		require.Greater(t, classes[c], runs/500, "%s is too rare to say anything", c)
	}
}
