package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/report"
)

// checkResult is the object of `assay check --json`.
type checkResult struct {
	Verdict   string                 `json:"verdict"`
	Exit      int                    `json:"exit"`
	Unknown   []string               `json:"unknown"`
	Anomalies []judge.AnomalySummary `json:"anomalies"`
	Ops       histories.OpCounts     `json:"ops"`
	CheckMS   int64                  `json:"check_ms"`
}

func checkResultOf(s *judge.Summary) checkResult {
	return checkResult{s.Verdict, s.Exit, s.Unknown, s.Anomalies, s.Ops, s.CheckMS}
}

func (a *app) checkCommand() *cobra.Command {
	var (
		asJSON  bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "check RUN|FILE",
		Short: "Judge a recorded history again",
		Long: `Judge a recorded history again, by the same checkers and the same contract as the run did.

A history without a manifest has no contract: any anomaly is exit 3. Nothing is written.`,
		Example: `  assay check runs/20260101T120000Z-master-slave-log-42-1234
  assay check history.jsonl --json`,
		Args: exactArgs(1, "one run directory or history file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("check-timeout") && timeout <= 0 {
				return fmt.Errorf("--check-timeout %v: give a time above 0, or leave it out", timeout)
			}
			if err := pathExists(args[0]); err != nil {
				return err
			}
			res, err := a.catalog.Judge(cmd.Context(), args[0], experiment.JudgeOptions{Timeout: timeout})
			if err != nil {
				return err
			}
			s := complete(res.Summary)
			if asJSON {
				for _, w := range res.Warnings {
					fmt.Fprintln(a.stderr, "note: "+w)
				}
				err = a.printJSON(checkResultOf(&s))
			} else {
				err = report.Text(a.stdout, &res.Document, &res.Stats, a.term)
			}
			if err != nil {
				return err
			}
			return exitWith(s.Exit)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	cmd.Flags().DurationVar(&timeout, "check-timeout", 0, "time for judging; what is not decided by then is unknown (default: the run's own, or 30s)")
	return cmd
}
