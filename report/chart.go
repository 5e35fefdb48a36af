package report

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// The charts are drawn in a box of chartW by chartH units that the page stretches to its width, so
// that one drawing is readable at every width: text is HTML beside the drawing, never in it, and
// strokes do not scale.
const (
	chartW = 1000
	chartH = 200
)

// classes are the classes of completions in the order in which they are stacked, the good one at
// the bottom.
var classes = [...]histories.Type{histories.OK, histories.Weak, histories.Info, histories.Fail}

// tick is a label on an axis, with its place in percent from the left or the bottom.
type tick struct {
	At    float64
	Label string
}

// layer is one path of a chart.
type layer struct {
	Class string // of the page's style sheet
	Path  string
}

// chart is one drawing over time.
type chart struct {
	Layers []layer
	YTicks []tick
}

// timeTicks divides the run into at most eight round steps.
func timeTicks(end time.Duration) []tick {
	step := time.Second
	for _, s := range []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400} {
		if step = time.Duration(s) * time.Second; end/step <= 8 {
			break
		}
	}
	var ticks []tick
	for t := time.Duration(0); t <= end && len(ticks) < 40; t += step {
		ticks = append(ticks, tick{At: percent(t, end), Label: fmt.Sprintf("%d s", int(t.Seconds()))})
	}
	return ticks
}

func percent(t, end time.Duration) float64 {
	if end <= 0 {
		return 0
	}
	return math.Round(100*100*float64(t)/float64(end)) / 100
}

// latencyChart draws every send and poll as a point, by class, and the quantiles of each second as
// lines; the scale is logarithmic.
func latencyChart(h histories.Reader, st *Stats) chart {
	lo, hi := decades(h)
	y := func(d time.Duration) int {
		at := (math.Log10(float64(max(d, lo))) - math.Log10(float64(lo))) / (math.Log10(float64(hi)) - math.Log10(float64(lo)))
		return int(math.Round(chartH * (1 - min(at, 1))))
	}
	c := chart{}
	points := scatter(h, st.End, y)
	for _, t := range classes {
		if points[t] != nil && points[t].Len() > 0 {
			c.Layers = append(c.Layers, layer{Class: "dot " + t.String(), Path: points[t].String()})
		}
	}
	c.Layers = append(c.Layers,
		layer{Class: "line p50", Path: quantileLine(st, y, func(s *Second) time.Duration { return s.P50 })},
		layer{Class: "line p99", Path: quantileLine(st, y, func(s *Second) time.Duration { return s.P99 })})
	for d := lo; d <= hi; d *= 10 {
		c.YTicks = append(c.YTicks, tick{At: 100 - 100*float64(y(d))/chartH, Label: decade(d)})
	}
	return c
}

