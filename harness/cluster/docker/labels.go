package docker

import (
	"maps"

	"github.com/assay-project/assay/internal/owner"
)

// Labels of everything that this package creates.
const (
	// Label marks a container, network, volume or image as assay's.
	Label = "assay"
	// LabelRun holds the run's ID.
	LabelRun = "assay.run"
	// LabelNode holds the node's ID, on containers and volumes.
	LabelNode = "assay.node"
	// LabelOwner holds the process that must remove the thing, as owner.Owner spells it.
	LabelOwner = "assay.owner"
)

// labels returns the labels of a thing of one run, with more added.
func labels(runID string, more map[string]string) map[string]string {
	all := map[string]string{Label: "1", LabelRun: runID, LabelOwner: owner.Self().String()}
	maps.Copy(all, more)
	return all
}
