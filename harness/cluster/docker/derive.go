package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/assay-project/assay/harness/target"
)

// baseName is the repository of images built from targets' build contexts; the tag is the hash of
// the context.
const baseName = "assay-base"

// derived is the Dockerfile of a node's image made from another system's. Our program starts first,
// as root, since it programs the firewall; it then becomes what the image would have started. The
// working directory and the environment stay. Whatever checks the image's health would run beside
// the node, and is left out.
const derived = `FROM %s
COPY assay /assay
USER 0
HEALTHCHECK NONE
ENTRYPOINT ["/assay"]
CMD %s
`

// fromContext returns the image derived from one that is built from a context.
func (m *imageMaker) fromContext(ctx context.Context, c target.Container) (string, error) {
	content, err := readContext(c.Build)
	if err != nil {
		return "", err
	}
	base := baseName + ":" + digest(content)
	tag := contentTag([]byte(derived), m.program, []byte(base))
	info, err := m.ensure(ctx, tag, func() (io.Reader, error) {
		built, err := m.ensure(ctx, base, func() (io.Reader, error) { return bytes.NewReader(content), nil })
		if err != nil {
			return nil, err
		}
		return m.derivation(built)
	})
	if err != nil {
		return "", err
	}
	return tag, checkCommand(c, info, "the image of its build context")
}

// fromImage returns the image derived from one that the engine has.
func (m *imageMaker) fromImage(ctx context.Context, c target.Container) (string, error) {
	base, err := m.e.api.ImageInspect(ctx, c.Image)
	if errdefs.IsNotFound(err) {
		return "", fmt.Errorf("the Docker engine has no image %q: pull it (docker pull %s) or build it first", c.Image, c.Image)
	}
	if err != nil {
		return "", fmt.Errorf("look for image %s: %w", c.Image, err)
	}
	tag := contentTag([]byte(derived), m.program, []byte(base.ID))
	info, err := m.ensure(ctx, tag, func() (io.Reader, error) { return m.derivation(base) })
	if err != nil {
		return "", err
	}
	return tag, checkCommand(c, info, fmt.Sprintf("image %q", c.Image))
}

// derivation is the build context of a derived image.
func (m *imageMaker) derivation(base client.ImageInspectResult) (io.Reader, error) {
	command := runNode()
	if base.Config != nil {
		command = append(append(command, base.Config.Entrypoint...), base.Config.Cmd...)
	}
	encoded, err := json.Marshal(command)
	if err != nil {
		return nil, fmt.Errorf("write down the command of image %s: %w", base.ID, err)
	}
	text := fmt.Appendf(nil, derived, base.ID, encoded)
	return tarOf(tarFile{"Dockerfile", 0o644, text}, tarFile{"assay", 0o755, m.program})
}

// checkCommand refuses a node for which neither the target nor the image it derives from says what
// to run.
func checkCommand(c target.Container, info client.ImageInspectResult, image string) error {
	if len(c.Command) == 0 && (info.Config == nil || len(info.Config.Cmd) <= len(runNode())) {
		return fmt.Errorf("%s has neither an entry point nor a command, and the target names none", image)
	}
	return nil
}

// readContext returns a build context.
func readContext(open func() (io.Reader, error)) ([]byte, error) {
	from, err := open()
	if err != nil {
		return nil, fmt.Errorf("make the build context: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(from, maxProgram+1))
	if c, ok := from.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("read the build context: %w", err)
	}
	if len(content) > maxProgram {
		return nil, fmt.Errorf("the build context has more than %d bytes", maxProgram)
	}
	return content, nil
}
