package target

import (
	"cmp"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/follow"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/renderers"
	"github.com/syncerdev/syncer/pkg/source"
)

// Desired is the desired state of one target, from a commit and the record. It is not written after planning.
type Desired struct {
	Target      v1alpha1.Target
	Environment *v1alpha1.Environment
	Cluster     *cluster.Cluster
	Record      *v1alpha1.PipelineSync // nil: never deployed
	Snapshot    source.Snapshot
	Overlay     string                    // "": git does not have this target any more
	Settings    v1alpha1.PipelineSettings // of pipeline.yaml
	Policies    plan.Policies             // by which its objects are changed
	Level       int                       // the length of the longest chain of targets that it depends on
	Rendered    Rendered
	Signature   follow.Signature
	Err         error // why it cannot be deployed
}

// Rendered is the rendered overlay of one target.
type Rendered struct {
	From *Rendering      // nil: it was not rendered; the earlier one if no file that it read has changed
	Set  manifest.Packed // with tags as git writes them
	// Provides are the namespaces and kinds that the set creates.
	Provides neighbour.Provides
	// Fields are the image fields that pipeline.yaml names.
	Fields []image.Field
	Refs   []image.Reference
	// MostRefs is how many references the target may have.
	MostRefs int
	// Suspects are values that look like references and that nothing names.
	Suspects []image.Suspect

	build renderers.Builder // for a target that is rendered by itself
}

// MissingOverlayError says that a pipeline exists and one of its overlays is gone.
type MissingOverlayError struct {
	Overlay string
	Target  v1alpha1.Target
}

func (e *MissingOverlayError) Error() string {
	return fmt.Sprintf("the overlay %s is gone while the pipeline's folder stands; restore it, or, to delete what runs there, add the trailer `Syncer-Allow-Prune: %s` to a commit message", e.Overlay, e.Target)
}

// Desired returns the desired state of a pipeline in an environment, from git. It is not rendered, and has neither
// record nor cluster.
func (p *Planner) Desired(pipeline *Pipeline, environment *v1alpha1.Environment, snap source.Snapshot) *Desired {
	pipeline.mu.Lock()
	defer pipeline.mu.Unlock()
	if pipeline.desired[environment.Name] == nil {
		pipeline.desired[environment.Name] = newDesired(pipeline, environment)
	}
	d := *pipeline.desired[environment.Name]
	d.Snapshot = snap
	d.Rendered.MostRefs, d.Rendered.build = p.Config.Render.MostImages(), p.Renderings.builder()
	return &d
}

func newDesired(pipeline *Pipeline, environment *v1alpha1.Environment) *Desired {
	settings := pipeline.settingsOf(environment.Name)
	d := &Desired{
		Target:      v1alpha1.Target{Pipeline: pipeline.Name, Environment: environment.Name},
		Environment: environment, Overlay: pipeline.Overlays[environment.Name],
		Settings: settings.values,
	}
	rules, ruleErr := rulesOf(d.Settings, environment)
	d.Policies = rules
	if d.Err = settings.err; d.Err == nil {
		d.Rendered.Fields, d.Err = imageFields(d.Settings.Images.Fields)
	}
	if d.Err == nil {
		d.Err = ruleErr
	}
	if from := environment.Images.PromoteFrom; d.Err == nil && from != "" && d.Policy() == v1alpha1.Track {
		d.Err = fmt.Errorf("%s: images.policy: promoted digests do not follow tags, and %s promotes from %s; use policy Pin", SettingsFile, environment.Name, from)
	}
	if !v1alpha1.ValidPipelineName(pipeline.Name) {
		d.Err = fmt.Errorf("the folder's name %q cannot name a record; use lower-case letters, digits, dashes and dots", pipeline.Name)
	}
	return d
}

func imageFields(fields []v1alpha1.ImageField) ([]image.Field, error) {
	out := make([]image.Field, len(fields))
	for i, field := range fields {
		var err error
		if out[i], err = image.NewField(field.Group, field.Kind, field.Path); err != nil {
			return nil, fmt.Errorf("%s: images.fields[%d]: %w", SettingsFile, i, err)
		}
	}
	return out, nil
}

// rulesOf returns the rules by which the objects of a target are changed. If there is an error, they are valid except
// for Ignore.
func rulesOf(settings v1alpha1.PipelineSettings, environment *v1alpha1.Environment) (rules plan.Policies, err error) {
	rules = EnvironmentPolicies(environment)
	rules.OnRunning, rules.Rerun = cmp.Or(settings.OnRunning, rules.OnRunning), settings.Rerun
	rules.Ignore, err = ignoreRules(settings.Ignore)
	return rules, err
}

// EnvironmentPolicies are the policies of a target for which git has no settings any more.
func EnvironmentPolicies(environment *v1alpha1.Environment) plan.Policies {
	return plan.Policies{OnRunning: environment.OnRunning, Propagation: environment.Prune.Propagation}
}

func ignoreRules(rules []v1alpha1.IgnoreRule) ([]ignore.Rule, error) {
	out := make([]ignore.Rule, len(rules))
	for i, rule := range rules {
		fields := v1alpha1.FieldRule{Group: rule.Group, Kind: rule.Kind, Namespace: rule.Namespace, Name: rule.Name, Paths: rule.Paths}
		var err error
		if out[i], err = FieldRule(fmt.Sprintf("%s: ignore[%d]", SettingsFile, i), fields); err != nil {
			return nil, err
		}
		out[i].Managers = rule.Managers
	}
	return out, nil
}

// FieldRule reads a rule of the configuration that names fields. The place names the rule in errors.
func FieldRule(place string, rule v1alpha1.FieldRule) (ignore.Rule, error) {
	out := ignore.Rule{Place: place, Group: rule.Group, Kind: rule.Kind, Namespace: rule.Namespace, Name: rule.Name}
	for n, text := range rule.Paths {
		path, err := manifest.ParsePath(text)
		if err != nil {
			return out, fmt.Errorf("%s.paths[%d]: %w", place, n, err)
		}
		out.Paths = append(out.Paths, path)
	}
	return out, nil
}
