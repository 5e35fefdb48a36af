package docker

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/assay-project/assay/internal/program"
)

// findProgram returns the path of a static Linux executable for the engine's architecture (Go's
// name) that is the node and the agent: path when that is given, the running executable when it is
// one, otherwise one built from the module's source.
func findProgram(ctx context.Context, path, arch string) (string, error) {
	if path != "" {
		if err := checkStatic(path, arch); err != nil {
			return "", fmt.Errorf("%s cannot run in a node's container: %w", path, err)
		}
		return path, nil
	}
	own, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running executable: %w", err)
	}
	why := errors.New("it is a test binary")
	if !program.IsTest(own) {
		if why = checkStatic(own, arch); why == nil {
			return own, nil
		}
	}
	built, err := program.Build(ctx, "linux", arch)
	if err != nil {
		return "", fmt.Errorf("the nodes' containers need a static Linux executable of assay; %s cannot be it (%w), and building one failed: %w", own, why, err)
	}
	return built, nil
}

// checkStatic says why the file cannot run alone in a Linux container of the architecture.
func checkStatic(path, arch string) error {
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("not a Linux executable: %w", err)
	}
	defer file.Close()
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if want, ok := machines[arch]; !ok || file.Machine != want {
		return fmt.Errorf("it is for %v, the Docker engine for %s", file.Machine, arch)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is not static; build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// goArch is Go's name for an architecture in the engine's spelling.
func goArch(engine string) string {
	switch engine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	case "":
		return runtime.GOARCH
	default:
		return engine
	}
}
