package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"github.com/assay-project/assay/internal/agent"
)

// pingTime bounds the first contact with the engine.
const pingTime = 5 * time.Second

// reaperSwitch is how testcontainers is told to do without its reaper.
const reaperSwitch = "TESTCONTAINERS_RYUK_DISABLED"

// engine is the Docker engine, spoken to by testcontainers-go where it has the call, by the engine's own API elsewhere.
type engine struct {
	provider *testcontainers.DockerProvider
	api      client.APIClient
}

// connect reaches the engine, or says what to do.
//
// testcontainers' reaper is switched off (in this process's environment, which is the only switch there is) unless its image is
// there or the user set the switch: it would have to be pulled, and Stop and Clean do its work.
func connect(ctx context.Context, logger *slog.Logger) (*engine, error) {
	if err := ping(ctx); err != nil && os.Getenv(client.EnvOverrideHost) != "" {
		return nil, unreachable(os.Getenv(client.EnvOverrideHost), err)
	} else if err == nil && os.Getenv(reaperSwitch) == "" && !hasReaper(ctx) {
		if err := os.Setenv(reaperSwitch, "true"); err != nil {
			return nil, fmt.Errorf("switch off testcontainers' reaper: %w", err)
		}
	}
	tclog.SetDefault(printer{logger}) // its banner goes to standard error otherwise
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(printer{logger}))
	if err != nil {
		return nil, unreachable(client.DefaultDockerHost, err)
	}
	e := &engine{provider: provider, api: provider.Client()}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	if _, err := e.api.Ping(ctx, client.PingOptions{}); err != nil {
		host := e.api.DaemonHost()
		e.close()
		return nil, unreachable(host, err)
	}
	return e, nil
}

// Available says why the engine cannot be used; nil when it answers.
func Available(ctx context.Context) error {
	e, err := connect(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	e.close()
	return nil
}

func (e *engine) close() { _ = e.provider.Close() }

func unreachable(host string, err error) error {
	return fmt.Errorf("cannot reach the Docker engine at %s: start it, or set DOCKER_HOST to where one runs: %w", host, err)
}

// ping tries the engine that the environment names, before testcontainers looks for one: that has no time limit.
func ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	api, err := client.New(client.FromEnv)
	if err != nil {
		return err
	}
	defer api.Close()
	_, err = api.Ping(ctx, client.PingOptions{})
	return err
}

func hasReaper(ctx context.Context) bool {
	api, err := client.New(client.FromEnv)
	if err != nil {
		return false
	}
	defer api.Close()
	_, err = api.ImageInspect(ctx, testcontainers.ReaperDefaultImage) //nolint:staticcheck // deprecated, but its only public name
	return err == nil
}

// printer hands testcontainers' messages on as debug logs.
type printer struct{ logger *slog.Logger }

var _ tclog.Logger = printer{}

// Printf implements the logger of testcontainers.
func (p printer) Printf(format string, args ...any) {
	p.logger.Debug("testcontainers: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// agent runs an agent command in a running container and returns its report.
func (e *engine) agent(ctx context.Context, container, command string, stdin []byte) (agent.Report, error) {
	created, err := e.api.ExecCreate(ctx, container, client.ExecCreateOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: []string{binaryPath, "agent", command},
	})
	if err != nil {
		return agent.Report{}, fmt.Errorf("run the agent: %w", err)
	}
	attached, err := e.api.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return agent.Report{}, fmt.Errorf("run the agent: %w", err)
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, attached.Close) // the connection knows nothing of ctx
	defer stop()
	if _, err := attached.Conn.Write(stdin); err != nil {
		return agent.Report{}, fmt.Errorf("hand the agent its rules: %w", err)
	}
	if err := attached.CloseWrite(); err != nil {
		return agent.Report{}, fmt.Errorf("hand the agent its rules: %w", err)
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, attached.Reader); err != nil {
		return agent.Report{}, fmt.Errorf("hear from the agent: %w", errors.Join(err, ctx.Err()))
	}
	var report agent.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		// Only success prints a report.
		return agent.Report{}, fmt.Errorf("agent %s failed: %s", command, strings.TrimSpace(errs.String()+" "+out.String()))
	}
	return report, nil
}

// detach starts an agent command that goes on by itself.
func (e *engine) detach(ctx context.Context, container, command string) error {
	created, err := e.api.ExecCreate(ctx, container, client.ExecCreateOptions{Cmd: []string{binaryPath, "agent", command}})
	if err == nil {
		_, err = e.api.ExecStart(ctx, created.ID, client.ExecStartOptions{Detach: true})
	}
	if err != nil {
		return fmt.Errorf("start agent %s: %w", command, err)
	}
	return nil
}

// gone turns "there is no such thing" into success.
func gone(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// inProgress says that the engine is removing the thing already.
func inProgress(err error) bool {
	return errdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress")
}
