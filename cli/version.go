package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			name := "assay"
			if a.program() != name {
				name = a.program() + " with assay"
			}
			_, err := fmt.Fprintf(a.stdout, "%s %s %s %s/%s\n", name, buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// module is the path of assay's module.
const module = "github.com/assay-project/assay"

// buildVersion is the linker's version, else the module's, else the revision that the toolchain
// recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

// versionOf is assay's version in a binary: that of the binary of another module says nothing about
// it.
func versionOf(info *debug.BuildInfo) string {
	if info.Main.Path != module {
		for _, dep := range info.Deps {
			if dep.Path != module {
				continue
			}
			if dep.Replace != nil {
				dep = dep.Replace
			}
			return cmp.Or(dep.Version, "unknown") // a directory has none
		}
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return "unknown"
	}
	return revision[:min(len(revision), 12)] + dirty
}
