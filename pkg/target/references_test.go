package target

import (
	"errors"
	"reflect"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Each place that uses a reference is named with the reason, and the reason stays part of the error.
func TestBlameNamesPlacesAndReason(t *testing.T) {
	object := manifest.ID{Kind: "Deployment", Namespace: "shop", Name: "web"}
	d := &Desired{Rendered: Rendered{Refs: []image.Reference{
		{Object: object, Path: "spec.a", Value: "web:1"}, {Object: object, Path: "spec.b", Value: "web:2"}, {Object: object, Path: "spec.c", Value: "web:1"},
	}}}
	errs := d.PlaceErrors("web:1", image.ErrNotFound)
	if len(errs) != 2 {
		t.Fatalf("%d errors: %v", len(errs), errs)
	}
	for i, path := range []string{"spec.a", "spec.c"} {
		if want := "Deployment/shop/web: " + path + ": " + image.ErrNotFound.Error(); errs[i].Error() != want || !errors.Is(errs[i], image.ErrNotFound) {
			t.Errorf("%v, want %s", errs[i], want)
		}
	}
}

func TestPinKeyHasTheRefreshTextAndTheRange(t *testing.T) {
	d := &Desired{Environment: &v1alpha1.Environment{}, Settings: v1alpha1.PipelineSettings{Images: v1alpha1.PipelineImages{
		Refresh: map[string]string{"r.io/web:1": "again"}, Select: []v1alpha1.ImageSelect{{Repository: "r.io/job", Semver: "v1.x"}},
	}}}
	for reference, want := range map[string]PinKey{
		"r.io/web:1":       {Reference: "r.io/web:1", Refresh: "again"},
		"r.io/web:2":       {Reference: "r.io/web:2"},
		"r.io/job:1":       {Reference: "r.io/job:1", Semver: "v1.x"},
		"r.io/job@sha256:": {Reference: "r.io/job@sha256:"},
	} {
		if got := d.PinKey(reference); got != want {
			t.Errorf("%s: %+v", reference, got)
		}
	}
	if pin := (v1alpha1.PinnedImage{Reference: "r.io/job:1", Semver: "v1.x", Tag: "v1.4", Digest: "sha256:a"}); KeyOf(pin) != d.PinKey("r.io/job:1") {
		t.Errorf("the key of a pin: %+v", KeyOf(pin))
	}
}

func TestReferencesByRangeGetTheirTag(t *testing.T) {
	d := &Desired{Settings: v1alpha1.PipelineSettings{Images: v1alpha1.PipelineImages{Select: []v1alpha1.ImageSelect{{Repository: "r.io/job", Semver: "v1.x"}}}}}
	for _, value := range []string{"r.io/web:1", "r.io/job:0"} {
		d.Rendered.Refs = append(d.Rendered.Refs, image.Reference{Value: value, Form: image.Tag})
	}
	d.Rendered.Refs = append(d.Rendered.Refs, image.Reference{Value: "r.io/job@sha256:a", Form: image.Digest})
	written, chosen := d.ByRange(map[string]image.Resolved{"r.io/job:0": {Tag: "v1.4", Digest: "sha256:b"}})
	if len(written) != 2 || written[0].Value != "r.io/web:1" || written[1].Value != "r.io/job@sha256:a" {
		t.Errorf("with the tag of git: %+v", written)
	}
	if len(chosen) != 1 || chosen[0].Value != "r.io/job:v1.4" {
		t.Errorf("with the tag of a range: %+v", chosen)
	}
}

func TestPolicyOfThePipelineReplacesThatOfTheEnvironment(t *testing.T) {
	d := &Desired{Environment: &v1alpha1.Environment{Images: v1alpha1.ImagePolicy{Policy: v1alpha1.Pin}}}
	if d.Policy() != v1alpha1.Pin {
		t.Error(d.Policy())
	}
	if d.Settings.Images.Policy = v1alpha1.Track; d.Policy() != v1alpha1.Track {
		t.Error(d.Policy())
	}
}

// A record gives digests to the references that git writes with a tag, each once, and to no template.
func TestDigestsOfARecord(t *testing.T) {
	d := &Desired{Rendered: Rendered{Refs: []image.Reference{
		{Value: "r.io/web:1", Form: image.Tag}, {Value: "r.io/web:1", Form: image.Tag}, {Value: "r.io/new:1", Form: image.Tag},
		{Value: "r.io/{{ image }}", Form: image.Template}, {Value: "r.io/job@sha256:c", Form: image.Digest},
	}}}
	record := &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: []v1alpha1.PinnedImage{
		{Reference: "r.io/web:1", Digest: "sha256:a"}, {Reference: "r.io/old:1", Digest: "sha256:b"}, {Reference: "r.io/job@sha256:c", Digest: "sha256:c"},
	}}}
	if got := len(Distinct(d.Rendered.Refs)); got != 3 {
		t.Errorf("%d distinct references", got)
	}
	if got, want := d.Recorded(record), (map[string]image.Resolved{"r.io/web:1": {Digest: "sha256:a"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
