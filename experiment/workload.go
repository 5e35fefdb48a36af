package experiment

import (
	"fmt"

	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target/reference"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/workloads/log"
)

// newWorkload returns the workload of a name for a configuration, as it drives a cluster.
func newWorkload(name string, s reference.Settings) (harness.Workload, error) {
	if name != workloadLog {
		return nil, fmt.Errorf("there is no workload %q; there is %s", name, workloadLog)
	}
	return log.New(logConfig(s))
}

func logConfig(s reference.Settings) log.Config {
	cfg := log.Config{Partitions: s.Client.Partitions, Batch: s.Client.Batch, FromFollower: s.Client.ReadFollower, Copies: s.Copies()}
	if s.Client.Acks != -1 {
		cfg.Copies = 1 // such an acknowledgement waits for the leader's append alone
	}
	if s.Client.Acks == 0 {
		cfg.Stall = 2 * maxTime // no send is ever acknowledged, so that none is acknowledged is no stall
	}
	return cfg
}

// judgingWorkload is newWorkload for the judging of a run: what reads under load promise depends on what happened.
//
// A master-slave leader's reads are linearizable while nobody promotes another one, where an acknowledged message is visible at
// once: with acks=all, or when everything appended is visible.
func judgingWorkload(name string, s reference.Settings, h histories.Reader) (harness.Workload, error) {
	if name != workloadLog {
		return newWorkload(name, s)
	}
	cfg := logConfig(s)
	visible := s.Client.Acks == -1 || s.Broker.VisibleAppended
	cfg.LinearReads = visible && !s.Client.ReadFollower && len(contract.FactsOf(h).Promotions) == 0
	return log.New(cfg)
}
