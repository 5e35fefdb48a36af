// Command myassay is assay with parts of one's own: those of the pages docs/new-*.md.
package main

import (
	"log"
	"os"

	"github.com/assay-project/assay/cli"
	"github.com/assay-project/assay/docs/guide/gaps"
	"github.com/assay-project/assay/docs/guide/recrash"
	"github.com/assay-project/assay/docs/guide/register"
	"github.com/assay-project/assay/docs/guide/shardlog"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == shardlog.Command { // a node of --env local or docker
		if err := shardlog.Serve(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			log.Fatal(err)
		}
		return
	}
	catalog := gaps.Catalog()   // experiment.Standard() with one more checker
	catalog.Program = "myassay" // in commands that people are told to run
	catalog.Targets = append(catalog.Targets, shardlog.Target())
	catalog.Workloads = append(catalog.Workloads, register.Workload())
	catalog.Faults = append(catalog.Faults, recrash.Kind())
	cli.Main(catalog)
}
