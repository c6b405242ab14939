package answer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var (
	services = schema.GroupResource{Resource: "services"}
	service  = schema.GroupKind{Kind: "Service"}
	web      = manifest.ID{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "web"}
)

func invalid(message string) error {
	return apierrors.NewInvalid(service, "web", field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIP"), "10.0.0.1", message)})
}

func forbidden(text string) error { return apierrors.NewForbidden(services, "web", errors.New(text)) }

func TestPassing(t *testing.T) {
	for _, c := range []struct {
		name                         string
		err                          error
		retryable, passes, permanent bool
	}{
		{"none", nil, false, false, false},
		{"busy", apierrors.NewTooManyRequests("", 1), true, true, false},
		{"away", apierrors.NewServiceUnavailable("x"), true, true, false},
		{"hung up", fmt.Errorf("reading: %w", io.EOF), true, true, false},
		{"webhook away", apierrors.NewInternalError(errors.New(`failed calling webhook "x"`)), true, true, false},
		{"new quota", forbidden("status unknown for quota: q"), true, true, false},
		{"ends by itself", WillPass("it passes"), false, true, false},
		{"overtaken", &OvertakenError{Target: v1alpha1.Target{Pipeline: "a", Environment: "b"}}, false, true, false},
		{"invalid", invalid("no"), false, false, true},
		{"no schema", apierrors.NewInternalError(errors.New("duplicate key")), false, false, true},
		{"rights", forbidden("no"), false, false, false},
	} {
		if Retryable(c.err) != c.retryable || c.err != nil && (IsPassing(c.err) != c.passes || IsPermanent(c.err) != c.permanent) {
			t.Errorf("%s: retryable %t, passing %t, permanent %t", c.name, Retryable(c.err), IsPassing(c.err), IsPermanent(c.err))
		}
	}
}

func TestRefusals(t *testing.T) {
	immutable := invalid("field is immutable")
	for _, c := range []struct {
		name                              string
		err                               error
		refusal, immutableOnly, contested bool
	}{
		{"a field that cannot change", immutable, true, true, false},
		{"a wrong value", invalid("must be an address"), true, false, false},
		{"an address in use", invalid("provided IP is already allocated"), true, false, true},
		{"a policy", forbidden("the policy says no"), true, false, false},
		{"a missing right", forbidden(`User "a" cannot patch resource "services" in API group ""`), false, false, false},
		{"a full quota", forbidden("exceeded quota: q"), false, false, true},
		{"not there", apierrors.NewNotFound(services, "web"), false, false, false},
	} {
		if IsRefusal(c.err) != c.refusal || IsImmutableOnly(c.err) != c.immutableOnly || IsContested(c.err) != c.contested {
			t.Errorf("%s: refusal %t, immutable only %t, contested %t", c.name, IsRefusal(c.err), IsImmutableOnly(c.err), IsContested(c.err))
		}
	}
	if !SameRefusal(immutable, immutable) || SameRefusal(immutable, invalid("must be an address")) || SameRefusal(immutable, nil) {
		t.Error("refusals are the same when they share a reason")
	}
}

func TestIsOfObject(t *testing.T) {
	for name, err := range map[string]error{
		"a refusal": invalid("no"), "an ending namespace": WillPass("it goes"), "a group that is not known": Undiscovered(schema.GroupVersion{Group: "a", Version: "v1"}, io.EOF),
		"a silent kind": SilentKind(Unlisted(service.WithVersion("v1"), io.EOF)),
	} {
		if !IsOfObject(err) {
			t.Errorf("%s is about the server", name)
		}
	}
	for name, err := range map[string]error{"no answer": io.EOF, "no login": apierrors.NewUnauthorized("x"), "busy": apierrors.NewTooManyRequests("", 1), "no list": Unlisted(service.WithVersion("v1"), io.EOF)} {
		if IsOfObject(err) {
			t.Errorf("%s is about one object", name)
		}
	}
}

func TestExplain(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "web", "namespace": "shop"}}}
	missing := &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Code: 404, Details: &metav1.StatusDetails{Kind: "namespaces", Name: "shop"}}}
	for _, c := range []struct {
		name string
		err  error
		want []string
	}{
		{"a right", forbidden(`User "a" cannot patch resource "services" in API group ""`), []string{"Service/shop/web: trying: ", "give a a Role or ClusterRole that allows to patch services"}},
		{"a namespace", missing, []string{"Service/shop/web: namespace shop is not there"}},
		{"a field", invalid("field is immutable"), []string{"a live object cannot change this field: give the object a new name", v1alpha1.AnnotationForce}},
		{"a whole object", errors.New(`spec: Invalid value: {"a":{"b":1}}: no`), []string{"Invalid value: {...}: no"}},
	} {
		text := Explain(obj, web, "trying", c.err).Error()
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", c.name, text, want)
			}
		}
	}
	if Explain(obj, web, "trying", nil) != nil {
		t.Error("no error needs no explanation")
	}
	claim := manifest.ID{APIVersion: "v1", Kind: "PersistentVolumeClaim", Name: "data"}
	if text := WayOut(claim); !strings.Contains(text, "syncer never deletes a") {
		t.Error(text)
	}
	if got := Join([]error{errors.New("b"), nil, errors.New("a")}).Error(); got != "a\nb" {
		t.Errorf("joined: %q", got)
	}
}