// decade writes a power of ten.
func decade(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

// decades returns the powers of ten that enclose the latencies, at least two decades apart.
func decades(h histories.Reader) (lo, hi time.Duration) {
	least, most := time.Hour, time.Duration(0)
	load := loadOf(h)
	for inv, done := range histories.Pairs(h) {
		if done != nil && load(inv) {
			d := max(time.Duration(done.Time-inv.Time), 10*time.Microsecond)
			least, most = min(least, d), max(most, d)
		}
	}
	for lo = 10 * time.Microsecond; lo*10 <= least; lo *= 10 {
		continue
	}
	for hi = lo * 100; hi < most; hi *= 10 {
		continue
	}
	return lo, hi
}

// scatter writes a dot for each completion of the load. Two completions of one class at one place
// are one dot, which bounds the drawing whatever the length of the history.
func scatter(h histories.Reader, end time.Duration, y func(time.Duration) int) map[histories.Type]*strings.Builder {
	type place struct {
		x, y int
		t    histories.Type
	}
	seen := make(map[place]bool)
	out := make(map[histories.Type]*strings.Builder)
	load := loadOf(h)
	for inv, done := range histories.Pairs(h) {
		if done == nil || !load(inv) || end <= 0 {
			continue
		}
		at := place{x: int(chartW * done.Time / int64(end)), y: y(time.Duration(done.Time - inv.Time)), t: done.Type}
		if seen[at] {
			continue
		}
		seen[at] = true
		if out[at.t] == nil {
			out[at.t] = &strings.Builder{}
		}
		fmt.Fprintf(out[at.t], "M%d %dh0", at.x, at.y)
	}
	return out
}

// quantileLine joins the seconds that have a value; a second without one breaks the line.
func quantileLine(st *Stats, y func(time.Duration) int, of func(*Second) time.Duration) string {
	var b strings.Builder
	draw := "M"
	for i := range st.Seconds {
		d := of(&st.Seconds[i])
		if d == 0 {
			draw = "M"
			continue
		}
		mid := time.Duration(i)*time.Second + time.Second/2
		fmt.Fprintf(&b, "%s%.1f %d", draw, chartW*min(float64(mid)/float64(st.End), 1), y(d))
		draw = "L"
	}
	return b.String()
}

// throughputChart stacks the completions of each second by class.
func throughputChart(st *Stats) chart {
	top := int64(1)
	for i := range st.Seconds {
		o := st.Seconds[i].Ops
		top = max(top, o.OK+o.Weak+o.Info+o.Fail)
	}
	step := niceStep(top)
	top = (top + step - 1) / step * step
	c := chart{}
	base := make([]int64, len(st.Seconds))
	for _, t := range classes {
		var b strings.Builder
		for i := range st.Seconds {
			n := classCount(&st.Seconds[i].Ops, t)
			if n == 0 {
				continue
			}
			x0 := chartW * float64(time.Duration(i)*time.Second) / float64(st.End)
			x1 := chartW * min(float64(time.Duration(i+1)*time.Second)/float64(st.End), 1)
			y0, y1 := barHeight(base[i], top), barHeight(base[i]+n, top)
			fmt.Fprintf(&b, "M%.1f %.1fH%.1fV%.1fH%.1fz", x0, y0, x1, y1, x0)
			base[i] += n
		}
		if b.Len() > 0 {
			c.Layers = append(c.Layers, layer{Class: "bar " + t.String(), Path: b.String()})
		}
	}
	for n := int64(0); n <= top; n += step {
		c.YTicks = append(c.YTicks, tick{At: 100 * float64(n) / float64(top), Label: group(n)})
	}
	return c
}

func barHeight(n, top int64) float64 { return chartH * (1 - float64(n)/float64(top)) }

func classCount(o *histories.OpCounts, t histories.Type) int64 {
	switch t {
	case histories.OK:
		return o.OK
	case histories.Weak:
		return o.Weak
	case histories.Fail:
		return o.Fail
	}
	return o.Info
}

// niceStep returns 1, 2 or 5 times a power of ten, so that top has at most five steps.
func niceStep(top int64) int64 {
	for p := int64(1); ; p *= 10 {
		for _, f := range []int64{1, 2, 5} {
			if top/(p*f) < 5 {
				return p * f
			}
		}
	}
}

// labelWidth is the room that the label of a fault takes, in percent of the width.
const labelWidth = 7

// band is a fault on the time axis.
type band struct {
	From, Width float64 // percent
	Label       string
	Title       string
	Hue         int // 0 to 5, by the fault's name
	Instant     bool
	Late        bool // near the end of the axis, so the label ends where the band does
}

// healedAt is when a fault was over, in ms: one that never was lasts to the end, and an instant
// ends as it begins.
func healedAt(f *judge.FaultRecord, end time.Duration) int64 {
	if f.HealedMS < 0 {
		return max(end.Milliseconds(), f.AtMS)
	}
	return max(f.HealedMS, f.AtMS)
}

// faultLanes places the faults so that none covers another: each lane holds faults that do not
// overlap.
func faultLanes(faults []judge.FaultRecord, end time.Duration) [][]band {
	order := make([]int, len(faults))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return faults[order[a]].AtMS < faults[order[b]].AtMS })
	hues := map[string]int{}
	var lanes [][]band
	for _, i := range order {
		f := &faults[i]
		if _, ok := hues[f.Name]; !ok {
			hues[f.Name] = len(hues) % 6
		}
		healed := healedAt(f, end)
		b := band{From: percent(ms(f.AtMS), end), Label: f.Name, Hue: hues[f.Name], Instant: healed == f.AtMS}
		b.Width = max(percent(ms(healed), end)-b.From, 0.15)
		b.Title = fmt.Sprintf("%s %s on %s, %s to %s: %s", f.Name, f.Target, nodeList(f.Nodes), seconds(ms(f.AtMS)), seconds(ms(healed)), effectText(f))
		if len(f.Nodes) > 0 {
			b.Label += " " + nodeList(f.Nodes)
		}
		b.Late = b.From > 100-labelWidth
		lanes = place(lanes, b)
	}
	return lanes
}

// place puts b into the first lane that is free where it begins. A label needs room.
func place(lanes [][]band, b band) [][]band {
	for i := range lanes {
		last := lanes[i][len(lanes[i])-1]
		if last.From+max(last.Width, labelWidth) <= b.From {
			lanes[i] = append(lanes[i], b)
			return lanes
		}
	}
	return append(lanes, []band{b})
}
