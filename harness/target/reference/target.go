// Package reference is the reference broker as a target: what a cluster of it is made of, the
// client that drives it, and what an operator asks of it. It knows no environment: those hand it
// addresses and a way to dial. What it promises is in package promise below it.
package reference

import (
	"github.com/assay-project/assay/checker/contract"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/harness/target/reference/promise"
	"github.com/assay-project/assay/histories"
)

// Name is the target's name.
const Name = "reference"

// Target returns the reference broker as a target.
func Target() *target.Target {
	return &target.Target{
		Name:    Name,
		Doc:     "the reference broker of this program, which speaks the Kafka protocol",
		Modes:   modes(),
		Options: Options(),
		Configure: func(c target.Config) (map[string]string, error) {
			s, err := Spec(c).Settings()
			if err != nil {
				return nil, err
			}
			return s.Effective(), nil
		},
		New:       newSystem,
		Functions: []string{histories.Send, histories.Poll, histories.Final, histories.Scan},
		Promise: func(c target.Config) (contract.Promise, error) {
			cfg, err := promise.Parse(c.Mode, c.Nodes, c.Options)
			if err != nil {
				return contract.Promise{}, err
			}
			return cfg.Promise(), nil
		},
	}
}
