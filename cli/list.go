package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// listNames are what `assay list` knows, in the order of its help.
var listNames = [...]string{"modes", "faults", "workloads", "options", "targets", "environments"}

func (a *app) listCommand() *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:       "list modes|faults|workloads|options|targets|environments",
		Short:     "List what there is to choose from",
		ValidArgs: listNames[:],
		Example: `  assay list faults               what can be done to a cluster, and where
  assay list faults --env docker  what can be done to containers
  assay list options              the keys of --set`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(listNames[:], args[0]) {
				return fmt.Errorf("list takes one of %s (see assay list --help)", strings.Join(listNames[:], ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := a.knownEnvironment(env); err != nil {
				return err
			}
			return a.list(args[0], env)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "only what this environment can do")
	return cmd
}

// knownEnvironment says what the environments are when a flag names another one. "" names none.
func (a *app) knownEnvironment(env string) error {
	if names := a.catalog.EnvironmentNames(); env != "" && !slices.Contains(names, env) {
		return fmt.Errorf("unknown environment %q (want %s)", env, strings.Join(names, " or "))
	}
	return nil
}

func (a *app) list(what, env string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	switch what {
	case "modes":
		for _, m := range a.catalog.Modes() {
			fmt.Fprintf(w, "%s\t%s\n", m.Name, m.Doc)
		}
	case "workloads":
		for _, m := range a.catalog.WorkloadEntries() {
			fmt.Fprintf(w, "%s\t%s\n", m.Name, m.Doc)
		}
	case "targets":
		for _, m := range a.catalog.TargetEntries() {
			fmt.Fprintf(w, "%s\t%s\n", m.Name, m.Doc)
		}
	case "environments":
		for _, m := range a.catalog.EnvironmentEntries() {
			fmt.Fprintf(w, "%s\t%s\n", m.Name, m.Doc)
		}
	case "options":
		fmt.Fprintln(w, "option\tdefault\tallowed\tmodes\twhat it is")
		for _, o := range a.catalog.Options() {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Name, o.Default, o.What(), strings.Join(o.Modes, ","), o.Doc)
		}
	case "faults":
		return a.listFaults(w, env)
	default:
		return errors.New("nothing to list")
	}
	return w.Flush()
}

// listFaults describes the faults with their roles and shapes.
func (a *app) listFaults(w *tabwriter.Writer, env string) error {
	faults, err := a.catalog.FaultEntries()
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "fault\tkind\tenvironments\twhat it does")
	for _, f := range faults {
		if env != "" && !slices.Contains(f.Envs, env) {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, f.Kind, strings.Join(f.Envs, ","), f.Doc)
		roles := make([]string, len(f.Roles))
		for i, r := range f.Roles {
			roles[i] = ":" + r
		}
		fmt.Fprintf(w, "\t\t\t%s\n", strings.Join(roles, " "))
		if len(f.Shapes) > 0 {
			fmt.Fprintf(w, "\t\t\t/%s\n", strings.Join(f.Shapes, " /"))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "\nA fault is name[:role][/shape], e.g. kill, wipe:leader, partition:leader/alone/with-clients. "+
		"Without a role it is the first one listed (promote: the node with the most), without a shape the first one.")
	return nil
}
