package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/harness/cluster/docker"
)

// cleanTimeout bounds `assay clean`: a busy engine takes seconds for each container.
const cleanTimeout = 2 * time.Minute

func (a *app) cleanCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what an interrupted run left behind",
		Long: `Remove the containers, networks and volumes of runs whose process is gone and, when no run is going on, the nodes' images of
other versions: the newest image stays, for the next run. What belongs to a run that is still going on, and everything that
assay did not make (by label), stays. The store of runs is not touched.`,
		Args: exactArgs(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), cleanTimeout)
			defer cancel()
			r, err := docker.Clean(ctx, force)
			for _, kind := range []struct {
				name string
				all  []string
			}{{"container", r.Containers}, {"volume", r.Volumes}, {"network", r.Networks}, {"image", r.Images}} {
				for _, name := range kind.all {
					fmt.Fprintln(a.stdout, "removed", kind.name, name)
				}
			}
			for _, name := range r.Kept {
				fmt.Fprintln(a.stdout, "kept", name, "(its run is going on, or was started elsewhere)")
			}
			if err != nil {
				return err
			}
			if r.Empty() && len(r.Kept) == 0 {
				fmt.Fprintln(a.stdout, "nothing to remove")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also remove what belongs to runs that are going on")
	return cmd
}
