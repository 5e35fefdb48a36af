package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the Dockerfile
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/client"

	"github.com/assay-project/assay/harness/target"
)

const (
	// imageName is the repository of the nodes' images; the tag is the hash of what is in them.
	imageName = "assay-node"
	// binaryPath is where the one binary is in an image.
	binaryPath = "/assay"
	// maxProgram bounds the size of the binary in an image, and of a build context.
	maxProgram = 512 << 20
	// saidLines is how much of a failed build's output is shown.
	saidLines = 5
)

//go:embed Dockerfile
var dockerfile []byte

// imageMaker makes the nodes' images of one start, all with our program in them. It is used by one
// goroutine.
type imageMaker struct {
	e       *engine
	program []byte
	logger  *slog.Logger
}

func newImageMaker(ctx context.Context, e *engine, program string, logger *slog.Logger) (*imageMaker, error) {
	info, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask the Docker engine for its architecture: %w", err)
	}
	path, err := findProgram(ctx, program, goArch(info.Info.Architecture))
	if err != nil {
		return nil, err
	}
	content, err := readProgram(path) // once: what is named is what is packed, even when somebody builds meanwhile
	if err != nil {
		return nil, err
	}
	return &imageMaker{e: e, program: content, logger: logger}, nil
}

// image returns the tag of a node's image, which it builds when the engine has none with this
// content.
func (m *imageMaker) image(ctx context.Context, c target.Container) (string, error) {
	switch {
	case c.Build != nil:
		return m.fromContext(ctx, c)
	case c.Image != "":
		return m.fromImage(ctx, c)
	default:
		return m.fromScratch(ctx)
	}
}

// fromScratch returns the image that holds our program and nothing else.
func (m *imageMaker) fromScratch(ctx context.Context) (string, error) {
	tag := contentTag(dockerfile, m.program)
	_, err := m.ensure(ctx, tag, func() (io.Reader, error) {
		return tarOf(tarFile{"Dockerfile", 0o644, dockerfile}, tarFile{"assay", 0o755, m.program})
	})
	return tag, err
}

// ensure returns the image of a name, built from what content returns when there is none.
func (m *imageMaker) ensure(ctx context.Context, tag string, content func() (io.Reader, error)) (client.ImageInspectResult, error) {
	info, err := m.e.api.ImageInspect(ctx, tag)
	if err == nil {
		return info, nil
	}
	if !errdefs.IsNotFound(err) {
		return info, fmt.Errorf("look for image %s: %w", tag, err)
	}
	start := time.Now()
	archive, err := content()
	if err != nil {
		return info, err
	}
	if err := buildImage(ctx, m.e, archive, tag); err != nil {
		return info, fmt.Errorf("build image %s: %w", tag, err)
	}
	m.logger.Info("built an image of nodes", "image", tag, "took", time.Since(start))
	if info, err = m.e.api.ImageInspect(ctx, tag); err != nil {
		return info, fmt.Errorf("look for image %s, which was just built: %w", tag, err)
	}
	return info, nil
}

// contentTag names the image that holds some content.
func contentTag(content ...[]byte) string {
	return imageName + ":" + digest(content...)
}

// digest is a short hash of several pieces of content.
func digest(content ...[]byte) string {
	hash := sha256.New()
	for _, c := range content {
		hash.Write(c)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}

func readProgram(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	if info.Size() > maxProgram {
		return nil, fmt.Errorf("the program %s has %d bytes, more than %d", path, info.Size(), maxProgram)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	return program, nil
}

// buildImage builds with the classic builder, which every engine has and which needs no session.
func buildImage(ctx context.Context, e *engine, archive io.Reader, tag string) error {
	result, err := e.api.ImageBuild(ctx, archive, client.ImageBuildOptions{
		Tags: []string{tag}, Remove: true, ForceRemove: true, Version: build.BuilderV1, Labels: map[string]string{Label: "1"},
	})
	if err != nil {
		return err
	}
	return followBuild(result.Body)
}

// followBuild waits for the end of a build whose progress is body. The error of a build ends with
// what was printed last.
func followBuild(body io.ReadCloser) error {
	defer body.Close()
	var said []string
	for lines := json.NewDecoder(body); ; {
		var line struct {
			Stream string `json:"stream"`
			Error  string `json:"error"`
		}
		err := lines.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("follow the build: %w", err)
		case line.Error != "":
			return fmt.Errorf("%s; the last lines: %q", line.Error, said)
		}
		if text := strings.TrimSpace(line.Stream); text != "" {
			said = append(said[max(0, len(said)-saidLines+1):], text)
		}
	}
}

// tarFile is one file of an archive.
type tarFile struct {
	name string
	mode int64
	data []byte
}

// tarOf archives files. Their times are zero, so that equal content is an equal layer.
func tarOf(files ...tarFile) (*bytes.Buffer, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, f := range files {
		if err := writer.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			return nil, fmt.Errorf("archive %s: %w", f.name, err)
		}
		if _, err := writer.Write(f.data); err != nil {
			return nil, fmt.Errorf("archive %s: %w", f.name, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("end the archive: %w", err)
	}
	return &archive, nil
}
