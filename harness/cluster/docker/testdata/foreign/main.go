// Command foreign is a node of a system that knows nothing of assay, for tests of images that others make. Its last argument is its configuration file.
package main

import (
	"fmt"
	"os"

	"github.com/assay-project/assay/harness/cluster/docker/testdata/probe"
)

func main() {
	if err := probe.Run(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
