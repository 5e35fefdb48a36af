package docker

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/internal/agent"
)

// maxName bounds what becomes part of a container's name.
const maxName = 64

// checkSystem says why a system cannot run in containers.
func checkSystem(sys *target.System) error {
	switch {
	case sys.Container == nil:
		return fmt.Errorf("it does not run in containers: %w", harness.ErrUnsupported)
	case len(sys.Nodes) > maxNodes:
		return fmt.Errorf("%d nodes do not fit into a network of containers (want 1 to %d)", len(sys.Nodes), maxNodes)
	}
	for _, id := range sys.Nodes {
		if err := checkName("node", string(id)); err != nil {
			return err
		}
	}
	return nil
}

// checkName says why something's name cannot be part of a container's name.
func checkName(what, name string) error {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("%s %q: only a-z, 0-9 and - may be in it, since it names containers", what, name)
		}
	}
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%s %q: it must have 1 to %d characters", what, name, maxName)
	}
	return nil
}

// setup is what a node's container is made from, again after each wipe.
type setup struct {
	image string
	args  []string // of the image's entry point, which is our program; nil: those of the image
	env   map[string]string
	data  string // where its volume is mounted; "": it has none
	files int64  // bytes that the agent writes at each start
}

// newSetup checks what a target says of a node's container, and returns the setup without its
// image.
func newSetup(c target.Container) (setup, error) {
	switch {
	case c.Image != "" && c.Build != nil:
		return setup{}, fmt.Errorf("it names image %q and a build context (want one of them)", c.Image)
	case c.Image == "" && c.Build == nil && len(c.Command) == 0:
		return setup{}, errors.New("it names neither an image nor a command")
	case c.Data != "" && (!path.IsAbs(c.Data) || path.Clean(c.Data) != c.Data || c.Data == "/"):
		return setup{}, fmt.Errorf("its data are at %q (want an absolute path without detours)", c.Data)
	}
	files, err := agent.EncodeFiles(c.Files)
	if err != nil {
		return setup{}, err
	}
	s := setup{data: c.Data, env: map[string]string{agent.ContainerEnv: "1", agent.FilesEnv: files}}
	for _, f := range c.Files {
		s.files += int64(len(f))
	}
	for _, variable := range c.Env {
		key, value, ok := strings.Cut(variable, "=")
		if _, ours := s.env[key]; !ok || key == "" || ours {
			return setup{}, fmt.Errorf("environment variable %q: want KEY=VALUE, and none of assay's own", variable)
		}
		s.env[key] = value
	}
	if len(c.Command) > 0 {
		s.args = append(runNode(), c.Command...)
	}
	return s, nil
}

// runNode are the arguments of our program that start a node, but for the node's own command.
func runNode() []string { return []string{"agent", agent.CmdRunNode, "--"} }
