// Command node stands in for the assay binary in the tests of the docker environment: it is the
// fault agent, and a node.
package main

import (
	"fmt"
	"os"

	"github.com/assay-project/assay/harness/cluster/docker/testdata/probe"
	"github.com/assay-project/assay/internal/agent"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(agent.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) != 4 || os.Args[1] != "node" || os.Args[2] != "--config" {
		fmt.Fprintln(os.Stderr, "usage: node --config FILE", os.Args)
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, probe.Run(os.Args[3]))
	os.Exit(1)
}
