// Package program finds the executable of assay that runs as a node: the one that runs now, or,
// where that is a test binary or one for another system, one that is built from the module's
// source.
package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// command is the package of the executable in tests.
const command = "github.com/assay-project/assay/cmd/assay"

// source is the package to build: that of the running program, which may have parts of its own, or
// command where the running program is a test.
func source(info *debug.BuildInfo) string {
	if info == nil || info.Path == "" || info.Path == "command-line-arguments" || IsTest(info.Path) {
		return command
	}
	return info.Path
}

// IsTest says whether an executable is one that `go test` made, which has the main function of a
// test.
func IsTest(path string) bool {
	return strings.HasSuffix(path, ".test") || strings.HasSuffix(path, ".test.exe")
}

// Own returns the path of an executable of assay for this machine: the running one, or in `go test`
// the one that Build makes.
func Own(ctx context.Context) (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running executable: %w", err)
	}
	if !IsTest(own) {
		return own, nil
	}
	built, err := Build(ctx, runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return "", fmt.Errorf("a node needs an executable of assay; %s is a test binary, and building one failed: %w", own, err)
	}
	return built, nil
}

// Build builds a static executable of the running program, of cmd/assay in a test, for a system
// (Go's names) from the module in or above the working directory, which needs the Go toolchain. The
// result stays in the user's cache, where the next build finds that nothing has changed. Several
// processes may build at once.
func Build(ctx context.Context, goos, goarch string) (string, error) {
	info, _ := debug.ReadBuildInfo()
	return build(ctx, source(info), goos, goarch)
}

func build(ctx context.Context, pkg, goos, goarch string) (string, error) {
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg)
	source, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s (the Go toolchain and the module are needed): %w", pkg, withStderr(err))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the executable: %w", err)
	}
	where := sha256.Sum256(source)
	target := filepath.Join(cache, "assay", hex.EncodeToString(where[:6])+"-"+goos+"-"+goarch)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return "", fmt.Errorf("make a place for the executable: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(target), "build-")
	if err != nil {
		return "", fmt.Errorf("make a place for the executable: %w", err)
	}
	defer os.RemoveAll(dir)
	own := filepath.Join(dir, "assay")
	// Others may be starting nodes from the target. So what is built takes its place in one step;
	// go build itself may write into it. As a link to the target, the file tells go build that it
	// is up to date, if it is.
	if err := os.Link(target, own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("build beside %s: %w", target, err)
	}
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", own, ".")
	compile.Dir = strings.TrimSpace(string(source))
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in %s: %w: %s", compile.Dir, err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(own, target); err != nil {
		return "", fmt.Errorf("put the executable into place: %w", err)
	}
	return target, nil
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
