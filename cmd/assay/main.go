// Command assay tests what a replicated message broker's "acknowledged" is worth. It is the command line, the reference broker's node, and
// the agent inside a node's container, in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/harness/experiment"
)

// version is set by the linker (-X main.version=...); without it the build information of the binary tells.
var version = ""

func main() {
	sim.ChildMain(experiment.SimHandlers()) // a simulation runs in a child process of this program
	a := &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		color:    term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	args := os.Args[1:]
	if needsSupervisor(args) {
		os.Exit(a.selfSupervised(args))
	}
	exit(a.guarded(context.Background(), args))
}

// app is one use of the command line. Commands write to it, and not to the process, so that tests can use them.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	color          bool // standard output is a terminal that may be coloured
	terminal       bool // standard error is a terminal
	clusters       clusters
}

// exitError ends the process with a code and without a message: the command has said everything.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// exitWith is nil for 0.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return exitError(code)
}

// main runs one command and returns the exit code. An error of any kind is one line on standard error and exit 1; where
// a JSON object was asked for, it is that object on standard output, too.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	message := oneLine(err)
	if slices.Contains(args, "--json") && (cmd.Name() == "run" || cmd.Name() == "check") {
		a.printJSON(complete(harness.Summary{Verdict: "error", Exit: 1, Unknown: []string{message}}))
	}
	fmt.Fprintln(a.stderr, "assay: "+message)
	return 1
}

// guarded is main that survives a panic long enough to remove the cluster. The exit code is 1: a Go panic's own 2 would say "unknown".
func (a *app) guarded(ctx context.Context, args []string) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(a.stderr, "assay: panic: %v\n%s", p, debug.Stack())
			if err := a.clusters.remove(); err != nil {
				fmt.Fprintln(a.stderr, "assay: "+oneLine(err))
			}
			code = 1
		}
	}()
	return a.main(ctx, args)
}

func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Tests what a replicated message broker's \"acknowledged\" is worth",
		Long: `assay starts a replicated broker, drives it, hurts it, records every operation, and says what was lost.

Exit codes: 0 valid; 1 the harness failed or was used wrongly; 2 nothing can be concluded; 3 an anomaly that the
configuration's contract excludes; 4 anomalies that the configuration never promised to prevent.`,
		Example: `  assay run                                              three nodes, a minute of load, no faults
  assay run --nemesis kill,partition,pause               the same under faults
  assay run --env docker --nemesis kill                  in containers
  assay show runs/NAME --message 4711                    the life of one message
  assay list faults                                      what can be done to a cluster`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetIn(a.stdin)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(a.runCommand(), a.checkCommand(), a.showCommand(), a.nodeCommand(), a.adminCommand(), a.listCommand(),
		a.cleanCommand(), a.benchCommand(), a.versionCommand(), a.agentCommand())
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Hidden = true
		}
	}
	return root
}

// exactArgs refuses a wrong number of arguments in a sentence that says what is wanted.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s: got %d arguments (see %s --help)", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}
