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
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/client"
)

const (
	// imageName is the repository of the nodes' images; the tag is the hash of what is in them.
	imageName = "assay-node"
	// binaryPath is where the one binary is in an image.
	binaryPath = "/assay"
	// maxProgram bounds the size of the binary in an image.
	maxProgram = 512 << 20
)

//go:embed Dockerfile
var dockerfile []byte

// ensureImage returns the tag of the image of the nodes, which it builds when there is none with this content.
func ensureImage(ctx context.Context, e *engine, program string, logger *slog.Logger) (string, error) {
	info, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the Docker engine for its architecture: %w", err)
	}
	path, err := findProgram(ctx, program, goArch(info.Info.Architecture))
	if err != nil {
		return "", err
	}
	content, err := readProgram(path) // once: what is named is what is packed, even when somebody builds meanwhile
	if err != nil {
		return "", err
	}
	tag := contentTag(content)
	_, err = e.api.ImageInspect(ctx, tag)
	if err == nil {
		return tag, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", tag, err)
	}
	start := time.Now()
	if err := buildImage(ctx, e, content, tag); err != nil {
		return "", fmt.Errorf("build image %s: %w", tag, err)
	}
	logger.Info("built the nodes' image", "image", tag, "took", time.Since(start))
	return tag, nil
}

// contentTag names the image that holds the program.
func contentTag(program []byte) string {
	hash := sha256.New()
	hash.Write(dockerfile)
	hash.Write(program)
	return imageName + ":" + hex.EncodeToString(hash.Sum(nil))[:12]
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
func buildImage(ctx context.Context, e *engine, program []byte, tag string) error {
	archive, err := tarOf(tarFile{"Dockerfile", 0o644, dockerfile}, tarFile{"assay", 0o755, program})
	if err != nil {
		return err
	}
	result, err := e.api.ImageBuild(ctx, archive, client.ImageBuildOptions{
		Tags: []string{tag}, Remove: true, ForceRemove: true, Version: build.BuilderV1, Labels: map[string]string{Label: "1"},
	})
	if err != nil {
		return err
	}
	return followBuild(result.Body)
}

// followBuild waits for the end of a build whose progress is body.
func followBuild(body io.ReadCloser) error {
	defer body.Close()
	for lines := json.NewDecoder(body); ; {
		var line struct {
			Error string `json:"error"`
		}
		err := lines.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("follow the build: %w", err)
		case line.Error != "":
			return errors.New(line.Error)
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
