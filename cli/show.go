package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/report"
)

func (a *app) showCommand() *cobra.Command {
	var (
		message int64
		anomaly int
	)
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "Show the life of one message, or one anomaly with its witnesses",
		Example: `  assay show runs/NAME --message 4711    every op that touched message 4711, the faults between, and what became of it
  assay show runs/NAME --anomaly 1       the first anomaly and its witnesses in full`,
		Args: exactArgs(1, "one run directory or history file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			byMessage, byAnomaly := cmd.Flags().Changed("message"), cmd.Flags().Changed("anomaly")
			if byMessage == byAnomaly {
				return errors.New("show needs either --message VALUE or --anomaly N (see assay show --help)")
			}
			if err := pathExists(args[0]); err != nil {
				return err
			}
			if byAnomaly {
				return a.showAnomaly(cmd.Context(), args[0], anomaly)
			}
			h, err := experiment.ReadHistory(args[0])
			if err != nil {
				return err
			}
			life, err := report.Life(h, message)
			if err != nil {
				return err
			}
			return life.Text(a.stdout, a.term)
		},
	}
	cmd.Flags().Int64Var(&message, "message", 0, "the value of a message")
	cmd.Flags().IntVar(&anomaly, "anomaly", 0, "the number of an anomaly, from 1, as in the report")
	return cmd
}

// showAnomaly takes the verdict that the run has, and judges it anew where it has none.
func (a *app) showAnomaly(ctx context.Context, path string, n int) error {
	d, err := a.catalog.ReadVerdict(ctx, path)
	if err != nil {
		return err
	}
	h, err := experiment.ReadHistory(path)
	if err != nil {
		return err
	}
	return report.AnomalyText(a.stdout, d, h, n, a.term)
}
