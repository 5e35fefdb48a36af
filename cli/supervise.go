package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/assay-project/assay/experiment"
)

// supervisedEnv tells a process that it has a supervisor, which reads on fd 3 that the process came
// to its end by itself.
const supervisedEnv = "ASSAY_SUPERVISED"

// supervised returns the environments of a command line that leave things behind when the process
// ends in the middle of a run. A Go panic in any goroutine ends a process at once with code 2,
// which would say "unknown" and clean nothing up; so such a command runs in a child process. A
// false alarm costs a process.
func (a *app) supervised(args []string) []experiment.Environment {
	if len(args) == 0 || args[0] != "run" || os.Getenv(supervisedEnv) != "" {
		return nil
	}
	var all []experiment.Environment
	for _, env := range a.catalog.Environments {
		named := func(arg string) bool { return strings.HasSuffix(arg, env.Name) }
		if env.Clean != nil && slices.ContainsFunc(args, named) {
			all = append(all, env)
		}
	}
	return all
}

// supervise runs the command in a child process, hands it every signal, and returns its exit code.
// When the child ends without having said so (a panic, an abort), what it made is removed, and the
// code is 1.
func (a *app) supervise(child *exec.Cmd, jsonWanted bool, clean func(context.Context) error) int {
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	ended, end, err := os.Pipe()
	if err != nil {
		a.complain(oneLine(err))
		return 1
	}
	defer ended.Close()
	child.Stdin, child.Stdout, child.Stderr = a.stdin, a.stdout, a.stderr
	child.ExtraFiles = []*os.File{end}
	child.Env = append(child.Environ(), supervisedEnv+"=1")
	child.SysProcAttr = ownGroup() // a Ctrl-C comes once, from here
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		_ = end.Close()
		a.complain(oneLine(err))
		return 1
	}
	_ = end.Close() // the child's copy is the one that counts
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = child.Process.Signal(s) // it may just have ended
			case <-done:
				return
			}
		}
	}()
	said, _ := io.ReadAll(ended) // ends with the child
	err = child.Wait()
	if len(said) > 0 {
		return child.ProcessState.ExitCode()
	}
	message := fmt.Sprintf("the run broke off (%v); what it made is removed, its history is kept in the store", err)
	if err := clean(context.Background()); err != nil {
		message = fmt.Sprintf("the run broke off (%v), and what it made may be left: %v; %s clean removes it", child.ProcessState, oneLine(err), a.program())
	}
	if jsonWanted {
		if err := a.printError("run", message); err != nil {
			message += "; and its result could not be written: " + oneLine(err)
		}
	}
	a.complain(message)
	return 1
}

// selfSupervised runs this command line under a supervisor.
func (a *app) selfSupervised(args []string) int {
	self, err := os.Executable()
	if err != nil {
		a.complain(oneLine(err))
		return 1
	}
	child := exec.Command(self, args...)
	return a.supervise(child, wantsJSON(args), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, abandonTime)
		defer cancel()
		var errs []error
		for _, env := range a.supervised(args) {
			_, err := env.Clean(ctx, experiment.CleanOptions{PID: child.Process.Pid}) // what other runs left is not this one's business
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// exit ends the process in the ordinary way; a supervisor is told so.
func exit(code int) {
	if os.Getenv(supervisedEnv) != "" {
		end := os.NewFile(3, "supervisor")
		if _, err := end.Write([]byte{'.'}); err != nil && !errors.Is(err, syscall.EPIPE) {
			fmt.Fprintln(os.Stderr, "assay: telling the supervisor: "+err.Error())
		}
	}
	os.Exit(code)
}
