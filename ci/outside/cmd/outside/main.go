// Command outside is assay with the parts of this module. As "outside logserver" it is a node of
// the log server.
package main

import (
	"os"

	"github.com/assay-project/assay/cli"

	"example.com/outside/logserver"
	"example.com/outside/parts"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == logserver.Command {
		os.Exit(logserver.Main(os.Args[2:]))
	}
	cli.Main(parts.Catalog())
}
