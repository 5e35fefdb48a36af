package nemesis_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/nemesis"
)

var instants = []string{"kill", "kill:leader", "power:follower", "wipe:leader", "restart:all", "promote", "corrupt"}

var lasting = []string{"pause", "partition", "partition:leader/alone", "slow:follower", "loss", "fsync", "full"}

func drawConfig(t *rapid.T) nemesis.PlanConfig {
	faults := rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(instants), lasting...)), 1, 6, rapid.ID[string]).Draw(t, "faults")
	interval := time.Duration(rapid.IntRange(1000, 20_000).Draw(t, "interval")) * time.Millisecond
	return nemesis.PlanConfig{
		Seed:     rapid.Uint64().Draw(t, "seed"),
		Faults:   faults,
		Time:     interval*time.Duration(rapid.IntRange(0, 12).Draw(t, "intervals")) + time.Duration(rapid.IntRange(0, 5000).Draw(t, "more"))*time.Millisecond,
		Interval: interval,
	}
}

func TestPlanProperties(t *testing.T) {
	drawn := 0
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		plan, err := stock(t).MakePlan(cfg)
		if err != nil {
			return
		}
		drawn++
		again, err := stock(t).MakePlan(cfg)
		require.NoError(t, err)
		require.Equal(t, plan, again, "equal configurations give equal plans")
		require.NoError(t, stock(t).Check(plan, cfg.Time))

		for _, f := range cfg.Faults {
			require.True(t, slices.ContainsFunc(plan.Strikes, func(s harness.Strike) bool { return s.Fault == f }), "%s strikes at least once", f)
		}
		var windows, points []harness.Strike
		for _, s := range plan.Strikes {
			require.LessOrEqual(t, s.At+s.For, cfg.Time-500*time.Millisecond, "healed before the load ends")
			if slices.Contains(lasting, s.Fault) {
				windows = append(windows, s)
				require.GreaterOrEqual(t, s.For, 2*time.Second)
				require.LessOrEqual(t, s.For, 10*time.Second)
			} else {
				points = append(points, s)
				require.GreaterOrEqual(t, s.For, time.Second)
				require.LessOrEqual(t, s.For, 3*time.Second)
			}
		}
		for i := 1; i < len(windows); i++ {
			require.GreaterOrEqual(t, windows[i].At, windows[i-1].At+windows[i-1].For, "lasting faults do not overlap")
		}
		for _, p := range points {
			in := func(w harness.Strike) bool { return w.At <= p.At && p.At <= w.At+w.For }
			require.True(t, len(windows) == 0 || slices.ContainsFunc(windows, in), "instants strike while a lasting fault is on")
		}
	})
	require.Positive(t, drawn, "some configurations must have a plan, or nothing was tested")
}

// With the time that the error asks for, the plan exists.
func TestPlanSaysHowMuchTimeWouldDo(t *testing.T) {
	cfg := nemesis.PlanConfig{Seed: 1, Faults: []string{"kill", "partition", "pause", "slow"}, Time: 20 * time.Second, Interval: 10 * time.Second}
	_, err := stock(t).MakePlan(cfg)
	require.ErrorContains(t, err, "--time 20s is too short")
	text := err.Error()
	text = strings.TrimSuffix(text[strings.Index(text, "at least ")+len("at least "):], " are needed")
	cfg.Time, err = time.ParseDuration(text)
	require.NoError(t, err)
	_, err = stock(t).MakePlan(cfg)
	require.NoError(t, err)
	cfg.Time -= 10 * time.Millisecond
	_, err = stock(t).MakePlan(cfg)
	require.Error(t, err)
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		cfg  nemesis.PlanConfig
		says string
	}{
		{nemesis.PlanConfig{Faults: []string{"boom"}, Time: time.Minute, Interval: 10 * time.Second}, "unknown fault"},
		{nemesis.PlanConfig{Faults: []string{"pause"}, Time: time.Minute, Interval: 2 * time.Second}, "--interval 2s is too short"},
		{nemesis.PlanConfig{Faults: []string{"kill"}, Time: time.Minute, Interval: 0}, "--interval 0s is too short"},
		{nemesis.PlanConfig{Faults: []string{"kill"}, Time: -time.Minute, Interval: 10 * time.Second}, "too short"},
	} {
		_, err := stock(t).MakePlan(c.cfg)
		require.ErrorContains(t, err, c.says)
	}
	plan, err := stock(t).MakePlan(nemesis.PlanConfig{Seed: 3})
	require.NoError(t, err)
	require.Empty(t, plan.Strikes)
}

