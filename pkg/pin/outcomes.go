package pin

import "github.com/syncerdev/syncer/pkg/api/v1alpha1"

// Outcomes of a deployment in a record's history.
const (
	outcomeApplied = "Applied"
	outcomeHeld    = "Held"
)

// runningImages returns the images that run by a record's history: those of a held deployment do not.
func runningImages(history []v1alpha1.Deployment) []v1alpha1.DeployedImage {
	for _, d := range history {
		if d.Outcome != outcomeHeld {
			return d.Images
		}
	}
	if len(history) > 0 {
		return history[0].Images
	}
	return nil
}
