package target

import (
	"errors"
	"testing"

	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Each place that uses a reference is named with the reason, and the reason stays part of the error.
func TestBlameNamesPlacesAndReason(t *testing.T) {
	object := manifest.ID{Kind: "Deployment", Namespace: "shop", Name: "web"}
	d := &Desired{Rendered: Rendered{Refs: []image.Reference{
		{Object: object, Path: "spec.a", Value: "web:1"}, {Object: object, Path: "spec.b", Value: "web:2"}, {Object: object, Path: "spec.c", Value: "web:1"},
	}}}
	errs := d.Blame("web:1", image.ErrNotFound)
	if len(errs) != 2 {
		t.Fatalf("%d errors: %v", len(errs), errs)
	}
	for i, path := range []string{"spec.a", "spec.c"} {
		if want := "Deployment/shop/web: " + path + ": " + image.ErrNotFound.Error(); errs[i].Error() != want || !errors.Is(errs[i], image.ErrNotFound) {
			t.Errorf("%v, want %s", errs[i], want)
		}
	}
}
