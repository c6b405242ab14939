package pin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// A rule for signatures is not escaped by a template.
func TestTemplatesAreNotSigned(t *testing.T) {
	w := &target.Desired{
		Environment: &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{Signatures: []v1alpha1.Signature{{Match: "registry.example.com/*", PublicKeyFile: "key.pub"}}}},
		Rendered: target.Rendered{Refs: []image.Reference{
			{Path: "spec.a", Value: "registry.example.com/a:{{tag}}", Form: image.Template},
			{Path: "spec.b", Value: "other.example.com/a:{{tag}}", Form: image.Template},
			{Path: "spec.c", Value: "{{image}}", Form: image.Template},
		}},
	}
	err := newDecider(resolverOf(time.Now, nil), w, Request{}).verify(t.Context(), Decision{})
	refused, ok := errors.AsType[*image.RefusedError](err)
	if !ok || refused.Path != "spec.a" || !strings.Contains(fmt.Sprint(err), "spec.c: {{image}} is refused: images.signatures") || strings.Contains(fmt.Sprint(err), "spec.b") {
		t.Errorf("got %v", err)
	}
}

// Each image that has to be signed is verified once in its target: a rollback needs no registry.
func TestSignatures(t *testing.T) {
	deployments := 20
	for name, c := range map[string]struct {
		signed map[string]bool
		record *v1alpha1.PipelineSync
		asked  string
		want   string // a part of the error
	}{
		"signed":                 {signed: map[string]bool{"sha256:web": true}, asked: "signature of sha256:web, web:1"},
		"not signed":             {asked: "signature of sha256:web, web:1", want: "spec.a: sha256:web is not signed by key.pub"},
		"deployed before":        {record: &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{{Reference: "web:1", Digest: "sha256:web"}}}}},
		"another digest was":     {record: &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{{Reference: "web:1", Refresh: "r", Digest: "sha256:old"}}}}, asked: "signature of sha256:web, web:1", want: "not signed"},
		"another repository had": {record: &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{{Reference: "db:1", Digest: "sha256:web"}}}}, asked: "signature of sha256:web, web:1", want: "not signed"},
	} {
		from := &hub{digests: map[string]string{"web:1": "sha256:web"}, signed: c.signed}
		d := deciding(v1alpha1.Pin, v1alpha1.KeepPins{Deployments: &deployments})
		d.resolver.Source = func(image.Credentials) image.Source { return from }
		d.desired.Environment.Images.Signatures = []v1alpha1.Signature{{Match: "index.docker.io/library/web", PublicKeyFile: "key.pub"}}
		d.desired.Record = c.record
		d.desired.Rendered.Refs = []image.Reference{{Path: "spec.a", Value: "web:1", Form: image.Tag}}
		_, err := d.resolver.Decide(t.Context(), d.desired, Request{Lookups: d.resolver.NewLookups()})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if asked := from.questions(); asked != c.asked {
			t.Errorf("%s: asked %q", name, asked)
		}
	}
}
