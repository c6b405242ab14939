package apply_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/plan"
)

// crd defines a kind in a group of the test, with a schema that has the given properties of spec.
func crd(group, kind, scope string, versions ...string) string {
	plural := strings.ToLower(kind) + "s"
	text := fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.%[2]s}
spec:
  group: %[2]s
  scope: %[3]s
  names: {kind: %[4]s, listKind: %[4]sList, plural: %[1]s, singular: %[5]s}
  versions:
`, plural, group, scope, kind, strings.ToLower(kind))
	for i, version := range versions {
		name, properties, _ := strings.Cut(version, " ")
		text += fmt.Sprintf(`  - name: %s
    served: true
    storage: %v
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {%s}}
`, name, i == 0, properties)
	}
	return text
}

func custom(group, version, kind, namespace, name, spec string) string {
	return fmt.Sprintf("apiVersion: %s/%s\nkind: %s\nmetadata: {name: %s, namespace: %q}\nspec: {%s}\n", group, version, kind, name, namespace, spec)
}

// group is a CRD group that no other test uses.
func (b *bench) group() string { return b.namespace + ".example.com" }

func TestDefinitionAndItsObjectsInOneSet(t *testing.T) {
	b := newBench(t)
	set := b.set(join(
		custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 3"),
		crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		custom(b.group(), "v1", "Widget", b.namespace, "two", "size: 4"),
	))
	applied := b.sync(set)
	if got := actions(applied.Changes); got != "Create CustomResourceDefinition/widgets."+b.group()+", Create Widget/one, Create Widget/two" {
		t.Errorf("the apply: %s", got)
	}
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
}

func TestDefinitionNamespaceAndObjectInOneSet(t *testing.T) {
	b := newBench(t)
	fresh := b.namespace + "-fresh"
	set := b.set(join(
		custom(b.group(), "v1", "Widget", fresh, "one", "size: 3"),
		settings("plain", "1"),
		crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+fresh+"}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: "+fresh+"}\n",
		"apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: many, namespace: "+fresh+"}\nspec: {hard: {count/configmaps: \"20\"}}\n",
	))
	b.sync(set)
	if b.get(configMaps, fresh, "inside") == nil {
		t.Error("the object in the new namespace is not there")
	}
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	if applied := b.sync(b.set(settings("plain", "1"))); len(applied.Inventory) != 1 {
		t.Errorf("after everything else left git: %s", inventoryNames(applied.Inventory))
	}
}

// A refused object of a new kind is found in its stage, and the error names it.
func TestBadObjectOfANewKindIsNamed(t *testing.T) {
	b := newBench(t)
	_, err := b.trySync(b.set(join(
		crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		custom(b.group(), "v1", "Widget", b.namespace, "bad", "size: many"),
	)))
	wantError(t, err, "Widget/", "/bad: ", "size")
}

func TestDefinitionInAnotherSetOfThePass(t *testing.T) {
	b := newBench(t)
	definitions := b.other("definitions")
	bringing := definitions.set(join(
		crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		crd(b.group(), "Planet", "Cluster", "v1 size: {type: integer}"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+b.namespace+"-fresh}\n",
	))
	set := b.set(join(
		custom(b.group(), "v1", "Widget", b.namespace+"-fresh", "one", "size: 3"),
		custom(b.group(), "v1", "Planet", b.namespace, "earth", "size: 3"), // with the namespace that kustomize sets
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: "+b.namespace+"-fresh}\n",
	))
	if _, err := b.tryPlan(set); err == nil {
		t.Error("a plan that knows nothing of the other set passes")
	}
	planned := b.plan(set, func(req *plan.Request) { req.Provides = plan.ProvidedBy(bringing) })
	definitions.sync(bringing)
	applied, err := apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()})
	if err != nil {
		t.Fatal(err)
	}
	b.save(applied.Inventory)
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	for _, entry := range applied.Inventory {
		if entry.Kind == "Planet" && entry.Namespace != "" {
			t.Errorf("an object without a namespace is recorded in %s", entry.Namespace)
		}
	}
}

func TestClusterScopedKind(t *testing.T) {
	b := newBench(t)
	definition := crd(b.group(), "Planet", "Cluster", "v1 size: {type: integer}")
	b.sync(b.set(definition))
	// Kustomize's namespace applies also to objects of unknown kinds.
	set := b.set(join(definition, custom(b.group(), "v1", "Planet", b.namespace, "earth", "size: 3")))
	b.sync(set)
	if got := actions(b.plan(set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	if got := actions(b.plan(set, full).Changes()); got != "" {
		t.Errorf("the full plan: %s", got)
	}
	planets := schema.GroupVersionResource{Group: b.group(), Version: "v1", Resource: "planets"}
	if b.get(planets, "", "earth") == nil {
		t.Error("the object is not there")
	}
	b.sync(b.set(definition))
	if b.get(planets, "", "earth") != nil {
		t.Error("the object is not pruned")
	}
}

func TestDefinitionThatGrowsTogetherWithItsObject(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(
		crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 3"),
	)))
	t.Run("by a field", func(t *testing.T) {
		set := b.set(join(
			crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}, colour: {type: string}"),
			custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 3, colour: red"),
		))
		b.sync(set)
		if got := actions(b.plan(set).Changes()); got != "" {
			t.Errorf("the second plan: %s", got)
		}
	})
	t.Run("by a version", func(t *testing.T) {
		set := b.set(join(
			crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}, colour: {type: string}", "v2 size: {type: integer}, colour: {type: string}"),
			custom(b.group(), "v2", "Widget", b.namespace, "one", "size: 3, colour: red"),
			custom(b.group(), "v2", "Widget", b.namespace, "two", "size: 3, colour: red"),
		))
		b.sync(set)
		if got := actions(b.plan(set).Changes()); got != "" {
			t.Errorf("the second plan: %s", got)
		}
	})
}

func TestKindThatSomebodyInstallsIsNoticedWithoutARestart(t *testing.T) {
	b := newBench(t)
	set := b.set(custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 3"))
	_, err := b.tryPlan(set)
	wantError(t, err, "Widget/"+b.namespace+"/one: the cluster serves no kind Widget in "+b.group()+"/v1; install its CRD")
	b.create(crds, crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"))
	b.eventually("the kind is noticed", func() bool {
		_, err := b.tryPlan(set)
		return err == nil
	})
	b.sync(set)
}

func TestKindThatIsGone(t *testing.T) {
	b := newBench(t)
	definition := crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}")
	b.create(crds, definition)
	widget := custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 3")
	b.eventually("the kind is served", func() bool { _, err := b.tryPlan(b.set(widget)); return err == nil })
	b.sync(b.set(join(widget, settings("plain", "1"))))
	b.delete(crds, "", "widgets."+b.group())
	b.eventually("the definition is gone", func() bool { return b.get(crds, "", "widgets."+b.group()) == nil })

	// The same client, which has seen the kind, and a client that has not.
	for _, who := range []string{"running", "started anew"} {
		t.Run(who, func(t *testing.T) {
			if who == "started anew" {
				b.restart()
			}
			b.eventually("the API server stops serving the kind", func() bool {
				planned, err := b.tryPlan(b.set(widget))
				if err != nil || len(planned.Uncompared()) != 1 {
					return false
				}
				return strings.Contains(planned.Uncompared()[0].Err.Error(), "the cluster serves no kind Widget")
			})
			if _, err := b.tryPlan(b.set(custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 4"))); err == nil || !strings.Contains(err.Error(), "the cluster serves no kind Widget") {
				t.Errorf("git changes the object, and the error is %v", err)
			}
			planned := b.plan(b.set(settings("plain", "1")))
			if got := actions(planned.Changes()); got != "" {
				t.Errorf("the plan: %s", got)
			}
			if got := inventoryNames(planned.Inventory()); got != "ConfigMap/plain" {
				t.Errorf("the inventory: %s", got)
			}
		})
	}
	b.sync(b.set(settings("plain", "2")))
	if got := b.record().Annotations["applyset.kubernetes.io/contains-group-kinds"]; got != "ConfigMap" {
		t.Errorf("the record still names the kinds %s", got)
	}
}

// Discovery is partial while the server of an aggregated API does not answer. The kinds of this API are not gone.
func TestKindWhoseServerDoesNotAnswerIsNotGone(t *testing.T) {
	b := newBench(t)
	b.create(apiServices, fmt.Sprintf(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.%[1]s}
spec:
  group: %[1]s
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 10
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: $NS}
`, b.group()))
	t.Cleanup(func() {
		if err := b.admin.Resource(apiServices).Delete(context.Background(), "v1."+b.group(), metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	set := b.set(join(settings("plain", "1"), custom(b.group(), "v1", "Widget", b.namespace, "one", "size: 3")))
	b.eventually("discovery is partial", func() bool {
		_, err := b.tryPlan(set)
		return err != nil && !strings.Contains(err.Error(), "serves no kind")
	})
	_, err := b.tryPlan(set)
	wantError(t, err, "the API server cannot say what "+b.group()+"/v1 serves")
	// All other objects are applied.
	b.sync(b.set(settings("plain", "1")))
}
