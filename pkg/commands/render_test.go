package commands

import (
	"strings"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

func imageOf(t *testing.T, r Rendered) string {
	t.Helper()
	for _, obj := range r.Set {
		if obj.GetKind() == "CronJob" {
			containers := bench.Value(obj, "spec", "jobTemplate", "spec", "template", "spec", "containers")
			return containers.([]any)[0].(map[string]any)["image"].(string)
		}
	}
	t.Fatal("there is no CronJob")
	return ""
}

func TestRenderPrintsWhatASyncApplies(t *testing.T) {
	p := newProject(t, "")
	digest := p.push("ingest:v1")
	p.commit(pipeline("a", plain("a", "1"), nightly), "First")
	options := RenderOptions{Pipeline: "a", Environment: "prod"}
	render := func(options RenderOptions) Rendered {
		t.Helper()
		out, err := p.session.Render(p.Ctx, options)
		if err != nil || len(out.Set) != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
		return out
	}
	reference := p.registry + "/ingest:v1"
	if out := render(options); imageOf(t, out) != reference+"@"+digest || out.Note != "" { // before the first deployment
		t.Errorf("%s, %s", imageOf(t, out), out.Note)
	}
	p.sync()
	p.push("ingest:v1") // the tag moves
	out := render(options)
	if imageOf(t, out) != reference+"@"+digest {
		t.Errorf("it is not what was deployed: %s", imageOf(t, out))
	}
	key, value := v1alpha1.MemberLabel(p.Records, v1alpha1.Target{Pipeline: "a", Environment: "prod"})
	if out.Set[0].GetLabels()[key] != value {
		t.Errorf("the labels: %v", out.Set[0].GetLabels())
	}
	options.Tags = true
	if out := render(options); imageOf(t, out) != reference || len(out.Set[0].GetLabels()) > 0 {
		t.Errorf("git says %s", imageOf(t, out))
	}
	// Without its cluster, the digests come from the registry.
	p.session.Config.Environments[1].Cluster.Kubeconfig = "/nowhere"
	options.Tags = false
	if out := render(options); imageOf(t, out) == reference+"@"+digest || !strings.Contains(out.Note, "the record cannot be read") {
		t.Errorf("%s, %s", imageOf(t, out), out.Note)
	}
	inProd := pipeline("b", plain("b", "1"))
	delete(inProd, "pipelines/b/overlays/dev/kustomization.yaml")
	p.commit(inProd, "One overlay")
	for want, options := range map[string]RenderOptions{
		`no pipeline "x"`:                   {Pipeline: "x", Environment: "prod"},
		"test":                              {Pipeline: "a", Environment: "test"},
		"v9":                                {Pipeline: "a", Environment: "prod", Revision: "v9"},
		"pipeline b has no overlay for dev": {Pipeline: "b", Environment: "dev"},
	} {
		_, err := p.session.Render(p.Ctx, options)
		bench.WantError(t, err, want)
	}
}

func TestRefreshOfATag(t *testing.T) {
	p := newProject(t, "")
	first := p.push("ingest:v1")
	p.commit(pipeline("a", nightly), "First")
	p.sync("prod")
	moved := p.push("ingest:v1")
	of, reference := v1alpha1.Target{Pipeline: "a", Environment: "prod"}, p.registry+"/ingest:v1"
	refresh, err := p.session.Refresh(p.Ctx, of, reference)
	if err != nil || refresh.File != "pipelines/a/pipeline.yaml" || refresh.Before != "" {
		t.Fatalf("%+v, %v", refresh, err)
	}
	p.commit(pipeline("a", nightly).and(files{refresh.File: refresh.After}), refresh.Subject)
	pass := p.sync("prod")
	if got := pass.Targets[0].Images[0].Digest; got != moved || got == first {
		t.Errorf("the digest is %s", got)
	}
	if again, err := p.session.Refresh(p.Ctx, of, reference); err != nil || again.Before != refresh.After || again.After == refresh.After {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = p.session.Refresh(p.Ctx, of, "web:v1")
	bench.WantError(t, err, "a@prod does not use web:v1 by a tag; it uses "+reference)
	_, err = p.session.Refresh(p.Ctx, v1alpha1.Target{Pipeline: "x", Environment: "prod"}, reference)
	bench.WantError(t, err, `no overlay of pipeline "x" for prod`)
	_, err = p.session.Refresh(p.Ctx, v1alpha1.Target{Pipeline: "a", Environment: "test"}, reference)
	bench.WantError(t, err, "test")
}
