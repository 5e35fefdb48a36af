package assaytest_test

import (
	"testing"

	"github.com/assay-project/assay/assaytest"
	"github.com/assay-project/assay/experiment"
)

// A test of the reference broker under kills and splits. t is the test's own.
func ExampleRun() {
	var t *testing.T

	spec := experiment.Default()
	spec.Options = map[string]string{"replication": "sync", "copies": "2"}
	spec.Nemesis = []string{"kill", "partition"}
	assaytest.Run(t, spec)
}

// The same with parts of one's own, where losses that nobody promised to prevent are no failure.
func ExampleWith() {
	var t *testing.T

	catalog := experiment.Standard()
	// catalog.Targets = append(catalog.Targets, mine.Target())
	spec := experiment.Default()
	spec.Nemesis = []string{"power:leader"}
	assaytest.Run(t, spec, assaytest.With(catalog), assaytest.AllowPermitted())
}
