package plan_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestDefinitionAndItsObjectsInOneSet(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Join(
		bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 3"),
		bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "two", "size: 4"),
	))
	applied := pass.Sync(b, set)
	if got := bench.Actions(applied.Changes); got != "Create CustomResourceDefinition/widgets."+b.Group()+", Create Widget/one, Create Widget/two" {
		t.Errorf("the apply: %s", got)
	}
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
}

func TestDefinitionNamespaceAndObjectInOneSet(t *testing.T) {
	b := bench.New(t)
	fresh := b.Namespace + "-fresh"
	set := b.Set(bench.Join(
		bench.Custom(b.Group(), "v1", "Widget", fresh, "one", "size: 3"),
		bench.Settings("plain", "1"),
		bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+fresh+"}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: "+fresh+"}\n",
		"apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: many, namespace: "+fresh+"}\nspec: {hard: {count/configmaps: \"20\"}}\n",
	))
	pass.Sync(b, set)
	if b.Get(bench.ConfigMaps, fresh, "inside") == nil {
		t.Error("the object in the new namespace is not there")
	}
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	if applied := pass.Sync(b, b.Set(bench.Settings("plain", "1"))); len(applied.Inventory) != 1 {
		t.Errorf("after everything else left git: %s", bench.Names(applied.Inventory))
	}
}

// A refused object of a new kind is found in its stage, and the error names it.
func TestBadObjectOfANewKindIsNamed(t *testing.T) {
	b := bench.New(t)
	_, err := pass.TrySync(b, b.Set(bench.Join(
		bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "bad", "size: many"),
	)))
	bench.WantError(t, err, "Widget/", "/bad: ", "size")
}

func TestDefinitionInAnotherSetOfThePass(t *testing.T) {
	b := bench.New(t)
	definitions := b.Other("definitions")
	bringing := definitions.Set(bench.Join(
		bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		bench.Definition(b.Group(), "Planet", "Cluster", "v1 size: {type: integer}"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+b.Namespace+"-fresh}\n",
	))
	set := b.Set(bench.Join(
		bench.Custom(b.Group(), "v1", "Widget", b.Namespace+"-fresh", "one", "size: 3"),
		bench.Custom(b.Group(), "v1", "Planet", b.Namespace, "earth", "size: 3"), // with the namespace that kustomize sets
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inside, namespace: "+b.Namespace+"-fresh}\n",
	))
	if _, err := pass.TryPlan(b, set); err == nil {
		t.Error("a plan that knows nothing of the other set passes")
	}
	planned := pass.Plan(b, set, func(req *plan.Request) { req.Provides = neighbour.ProvidedBy(bringing) })
	pass.Sync(definitions, bringing)
	applied, err := apply.Carry(b.Ctx, b.Cluster, planned, apply.Options{Spec: b.Spec()})
	if err != nil {
		t.Fatal(err)
	}
	b.Save(applied.Inventory)
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	for _, entry := range applied.Inventory {
		if entry.Kind == "Planet" && entry.Namespace != "" {
			t.Errorf("an object without a namespace is recorded in %s", entry.Namespace)
		}
	}
}

func TestClusterScopedKind(t *testing.T) {
	b := bench.New(t)
	definition := bench.Definition(b.Group(), "Planet", "Cluster", "v1 size: {type: integer}")
	pass.Sync(b, b.Set(definition))
	// Kustomize's namespace applies also to objects of unknown kinds.
	set := b.Set(bench.Join(definition, bench.Custom(b.Group(), "v1", "Planet", b.Namespace, "earth", "size: 3")))
	pass.Sync(b, set)
	if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
		t.Errorf("the second plan: %s", got)
	}
	if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != "" {
		t.Errorf("the full plan: %s", got)
	}
	planets := schema.GroupVersionResource{Group: b.Group(), Version: "v1", Resource: "planets"}
	if b.Get(planets, "", "earth") == nil {
		t.Error("the object is not there")
	}
	pass.Sync(b, b.Set(definition))
	if b.Get(planets, "", "earth") != nil {
		t.Error("the object is not pruned")
	}
}

func TestDefinitionThatGrowsTogetherWithItsObject(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(
		bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"),
		bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 3"),
	)))
	t.Run("by a field", func(t *testing.T) {
		set := b.Set(bench.Join(
			bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}, colour: {type: string}"),
			bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 3, colour: red"),
		))
		pass.Sync(b, set)
		if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
			t.Errorf("the second plan: %s", got)
		}
	})
	t.Run("by a version", func(t *testing.T) {
		set := b.Set(bench.Join(
			bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}, colour: {type: string}", "v2 size: {type: integer}, colour: {type: string}"),
			bench.Custom(b.Group(), "v2", "Widget", b.Namespace, "one", "size: 3, colour: red"),
			bench.Custom(b.Group(), "v2", "Widget", b.Namespace, "two", "size: 3, colour: red"),
		))
		pass.Sync(b, set)
		if got := bench.Actions(pass.Plan(b, set).Changes()); got != "" {
			t.Errorf("the second plan: %s", got)
		}
	})
}

func TestKindThatIsGone(t *testing.T) {
	b := bench.New(t)
	definition := bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}")
	b.Create(bench.CRDs, definition)
	widget := bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 3")
	b.Eventually("the kind is served", func() bool { _, err := pass.TryPlan(b, b.Set(widget)); return err == nil })
	pass.Sync(b, b.Set(bench.Join(widget, bench.Settings("plain", "1"))))
	b.Delete(bench.CRDs, "", "widgets."+b.Group())
	b.Eventually("the definition is gone", func() bool { return b.Get(bench.CRDs, "", "widgets."+b.Group()) == nil })

	// The same client, which has seen the kind, and a client that has not.
	for _, who := range []string{"running", "started anew"} {
		t.Run(who, func(t *testing.T) {
			if who == "started anew" {
				b.Restart()
			}
			b.Eventually("the API server stops serving the kind", func() bool {
				planned, err := pass.TryPlan(b, b.Set(widget))
				if err != nil || len(planned.Uncompared()) != 1 {
					return false
				}
				return strings.Contains(planned.Uncompared()[0].Err.Error(), "the cluster serves no kind Widget")
			})
			if _, err := pass.TryPlan(b, b.Set(bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "one", "size: 4"))); err == nil || !strings.Contains(err.Error(), "the cluster serves no kind Widget") {
				t.Errorf("git changes the object, and the error is %v", err)
			}
			planned := pass.Plan(b, b.Set(bench.Settings("plain", "1")))
			if got := bench.Actions(planned.Changes()); got != "" {
				t.Errorf("the plan: %s", got)
			}
			if got := bench.Names(planned.Inventory()); got != "ConfigMap/plain" {
				t.Errorf("the inventory: %s", got)
			}
		})
	}
	pass.Sync(b, b.Set(bench.Settings("plain", "2")))
	if got := b.Record().Annotations["applyset.kubernetes.io/contains-group-kinds"]; got != "ConfigMap" {
		t.Errorf("the record still names the kinds %s", got)
	}
}
