package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/internal/bench"
)

// benchResult is the object of `assay bench NAME --json`.
type benchResult struct {
	Bench string     `json:"bench"`
	Rows  []benchRow `json:"rows"`
}

// benchRow is one measurement.
type benchRow struct {
	Mode            string  `json:"mode"`
	Flush           string  `json:"flush"`
	InFlight        int     `json:"in_flight"`
	RecordsPerReq   int     `json:"records_per_request"`
	MsgsPerSecond   float64 `json:"msgs_per_s"`
	P50Micros       int64   `json:"p50_us"`
	P99Micros       int64   `json:"p99_us"`
	FloorMsgsPerSec float64 `json:"floor_msgs_per_s"`
	RatioToTheFloor float64 `json:"ratio"`
}

// benchFlags are the flags of `assay bench broker`.
type benchFlags struct {
	json     bool
	flush    []string
	inFlight []int
	time     time.Duration
	size     int
	dir      string
}

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure speed",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("bench needs a name: assay bench broker (see assay bench --help)")
		},
	}
	cmd.AddCommand(a.benchBrokerCommand())
	return cmd
}

func (a *app) benchBrokerCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Measure the reference broker: three nodes on loopback, sync replication with copies=2",
		Long: `Measure the reference broker: three nodes in this process on loopback with real files, replication=sync copies=2, one record in
each request. Beside each row stands the floor of the same minute: a minimal log of one leader and two followers with group commit and a
majority, about what this machine can do at all. Trust the ratio, not the absolute numbers.`,
		Example: `  assay bench broker
  assay bench broker --flush sync --in-flight 1,16 --time 2s --json`,
		Args: exactArgs(0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.benchBroker(cmd.Context(), &f)
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object on standard output")
	cmd.Flags().StringSliceVar(&f.flush, "flush", []string{"sync", "async"}, "values of the option flush")
	cmd.Flags().IntSliceVar(&f.inFlight, "in-flight", []int{1, 16, 256}, "requests at one time")
	cmd.Flags().DurationVar(&f.time, "time", 3*time.Second, "time for each measurement")
	cmd.Flags().IntVar(&f.size, "size", 1024, "bytes of a record")
	cmd.Flags().StringVar(&f.dir, "dir", "", "where the logs are written (default: a temporary directory)")
	return cmd
}

func (f *benchFlags) check() error {
	for _, v := range f.flush {
		if !slices.Contains([]string{"sync", "async", "leader"}, v) {
			return fmt.Errorf("--flush %q: allowed are sync, async, leader", v)
		}
	}
	for _, n := range f.inFlight {
		if n < 1 || n > 4096 {
			return fmt.Errorf("--in-flight %d: allowed are 1 to 4096", n)
		}
	}
	switch {
	case len(f.flush) == 0 || len(f.inFlight) == 0:
		return errors.New("--flush and --in-flight: an empty list measures nothing; leave the flag out for the usual values")
	case f.time < 100*time.Millisecond:
		return fmt.Errorf("--time %v: give at least 100ms", f.time)
	case f.size < 1 || f.size > 512<<10:
		return fmt.Errorf("--size %d: allowed are 1 to %d bytes", f.size, 512<<10)
	}
	return nil
}

func (a *app) benchBroker(ctx context.Context, f *benchFlags) (err error) {
	ctx, stop := a.interruptible(ctx, "stopping")
	defer stop()
	dir, err := os.MkdirTemp(f.dir, "assay-bench-")
	if err != nil {
		return fmt.Errorf("a directory for the logs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	result := benchResult{Bench: "broker"}
	for _, flush := range f.flush {
		for _, n := range f.inFlight {
			row, err := benchBrokerRow(ctx, f, dir, flush, n)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if err != nil {
				return fmt.Errorf("flush=%s, %d in flight: %w", flush, n, err)
			}
			result.Rows = append(result.Rows, row)
		}
	}
	if f.json {
		return a.printJSON(result)
	}
	return a.benchTable(result)
}

func (a *app) benchTable(r benchResult) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "mode\tflush\tin flight\tmsgs/s\tp50\tp99\tfloor msgs/s\tratio\t")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%d us\t%d us\t%.0f\t%.2f\t\n", row.Mode, row.Flush, row.InFlight, row.MsgsPerSecond, row.P50Micros, row.P99Micros,
			row.FloorMsgsPerSec, row.RatioToTheFloor)
	}
	return w.Flush()
}

// benchBrokerRow measures the broker, and then the floor.
func benchBrokerRow(ctx context.Context, f *benchFlags, dir, flush string, inFlight int) (benchRow, error) {
	row := benchRow{Mode: "master-slave", Flush: flush, InFlight: inFlight, RecordsPerReq: 1}
	load := bench.Load{InFlight: inFlight, Time: f.time, Size: f.size}
	name := flush + "-" + strconv.Itoa(inFlight)
	m, err := bench.Broker(ctx, load, dir+"/broker-"+name, flush)
	if err != nil {
		return row, err
	}
	row.MsgsPerSecond, row.P50Micros, row.P99Micros = m.PerSecond, m.P50.Microseconds(), m.P99.Microseconds()
	floor, err := bench.Floor(ctx, load, dir+"/floor-"+name, flush != "async")
	if err != nil {
		return row, err
	}
	row.FloorMsgsPerSec, row.RatioToTheFloor = floor.PerSecond, m.PerSecond/floor.PerSecond
	return row, nil
}
