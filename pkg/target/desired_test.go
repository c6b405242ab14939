package target

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/source"
)

// settled is the desired state of the pipeline etl in the environment prod, with some text of pipeline.yaml.
func settled(t *testing.T, environment *v1alpha1.Environment, text string) *Desired {
	t.Helper()
	files := fstest.MapFS{
		"pipelines/etl/overlays/prod/kustomization.yaml": {Data: []byte("resources: []\n")},
		"pipelines/etl/pipeline.yaml":                    {Data: []byte("apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\n" + text)},
	}
	p := &Planner{Config: &v1alpha1.Config{Source: v1alpha1.Source{Layout: "pipelines/{pipeline}/overlays/{environment}"}, Environments: []v1alpha1.Environment{*environment}}}
	snap := source.Snapshot{Commit: "c0ffee", Files: files}
	pipelines, err := p.Discover(snap)
	if err != nil || len(pipelines) != 1 {
		t.Fatalf("%v, %v", pipelines, err)
	}
	return p.Desired(pipelines[0], environment, snap)
}

func TestSettingsThatCannotBeUsedFailTheirTarget(t *testing.T) {
	plain, promoted := v1alpha1.Environment{Name: "prod"}, v1alpha1.Environment{Name: "prod", Images: v1alpha1.ImagePolicy{PromoteFrom: "staging"}}
	for name, c := range map[string]struct {
		environment v1alpha1.Environment
		text, want  string
	}{
		"none":                    {plain, "", ""},
		"an unknown key":          {plain, "ownr: data\n", "pipelines/etl/pipeline.yaml:3: ownr"},
		"an image field":          {plain, "images: {fields: [{group: example.com, kind: Training, path: spec.image}]}\n", ""},
		"a field of a push":       {plain, "images: {fields: [{group: kpack.io, kind: Image, path: spec.tag}]}\n", ""},
		"Track where one follows": {plain, "images: {policy: Track}\n", ""},
		"Track where one promotes": {promoted, "images: {policy: Track}\n",
			"pipeline.yaml: images.policy: promoted digests do not follow tags, and prod promotes from staging; use policy Pin"},
	} {
		t.Run(name, func(t *testing.T) {
			d := settled(t, &c.environment, c.text)
			if got := errorText(d.Err); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Settings may be valid YAML and still name fields that cannot be read.
func TestFieldsThatCannotBeReadAreNamedByTheirPlace(t *testing.T) {
	_, err := imageFields([]v1alpha1.ImageField{{Kind: "Training", Path: "spec.image"}, {Kind: "Training", Path: "spec..image"}})
	if got := errorText(err); !strings.HasPrefix(got, "pipeline.yaml: images.fields[1]: ") {
		t.Errorf("an image field: %q", got)
	}
	rules := []v1alpha1.IgnoreRule{{Kind: "Deployment", Paths: []string{"spec.replicas"}, Managers: []string{"autoscaler"}}, {Paths: []string{"spec.replicas", "spec.[x"}}}
	read, err := ignoreRules(rules[:1])
	if err != nil || len(read) != 1 || read[0].Kind != "Deployment" || len(read[0].Paths) != 1 || read[0].Managers[0] != "autoscaler" {
		t.Errorf("an ignore rule: %+v, %v", read, err)
	}
	if _, err := ignoreRules(rules); !strings.HasPrefix(errorText(err), "pipeline.yaml: ignore[1].paths[1]: ") {
		t.Errorf("an ignore rule: %v", err)
	}
}

func TestRulesOfThePipelineReplaceThoseOfTheEnvironment(t *testing.T) {
	environment := v1alpha1.Environment{Name: "prod", OnRunning: v1alpha1.Wait}
	if d := settled(t, &environment, ""); d.Policies.OnRunning != v1alpha1.Wait {
		t.Errorf("without settings: %s", d.Policies.OnRunning)
	}
	if d := settled(t, &environment, "onRunning: skip\n"); d.Policies.OnRunning != v1alpha1.Skip {
		t.Errorf("with settings: %s, %v", d.Policies.OnRunning, d.Err)
	}
}

func TestNameOfAFolderThatCannotNameARecord(t *testing.T) {
	environment := &v1alpha1.Environment{Name: "prod"}
	d := (&Planner{Config: &v1alpha1.Config{}}).Desired(newPipeline(nil, "My_Pipeline", ""), environment, source.Snapshot{})
	if got := errorText(d.Err); !strings.Contains(got, `the folder's name "My_Pipeline" cannot name a record`) {
		t.Errorf("got %q", got)
	}
}

func TestMissingOverlayNamesTheTrailer(t *testing.T) {
	var err error = &MissingOverlayError{Overlay: "pipelines/etl/overlays/prod", Target: v1alpha1.Target{Pipeline: "etl", Environment: "prod"}}
	var missing *MissingOverlayError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "the overlay pipelines/etl/overlays/prod is gone") || !strings.Contains(err.Error(), "`Syncer-Allow-Prune: etl@prod`") {
		t.Error(err)
	}
}
