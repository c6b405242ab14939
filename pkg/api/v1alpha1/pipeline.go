package v1alpha1

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// Pipeline is pipeline.yaml, which may stand in a pipeline's folder.
type Pipeline struct {
	APIVersion       string `yaml:"apiVersion"`
	Kind             string `yaml:"kind"`
	PipelineSettings `yaml:",inline"`
	// Environments override the settings above in one environment.
	Environments map[string]PipelineSettings `yaml:"environments"`
}

// PipelineSettings are the settings of a pipeline, for all environments or for one of them.
type PipelineSettings struct {
	// Owner is the contact of the pipeline: syncer names it beside a failure.
	Owner string `yaml:"owner"`
	// DependsOn names pipelines that must be carried out and healthy in the same environment, at the same commit, before
	// a change of this one is.
	DependsOn []string `yaml:"dependsOn"`
	// Suspend leaves the pipeline as it is until it is false again; changes in git wait.
	Suspend *bool `yaml:"suspend"`
	// ServiceAccount is NAMESPACE/NAME: every call for the pipeline's objects is made as that account, so that its RBAC
	// is the fence.
	ServiceAccount string `yaml:"serviceAccount"`
	// HealthTimeout is how long a deployment may take to become healthy before it counts as failed. Default: 10m.
	HealthTimeout Duration `yaml:"healthTimeout"`
	// OnRunning decides about a change of an object that is running: wait, replace or skip.
	OnRunning OnRunning `yaml:"onRunning"`
	// Rerun says whether a changed object that ran to its end, and that its operator does not run again by itself, is
	// deleted and created again: Never (the default) or OnChange.
	Rerun Rerun `yaml:"rerun"`
	// Ignore lists fields that another manager decides, not git.
	Ignore []IgnoreRule   `yaml:"ignore"`
	Images PipelineImages `yaml:"images"`
}

// IgnoreRule names fields that git may set when an object is created, and that belong to another manager from then on: a
// HorizontalPodAutoscaler's replicas, an injected certificate. Empty parts match everything.
type IgnoreRule struct {
	Group     string `yaml:"group"`
	Kind      string `yaml:"kind"`
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
	// Paths of fields, such as spec.replicas or webhooks[*].clientConfig.caBundle.
	Paths []string `yaml:"paths"`
	// Managers are field managers whose fields are theirs.
	Managers []string `yaml:"managers"`
}

// PipelineImages names more fields with image references, and the policies for their digests.
type PipelineImages struct {
	// Policy replaces the environment's policy.
	Policy PinPolicy    `yaml:"policy"`
	Fields []ImageField `yaml:"fields"`
	// Select gives the tag of a repository's references by a semver range, in place of the tag that git writes.
	Select []ImageSelect `yaml:"select"`
	// Refresh looks a reference up again: any new value for it means a new digest, and a commit that restores the value
	// restores the earlier digest.
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
	pipeline.validate(problems, "")
	for _, env := range slices.Sorted(maps.Keys(pipeline.Environments)) {
		pipeline.Environments[env].validate(problems, "environments."+env)
	}
	return pipeline, problems.err()
}

var accountName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

func (s PipelineSettings) validate(p *problems, at string) {
	s.OnRunning.validate(p, join(at, "onRunning"))
	s.Rerun.validate(p, join(at, "rerun"))
	if s.ServiceAccount != "" && !accountName.MatchString(s.ServiceAccount) {
		p.add(join(at, "serviceAccount"), "%q is not a service account; write NAMESPACE/NAME", s.ServiceAccount)
	}
	if s.HealthTimeout.Duration < 0 {
		p.add(join(at, "healthTimeout"), "%s is below 0", s.HealthTimeout.Duration)
	}
	for n, name := range s.DependsOn {
		if !ValidPipelineName(name) {
			p.add(fmt.Sprintf("%s[%d]", join(at, "dependsOn"), n), "%q is not the name of a pipeline", name)
		}
	}
	for n, rule := range s.Ignore {
		rule.validate(p, fmt.Sprintf("%s[%d]", join(at, "ignore"), n))
	}
	s.Images.validate(p, join(at, "images"))
}

func (r IgnoreRule) validate(p *problems, at string) {
	if len(r.Paths)+len(r.Managers) == 0 {
		p.add(at, "it names neither paths nor managers, and so nothing; to leave a whole object alone, annotate it with %s/reconcile: disabled", Group)
	}
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

// For returns the settings in force in one environment: an override replaces the settings that it names.
func (p *Pipeline) For(environment string) PipelineSettings {
	settings, override := p.PipelineSettings, p.Environments[environment]
	settings.Owner = cmp.Or(override.Owner, settings.Owner)
	settings.ServiceAccount = cmp.Or(override.ServiceAccount, settings.ServiceAccount)
	settings.HealthTimeout = cmp.Or(override.HealthTimeout, settings.HealthTimeout)
	settings.OnRunning = cmp.Or(override.OnRunning, settings.OnRunning)
	settings.Rerun = cmp.Or(override.Rerun, settings.Rerun)
	settings.Suspend = cmp.Or(override.Suspend, settings.Suspend)
	settings.Images.Policy = cmp.Or(override.Images.Policy, settings.Images.Policy)
	if override.DependsOn != nil {
		settings.DependsOn = override.DependsOn
	}
	if override.Ignore != nil {
		settings.Ignore = override.Ignore
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
