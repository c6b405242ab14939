package drift

import (
	"fmt"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// CheckedImage is one place that runs an image by digest, and its registry's answer of today.
type CheckedImage struct {
	Object    manifest.ID
	Path      string
	Reference string // as git writes it, with the tag that was deployed
	Deployed  string // digest
	Now       string // the digest that the tag has now; "" where the tag is gone
	Missing   bool   // the deployed digest is gone
}

// Images turns the answers of registries about deployed images into findings. A target with the policy Pin does not
// deploy a moved tag; the finding reports that a build pushed other bytes under a name that was in use.
func Images(pipeline, environment string, images []CheckedImage) []Finding {
	var findings []Finding
	for _, image := range images {
		base := Finding{Pipeline: pipeline, Environment: environment, Object: image.Object, Path: image.Path, Desired: image.Deployed}
		switch {
		case image.Missing:
			base.Kind, base.Severity = ImageMissing, Critical
			base.Message = fmt.Sprintf("%s runs %s, which its registry no longer has: a new node cannot pull it; push the image again, or deploy another", image.Object, image.Reference)
		case image.Now == "":
			base.Kind, base.Severity = TagMoved, Warning
			base.Message = fmt.Sprintf("the tag of %s is gone; %s keeps the digest that it was deployed by", image.Reference, image.Object)
		case image.Now != image.Deployed:
			base.Kind, base.Severity, base.Live = TagMoved, Warning, image.Now
			base.Message = fmt.Sprintf("the tag of %s moved; %s keeps the digest that it was deployed by (refresh the pin in pipeline.yaml to deploy what the tag is now)", image.Reference, image.Object)
		default:
			continue
		}
		findings = append(findings, base)
	}
	return findings
}
