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
