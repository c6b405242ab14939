// package v1alpha1 holds the formats of users' files and of syncer's record, as Go types: the configuration
// (syncer.yaml), a pipeline's own settings (pipeline.yaml) and the PipelineSync record. It touches nothing outside the
// bytes it is given.
//
// +groupName=syncer.dev
// +versionName=v1alpha1
package v1alpha1

const (
	// Group is the API group of the record and of the annotations.
	Group = "syncer.dev"
	// Version is the version of all formats in this package.
	Version = "v1alpha1"
	// APIVersion stands at the top of every document.
	APIVersion = Group + "/" + Version
)
