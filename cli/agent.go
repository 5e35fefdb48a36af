package cli

import (
	"github.com/spf13/cobra"

	"github.com/assay-project/assay/internal/agent"
)

// agentCommand is what the docker environment runs inside a container; people have no use for it.
func (a *app) agentCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "agent",
		Short:              "Program the network of the container that it runs in",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return exitWith(agent.Main(args, a.stdin, a.stdout, a.stderr))
		},
	}
}
