package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/experiment"
)

// cleanTimeout bounds `assay clean`: a busy engine takes seconds for each container.
const cleanTimeout = 2 * time.Minute

func (a *app) cleanCommand() *cobra.Command {
	var (
		force bool
		env   string
	)
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what an interrupted run left behind",
		Long: `Remove what runs left behind whose process is gone: containers, networks, volumes, the directories of local nodes and, when no run is going on, the
nodes' images of other versions: the newest image stays, for the next run. What belongs to a run that is still going on, and everything that
assay did not make (by label), stays. The store of runs is not touched.`,
		Args: exactArgs(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), cleanTimeout)
			defer cancel()
			return a.clean(ctx, env, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also remove what belongs to runs that are going on")
	cmd.Flags().StringVar(&env, "env", "", "only what this environment leaves, e.g. local on a machine without Docker")
	return cmd
}

// clean goes through the environments. One that cannot be looked at does not keep the others from
// being cleaned.
func (a *app) clean(ctx context.Context, only string, force bool) error {
	if err := a.knownEnvironment(only); err != nil {
		return err
	}
	var errs []error
	found := 0
	for _, env := range a.catalog.Environments {
		if env.Clean == nil || only != "" && env.Name != only {
			continue
		}
		all, err := env.Clean(ctx, experiment.CleanOptions{Force: force})
		errs = append(errs, err)
		found += len(all)
		for _, l := range all {
			if l.Kept {
				fmt.Fprintln(a.stdout, "kept", l.Name, "(its run is going on, or was started elsewhere)")
			} else {
				fmt.Fprintln(a.stdout, "removed", l.Kind, l.Name)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if found == 0 {
		fmt.Fprintln(a.stdout, "nothing to remove")
	}
	return nil
}
