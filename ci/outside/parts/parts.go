// Package parts joins what is outside to what comes with assay.
package parts

import (
	"github.com/assay-project/assay/experiment"

	"example.com/outside/fault"
	"example.com/outside/logtarget"
	"example.com/outside/register"
)

// Catalog returns the standard catalog with the parts of this module.
func Catalog() experiment.Catalog {
	c := experiment.Standard()
	c.Program = "outside"
	c.Targets = append(c.Targets, logtarget.Target())
	c.Workloads = append(c.Workloads, register.Workload())
	c.Faults = append(c.Faults, fault.Drain(), fault.Resync())
	return c
}
