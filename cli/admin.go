package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-project/assay/broker/replication/masterslave"
)

// promoteTimeout bounds a promote: it may start over several times, and each node is given some
// seconds.
const promoteTimeout = time.Minute

func (a *app) adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "What an operator does to a running cluster",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("admin needs a command: assay admin promote (see assay admin --help)")
		},
	}
	cmd.AddCommand(a.promoteCommand())
	return cmd
}

// promoteFlags are the flags of `assay admin promote`.
type promoteFlags struct {
	config string
	group  int32
	node   int32
	force  bool
}

func (a *app) promoteCommand() *cobra.Command {
	var f promoteFlags
	cmd := &cobra.Command{
		Use:   "promote",
		Short: "Make a node the leader of its group (master-slave)",
		Long: `Give a group a new epoch, and make the reachable node with the most history its leader, or the one named.

A promote is safe when enough nodes answered that every acknowledged message is known to be in the new leader's log.
One that is not needs --force, and may lose acknowledged messages for good.`,
		Example: `  assay admin promote --config n1.yaml --group 0
  assay admin promote --config n1.yaml --group 0 --node 2 --force`,
		Args: exactArgs(0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.config == "" {
				return errors.New("promote needs --config FILE: the configuration of any node of the cluster")
			}
			if f.group < 0 || f.node < 0 || (f.node == 0 && cmd.Flags().Changed("node")) {
				return fmt.Errorf("--group %d --node %d: groups count from 0, nodes from 1", f.group, f.node)
			}
			return a.promote(cmd.Context(), &f)
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "the configuration file of any node of the cluster")
	cmd.Flags().Int32Var(&f.group, "group", 0, "the group, from 0")
	cmd.Flags().Int32Var(&f.node, "node", 0, "the node that is to lead (default: the one with the most history)")
	cmd.Flags().BoolVar(&f.force, "force", false, "go on when acknowledged messages may be lost")
	return cmd
}

func (a *app) promote(ctx context.Context, f *promoteFlags) error {
	cfg, err := readConfig(f.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, promoteTimeout)
	defer cancel()
	var dialer net.Dialer
	res, err := masterslave.Promote(ctx, masterslave.PromoteRequest{Group: f.group, Node: f.node, Force: f.force}, cfg.Members(), dialer.DialContext)
	for _, n := range res.Answers {
		switch {
		case n.Error != "":
			fmt.Fprintf(a.stdout, "node %d: %s\n", n.Node, n.Error)
		case n.Counted:
			fmt.Fprintf(a.stdout, "node %d: log end %d, epoch of the last frame %d\n", n.Node, n.Position, n.Epoch)
		default:
			fmt.Fprintf(a.stdout, "node %d: log end %d, epoch of the last frame %d, does not count (joining or failed)\n", n.Node, n.Position, n.Epoch)
		}
	}
	if errors.Is(err, masterslave.ErrUnsafe) {
		return fmt.Errorf("%w; bring missing nodes back, and let the one that is to lead catch up, or give --force and lose what only others hold", err)
	}
	if err != nil {
		return err
	}
	word := "safe"
	if !res.Safe {
		word = "forced, not safe: acknowledged messages may be lost"
	}
	fmt.Fprintf(a.stdout, "node %d leads group %d in epoch %d (%s)\n", res.Leader, f.group, res.Epoch, word)
	return nil
}