// The faults of the acceptance tests fit into the default time.
func TestDefaultTimeIsEnough(t *testing.T) {
	for _, list := range []string{"slow:follower,wipe:leader,promote", "kill,partition,pause", "power:leader"} {
		specs, err := stock(t).ParseList(list)
		require.NoError(t, err)
		for seed := range uint64(20) {
			plan, err := stock(t).MakePlan(nemesis.PlanConfig{Seed: seed, Faults: specs, Time: time.Minute, Interval: 10 * time.Second})
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(plan.Strikes), 6)
		}
	}
}

func TestReadPlan(t *testing.T) {
	plan, err := stock(t).MakePlan(nemesis.PlanConfig{Seed: 7, Faults: []string{"slow", "kill"}, Time: time.Minute, Interval: 10 * time.Second})
	require.NoError(t, err)
	text, err := json.Marshal(plan)
	require.NoError(t, err)
	got, err := stock(t).ReadPlan(bytes.NewReader(text), time.Minute)
	require.NoError(t, err)
	require.Equal(t, plan, got)

	for text, says := range map[string]string{
		`{"seed":1,"strikes":[`:      "EOF",
		`{"seed":1,"strikes":[]} {}`: "after its end",
		`{"strike":[]}`:              "unknown field",
		``:                           "a plan is",
		`{}`:                         "no strikes",
		`null`:                       "no strikes",
		`{"seed":1,"strikes":null}`:  "no strikes",
		`{"strikes":[{"id":1,"fault":"boom","at_ns":1,"for_ns":1}]}`:                                                    "unknown fault",
		`{"strikes":[{"id":1,"fault":"kill","at_ns":-1,"for_ns":1}]}`:                                                   "from the start of the load",
		`{"strikes":[{"id":1,"fault":"kill","at_ns":1,"for_ns":0}]}`:                                                    "for is positive",
		`{"strikes":[{"id":1,"fault":"kill","at_ns":59000000000,"for_ns":2000000000}]}`:                                 "after the load",
		`{"strikes":[{"id":1,"fault":"kill","at_ns":9223372036854775807,"for_ns":9223372036854775807}]}`:                "from the start",
		`{"strikes":[{"id":1,"fault":"kill","at_ns":1,"for_ns":1000},{"id":1,"fault":"kill","at_ns":1,"for_ns":1000}]}`: "two strikes",
	} {
		_, err := stock(t).ReadPlan(strings.NewReader(text), time.Minute)
		require.ErrorIs(t, err, nemesis.ErrPlan)
		require.ErrorContains(t, err, says)
	}
	_, err = stock(t).ReadPlan(strings.NewReader(`{"seed":1,"strikes":[]}`), time.Minute)
	require.NoError(t, err, "the plan of a run without faults")
}

func FuzzReadPlan(f *testing.F) {
	f.Add([]byte(`{"seed":1,"strikes":[{"id":1,"fault":"kill","at_ns":1,"for_ns":1000,"pick":3}]}`))
	// Whatever is accepted can be carried out: it passes Check, and has a nemesis.
	f.Fuzz(func(t *testing.T, text []byte) {
		plan, err := stock(t).ReadPlan(bytes.NewReader(text), time.Minute)
		if err != nil {
			return
		}
		require.NoError(t, stock(t).Check(plan, time.Minute))
		_, err = stock(t).New(plan)
		require.NoError(t, err)
	})
}
