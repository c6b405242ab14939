package v1alpha1

import (
	"fmt"
	"maps"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// Pipeline is pipeline.yaml, which may stand in a pipeline's folder.
type Pipeline struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	// Owner is who to call: syncer names them beside a failure.
	Owner  string         `yaml:"owner"`
	Images PipelineImages `yaml:"images"`
	// Environments override the settings above in one environment.
	Environments map[string]PipelineOverride `yaml:"environments"`
}

// PipelineOverride is what a pipeline may say for one environment only.
type PipelineOverride struct {
	Owner  string         `yaml:"owner"`
	Images PipelineImages `yaml:"images"`
}

// PipelineImages says where image references stand besides the fields that syncer knows, and what decides their digests.
type PipelineImages struct {
	// Policy replaces that of the environment.
	Policy PinPolicy    `yaml:"policy"`
	Fields []ImageField `yaml:"fields"`
	// Select gives the tag of a repository's references by a semver range, in place of the tag that git writes.
	Select []ImageSelect `yaml:"select"`
	// Refresh looks a reference up again: a new value for it, whatever it is, means a new digest, and a commit that
	// takes the value back takes the earlier digest back.
	Refresh map[string]string `yaml:"refresh"`
}

// ImageSelect is a semver range for one repository: the highest tag that matches is deployed.
type ImageSelect struct {
	Repository string `yaml:"repository"`
	Semver     string `yaml:"semver"`
}

// ImageField is a field of one kind that holds an image reference, such as spec.workers[*].image.
type ImageField struct {
	Group string `yaml:"group"`
	Kind  string `yaml:"kind"`
	Path  string `yaml:"path"`
}

// DecodePipeline reads a pipeline.yaml strictly. The name stands in errors.
func DecodePipeline(name string, data []byte) (*Pipeline, error) {
	pipeline := &Pipeline{}
	doc, err := decode(name, data, "Pipeline", pipeline)
	if err != nil {
		return nil, err
	}
	problems := &problems{file: name, doc: doc}
	pipeline.Images.validate(problems, "images")
	for _, env := range slices.Sorted(maps.Keys(pipeline.Environments)) {
		pipeline.Environments[env].Images.validate(problems, "environments."+env+".images")
	}
	return pipeline, problems.err()
}

func (i PipelineImages) validate(p *problems, at string) {
	if i.Policy != "" {
		i.Policy.validate(p, at+".policy")
	}
	for n, s := range i.Select {
		if s.Repository == "" {
			p.add(fmt.Sprintf("%s.select[%d].repository", at, n), "it is required, such as registry.example.com/data/job")
		}
		if _, err := semver.NewConstraint(s.Semver); err != nil || s.Semver == "" {
			p.add(fmt.Sprintf("%s.select[%d].semver", at, n), "%q is not a range; write v1.4.x or >=1.4 <2", s.Semver)
		}
	}
	for n, field := range i.Fields {
		if field.Kind == "" {
			p.add(fmt.Sprintf("%s.fields[%d].kind", at, n), "it is required")
		}
		if field.Path == "" {
			p.add(fmt.Sprintf("%s.fields[%d].path", at, n), "it is required, such as spec.workers[*].image")
		}
	}
}

// For returns the settings in force in one environment: an override replaces what it names.
func (p *Pipeline) For(environment string) PipelineOverride {
	settings := PipelineOverride{Owner: p.Owner, Images: p.Images}
	override := p.Environments[environment]
	if override.Owner != "" {
		settings.Owner = override.Owner
	}
	if override.Images.Policy != "" {
		settings.Images.Policy = override.Images.Policy
	}
	if override.Images.Fields != nil {
		settings.Images.Fields = override.Images.Fields
	}
	if override.Images.Select != nil {
		settings.Images.Select = override.Images.Select
	}
	settings.Images.Refresh = maps.Clone(settings.Images.Refresh)
	if settings.Images.Refresh == nil {
		settings.Images.Refresh = map[string]string{}
	}
	maps.Copy(settings.Images.Refresh, override.Images.Refresh)
	return settings
}
