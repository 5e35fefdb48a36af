package experiment

import (
	"slices"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/nemesis"
)

// Entry is something to choose, for `assay list`.
type Entry struct {
	Name string
	Doc  string
}

// FaultEntry is a fault, and where it can be had.
type FaultEntry struct {
	nemesis.Info
	Envs []string
}

// Environments lists the environments.
func Environments() []string { return []string{EnvSim, EnvDocker} }

// Modes lists the modes of replication.
func Modes() []Entry {
	return []Entry{{reference.MasterSlave, "a fixed leader and followers of one log; no failover, an operator may promote"}}
}

// Workloads lists the workloads.
func Workloads() []Entry {
	return []Entry{{workloadLog, "unique values sent to partitions, read from assigned positions, read to the end and scanned on every replica afterwards"}}
}

// Targets lists the systems that can be tested.
func Targets() []Entry {
	return []Entry{{TargetReference, "the reference broker of this program, which speaks the Kafka protocol"}}
}

// Options lists the keys of --set.
func Options() []reference.Option { return reference.Options() }

// Faults lists the faults, with the environments that have the abilities for them.
func Faults() ([]FaultEntry, error) {
	spec := Default()
	spec.Nodes = 4 // enough for every role and shape
	clusters := make(map[string]harness.Cluster)
	for _, env := range Environments() {
		spec.Env = env
		c, err := spec.idleCluster()
		if err != nil {
			return nil, err
		}
		clusters[env] = c
	}
	var all []FaultEntry
	for _, info := range nemesis.List() {
		faults, err := nemesis.Faults(info.Name)
		if err != nil {
			return nil, err
		}
		entry := FaultEntry{Info: spellable(info)}
		for _, env := range Environments() {
			if faults[0].Supports(clusters[env]) == nil {
				entry.Envs = append(entry.Envs, env)
			}
		}
		all = append(all, entry)
	}
	return all, nil
}

// spellable leaves what can be written: a role may be there only as the default of a fault without one, and a shape may be combined.
func spellable(info nemesis.Info) nemesis.Info {
	can := func(text string) bool {
		_, err := nemesis.Parse(text)
		return err == nil
	}
	info.Roles = slices.DeleteFunc(slices.Clone(info.Roles), func(role string) bool { return !can(info.Name + ":" + role) })
	const withClients = "with-clients"
	if can(info.Name + "/" + withClients) {
		info.Shapes = append(slices.Clone(info.Shapes), withClients)
	}
	return info
}
