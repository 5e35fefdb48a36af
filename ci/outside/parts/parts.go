// Package parts joins what is outside to what comes with assay.
package parts

import (
	"github.com/assay-project/assay/experiment"

	"example.com/outside/fault"
	"example.com/outside/logtarget"
	"example.com/outside/register"
)

// Catalog is the standard one with the parts of this module. program is the executable that becomes
// a server; "" is the running one.
func Catalog(program string) experiment.Catalog {
	c := experiment.Standard()
	c.Program = "outside"
	c.Targets = append(c.Targets, logtarget.Target(program))
	c.Workloads = append(c.Workloads, register.Entry())
	c.Faults = append(c.Faults, fault.Drain())
	return c
}
