// Command assay tests what a replicated message broker's "acknowledged" is worth. It is the command
// line, the reference broker's node, and the agent inside a node's container, in one binary.
package main

import (
	"github.com/assay-project/assay/cli"
	"github.com/assay-project/assay/experiment"
)

func main() { cli.Main(experiment.Standard()) }
