package nemesis

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/assay-project/assay/harness"
)

// Durations of plans.
const (
	lastingMin = 2 * time.Second // a lasting fault
	lastingMax = 10 * time.Second
	downMin    = time.Second // what an instant leaves behind: a node that is down
	downMax    = 3 * time.Second
	tail       = 500 * time.Millisecond // of load after the last heal
)

// PlanConfig is what a plan is drawn from.
type PlanConfig struct {
	Seed     uint64
	Faults   []string      // in the spelling of the command line
	Time     time.Duration // of the load
	Interval time.Duration // between the beginnings of faults
}

// MakePlan draws a plan; equal configurations give equal plans. It draws one fault for every
// interval. The first interval begins after a quarter of one.
//
//   - With lasting faults alone or instants alone, one of them strikes in each interval.
//   - With both, a lasting one strikes in each interval, and an instant strikes while it is on.
//   - A lasting fault goes on for 2 to 10 s, and ends within its interval. What an instant leaves
//     behind is repaired after 1 to 3 s.
//   - Every fault strikes at least once; it is an error when Time is too short for that. Everything
//     is healed before the load ends.
func (s *Set) MakePlan(cfg PlanConfig) (harness.Plan, error) {
	plan := harness.Plan{Seed: cfg.Seed, Strikes: []harness.Strike{}}
	if len(cfg.Faults) == 0 {
		return plan, nil
	}
	lasting, instants, err := s.byKind(cfg.Faults)
	if err != nil {
		return plan, err
	}
	least := downMin
	if len(lasting) > 0 {
		least = lastingMin
	}
	if span(cfg.Interval) < least {
		return plan, fmt.Errorf("--interval %v is too short for these faults: they last at least %v, and leave a fifth of the interval free; %v would do",
			cfg.Interval, least, least*5/4)
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x6e656d65736973))
	n := slots(cfg, least)
	if need := max(len(lasting), len(instants)); n < need {
		return plan, fmt.Errorf("--time %v is too short for every one of %d faults to strike at --interval %v: at least %v are needed",
			cfg.Time, len(lasting)+len(instants), cfg.Interval, (slotStart(cfg, need-1) + jitter(cfg) + least + tail).Round(time.Millisecond))
	}
	last, inst := deal(rng, lasting, n), deal(rng, instants, n)
	for i := range n {
		begin := slotStart(cfg, i) + time.Duration(rng.Int64N(int64(jitter(cfg))+1))
		room := min(span(cfg.Interval), cfg.Time-tail-begin)
		if len(last) == 0 {
			add(&plan, rng, inst[i], begin, between(rng, downMin, min(downMax, room)))
			continue
		}
		lasts := between(rng, lastingMin, min(lastingMax, room))
		add(&plan, rng, last[i], begin, lasts)
		if len(inst) > 0 {
			in := time.Duration(rng.Int64N(int64(min(lasts, room-downMin)) + 1))
			add(&plan, rng, inst[i], begin+in, between(rng, downMin, min(downMax, cfg.Time-tail-begin-in)))
		}
	}
	return plan, nil
}

// byKind parses faults and sorts them by kind.
func (s *Set) byKind(faults []string) (lasting, instants []string, err error) {
	for _, text := range distinct(faults) {
		spec, err := s.Parse(text)
		if err != nil {
			return nil, nil, err
		}
		k, err := s.kind(spec.Name)
		if err != nil {
			return nil, nil, err
		}
		if k.Kind == Lasting {
			lasting = append(lasting, text)
		} else {
			instants = append(instants, text)
		}
	}
	return lasting, instants, nil
}

// span is how much of an interval a fault may take, so that there is some time without.
func span(interval time.Duration) time.Duration { return interval * 4 / 5 }

func jitter(cfg PlanConfig) time.Duration { return cfg.Interval / 10 }

func slotStart(cfg PlanConfig, i int) time.Duration {
	return cfg.Interval/4 + time.Duration(i)*cfg.Interval
}

// slots returns the number of intervals in which a fault of at least `least` ends before the load.
func slots(cfg PlanConfig, least time.Duration) int {
	n := 0
	for slotStart(cfg, n)+jitter(cfg)+least+tail <= cfg.Time {
		n++
	}
	return n
}

// deal returns n of the faults: each at least once if n allows, the rest at random. It returns
// nothing if there are none.
func deal(rng *rand.Rand, faults []string, n int) []string {
	if len(faults) == 0 {
		return nil
	}
	all := slices.Clone(faults)
	for len(all) < n {
		all = append(all, faults[rng.IntN(len(faults))])
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// between draws a duration in [from, to], in whole milliseconds.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(rng.Int64N(int64(to-from)+1)).Truncate(time.Millisecond)
}

func add(p *harness.Plan, rng *rand.Rand, fault string, at, lasts time.Duration) {
	p.Strikes = append(p.Strikes, harness.Strike{
		ID: len(p.Strikes) + 1, Fault: fault, At: at.Truncate(time.Millisecond), For: lasts, Pick: rng.Uint64(),
	})
}

// FaultsOf returns the faults of a plan, each once, in the order of their first strike.
func FaultsOf(p harness.Plan) []string {
	var all []string
	for _, s := range p.Strikes {
		all = append(all, s.Fault)
	}
	return distinct(all)
}

// ErrPlan is wrapped by errors about a plan that cannot be carried out.
var ErrPlan = errors.New("this plan cannot be carried out")

// Check says why a plan cannot be carried out during a load of that time; nil when it can. Unlike
// MakePlan it lets lasting faults overlap: whoever writes a plan may want that.
func (s *Set) Check(p harness.Plan, load time.Duration) error {
	ids := make(map[int]bool)
	for _, at := range p.Strikes {
		_, err := s.Parse(at.Fault)
		switch {
		case err != nil:
			return fmt.Errorf("%w: strike %d: %w", ErrPlan, at.ID, err)
		case ids[at.ID]:
			return fmt.Errorf("%w: two strikes have the id %d", ErrPlan, at.ID)
		case at.At < 0 || at.For <= 0 || at.At > load || at.For > load:
			return fmt.Errorf("%w: strike %d (%s) at %v for %v: both are from the start of the load, and for is positive", ErrPlan, at.ID, at.Fault, at.At, at.For)
		case at.At+at.For > load:
			return fmt.Errorf("%w: strike %d (%s) would be healed at %v, after the load of %v: give it less time, or the load more", ErrPlan, at.ID, at.Fault, at.At+at.For, load)
		}
		ids[at.ID] = true
	}
	return nil
}

// ReadPlan reads a plan as it is kept in a manifest ("plan") and checks it.
func (s *Set) ReadPlan(r io.Reader, load time.Duration) (harness.Plan, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var p harness.Plan
	if err := d.Decode(&p); err != nil {
		return harness.Plan{}, fmt.Errorf(`%w: a plan is {"seed": 7, "strikes": [...]}: %w`, ErrPlan, err)
	}
	if p.Strikes == nil { // a run without faults has an empty list in its manifest
		return harness.Plan{}, fmt.Errorf("%w: it has no strikes", ErrPlan)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return harness.Plan{}, fmt.Errorf("%w: there is something after its end", ErrPlan)
	}
	if err := s.Check(p, load); err != nil {
		return harness.Plan{}, err
	}
	slices.SortStableFunc(p.Strikes, func(a, b harness.Strike) int { return int(min(max(a.At-b.At, -1), 1)) })
	return p, nil
}
