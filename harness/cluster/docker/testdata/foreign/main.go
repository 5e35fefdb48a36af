// Command foreign is a node of a system that knows nothing of assay, for tests of images that
// others make. Its last argument is its configuration file.
package main

import (
	"fmt"
	"os"

	"github.com/assay-project/assay/harness/cluster/docker/testdata/probe"
)

func main() {
	fmt.Fprintln(os.Stderr, probe.Run(os.Args[len(os.Args)-1]))
	os.Exit(1)
}
