package cli_test

import (
	"github.com/assay-project/assay/cli"
	"github.com/assay-project/assay/experiment"
)

// The main function of a binary with parts of one's own.
func ExampleMain() {
	catalog := experiment.Standard()
	// catalog.Targets = append(catalog.Targets, mine.Target())
	cli.Main(catalog)
}
