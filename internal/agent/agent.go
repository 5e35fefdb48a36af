// Package agent is the part of assay that runs inside a node's container: it programs that
// container's own network (drops and loss with nftables, delay with NFQUEUE) and starts the node
// once the rules that are active hold.
//
// The environment on the outside (harness/cluster/docker) decides who is cut off from whom and runs
// the agent with `docker exec`; the agent knows only its own container's rules. It touches no
// network but that of the container, and refuses to work outside one. It does no shaping of client
// connections, no disks and no clocks. The rules need Linux; elsewhere only their format is there.
package agent

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const (
	// ContainerEnv is the environment variable that marks a container made for the agent. Without
	// it the agent refuses to work, so that a mistyped command never programs the firewall of
	// somebody's machine.
	ContainerEnv = "ASSAY_CONTAINER"
	// RulesPath is where RunNode looks for the rules that are active when the container starts. No
	// file means no rules.
	RulesPath = "/etc/assay/rules.json"
	// FilesEnv is the environment variable that holds the node's files (see EncodeFiles), which
	// run-node writes: that is faster than copying them into a container that does not run.
	FilesEnv = "ASSAY_NODE_FILES"
)

// Names of the subcommands, as the environment passes them.
const (
	CmdApply    = "apply"    // rules on standard input replace all rules; prints a Report of the replaced ones
	CmdCounters = "counters" // prints a Report of the present rules
	CmdClear    = "clear"    // removes all rules; prints a Report of the removed ones
	CmdDelay    = "delay"    // holds delayed packets back until no rule delays any more; meant to run detached
	CmdRunNode  = "run-node" // writes the files of FilesEnv, applies RulesPath, and becomes the command that follows "--"
)

// errUsage is returned when the agent was called wrongly.
var errUsage = errors.New("usage: assay agent apply|counters|clear|delay, or assay agent run-node [--rules FILE] -- COMMAND ARGUMENTS")

// Main runs one agent command and returns the exit code: 0, 1 after an error that it wrote to
// stderr, 2 after wrong usage. On success run-node does not return: the process becomes the node.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := run(args, stdin, stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, err)
		return 2
	default:
		fmt.Fprintln(stderr, "assay agent:", err)
		return 1
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("assay agent "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	rules := flags.String("rules", RulesPath, "the rules that are active at the start")
	if err := flags.Parse(args[1:]); err != nil || (flags.NArg() > 0) != (args[0] == CmdRunNode) {
		return errUsage
	}
	if os.Getenv(ContainerEnv) == "" {
		return fmt.Errorf("refusing to run outside a container made by assay (%s is not set)", ContainerEnv)
	}
	switch args[0] {
	case CmdApply:
		set, err := Decode(stdin)
		if err != nil {
			return err
		}
		return report(stdout)(applyRules(set))
	case CmdCounters:
		return report(stdout)(readReport())
	case CmdClear:
		return report(stdout)(applyRules(RuleSet{}))
	case CmdDelay:
		return serveDelays(stderr)
	case CmdRunNode:
		return runNode(flags.Args(), *rules, stderr)
	default:
		return errUsage
	}
}

// report returns a printer of what an agent command found: one line of JSON.
func report(stdout io.Writer) func(Report, error) error {
	return func(r Report, err error) error {
		if err != nil {
			return err
		}
		if err := json.NewEncoder(stdout).Encode(r); err != nil {
			return fmt.Errorf("print the report: %w", err)
		}
		return nil
	}
}
