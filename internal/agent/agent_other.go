//go:build !linux

package agent

import (
	"errors"
	"io"
)

// errNotLinux is returned by every command that programs a network.
var errNotLinux = errors.New("the fault agent works on Linux only: it runs inside the nodes' containers")

func applyRules(RuleSet) (Report, error)        { return Report{}, errNotLinux }
func readReport() (Report, error)               { return Report{}, errNotLinux }
func serveDelays(io.Writer) error               { return errNotLinux }
func runNode([]string, string, io.Writer) error { return errNotLinux }
