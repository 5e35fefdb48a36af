// Package cli is the command line of assay as a package: whoever has targets, workloads, faults or
// environments of his own builds a binary of his own, whose main function is one call of Main.
//
// The binary is more than a command line: it is the process in which a simulation runs, the
// reference broker's node, and the agent inside a node's container. Main must therefore come first
// in main, before the program looks at its arguments.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/assay-project/assay/experiment"
	"github.com/assay-project/assay/harness/cluster/sim"
	"github.com/assay-project/assay/report"
)

// version is set by the linker (-X github.com/assay-project/assay/cli.version=...); without it the
// build information of the binary tells.
var version = ""

// Main runs the command line of this process with the parts of a catalog, and ends the process. It
// is called first in main.
func Main(catalog experiment.Catalog) {
	sim.ChildMain(catalog.SimHandlers()) // a simulation runs in a child process of this program
	a := &app{
		catalog: catalog,
		stdin:   os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		term: terminal(os.Stdout), errTerm: terminal(os.Stderr),
	}
	a.process(os.Args[1:])
}

// process runs a command line as this whole process, under a supervisor where it needs one. It does
// not return.
func (a *app) process(args []string) {
	if len(a.supervised(args)) > 0 {
		os.Exit(a.selfSupervised(args))
	}
	exit(a.guarded(context.Background(), args))
}

// app is one use of the command line. Commands write to it, and not to the process, so that tests
// can use them.
type app struct {
	catalog        experiment.Catalog
	stdin          io.Reader
	stdout, stderr io.Writer
	term, errTerm  report.Terminal // what standard output and standard error are
	clusters       clusters
}

// terminal says what f is. A terminal that does not tell its width has the 80 columns that all
// have.
func terminal(f *os.File) report.Terminal {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return report.Terminal{}
	}
	width, _, err := term.GetSize(fd)
	if err != nil || width <= 0 {
		width = 80
	}
	return report.Terminal{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Width: width}
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

// main runs one command and returns the exit code. An error of any kind is one line on standard
// error and exit 1; where `run` or `check` was asked for a JSON object, it is that object on
// standard output, too.
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
	if wantsJSON(args) {
		err = a.printError(cmd.Name(), message)
	}
	a.complain(message)
	if err != nil && wantsJSON(args) {
		a.complain(oneLine(err))
	}
	return 1
}

// wantsJSON looks for --json on a command line that perhaps cannot be parsed.
func wantsJSON(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		value, ok := strings.CutPrefix(arg, "--json=")
		yes, err := strconv.ParseBool(value)
		return arg == "--json" || ok && err == nil && yes
	})
}

// guarded is main that survives a panic long enough to remove the cluster. The exit code is 1: a Go
// panic's own 2 would say "unknown".
func (a *app) guarded(ctx context.Context, args []string) (code int) {
	defer func() {
		if p := recover(); p != nil {
			a.complain(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			if err := a.clusters.remove(); err != nil {
				a.complain(oneLine(err))
			}
			code = 1
		}
	}()
	return a.main(ctx, args)
}

// oneLine joins the lines of an error.
func oneLine(err error) string {
	var b strings.Builder
	for line := range strings.FieldsFuncSeq(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if s := b.String(); strings.HasSuffix(s, ":") {
			b.WriteByte(' ')
		} else if s != "" {
			b.WriteString("; ")
		}
		b.WriteString(line)
	}
	return b.String()
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   a.program(),
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
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(a.runCommand(), a.checkCommand(), a.showCommand(), a.nodeCommand(), a.adminCommand(), a.listCommand(),
		a.cleanCommand(), a.benchCommand(), a.versionCommand(), a.agentCommand())
	a.rename(root)
	return root
}

// program is how this program is called.
func (a *app) program() string { return cmp.Or(a.catalog.Program, "assay") }

// complain says on standard error what went wrong.
func (a *app) complain(message string) {
	fmt.Fprintln(a.stderr, a.program()+": "+strings.TrimSuffix(message, "\n"))
}

// rename lets the commands that a help text tells people to run be those of this program.
func (a *app) rename(cmd *cobra.Command) {
	ours := func(text string) string { return strings.ReplaceAll(text, "  assay ", "  "+a.program()+" ") }
	cmd.Example = ours(cmd.Example)
	cmd.Long = strings.ReplaceAll(cmd.Long, "assay list ", a.program()+" list ")
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "see assay ", "see "+a.program()+" ") })
	for _, c := range cmd.Commands() {
		a.rename(c)
	}
}

// flagError says what is wrong with a flag in the form of every other bad value.
func flagError(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		wants := map[string]string{
			"int": "a whole number", "int32": "a whole number", "int64": "a whole number", "uint64": "a whole number from 0 up to 2^64-1",
			"intSlice": "whole numbers with commas between", "duration": "a duration with its unit, such as 10s or 1m30s", "bool": "true or false",
		}[bad.GetFlag().Value.Type()]
		if wants != "" {
			return fmt.Errorf("--%s %q: give %s (see %s --help)", bad.GetFlag().Name, bad.GetValue(), wants, cmd.CommandPath())
		}
	}
	return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
}

// exactArgs refuses a wrong number of arguments in a sentence that says what is wanted.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s: got %q (see %s --help)", cmd.CommandPath(), what, args, cmd.CommandPath())
		}
		return nil
	}
}
