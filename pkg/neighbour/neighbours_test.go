package neighbour

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

func named(name, namespace string) manifest.ID {
	return manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
}

func of(pipeline string) v1alpha1.Target {
	return v1alpha1.Target{Pipeline: pipeline, Environment: "prod"}
}

func TestATargetThatIsNotRenderedIsRenderedForAnObjectThatItsFilesName(t *testing.T) {
	rendered := map[string]int{}
	unrendered := func(pipeline string, renders bool, files, ids []manifest.ID) Unrendered {
		return Unrendered{
			Target: of(pipeline), Set: "set-" + pipeline,
			MayName: func(id manifest.ID) bool {
				for _, each := range files {
					if each.Name == id.Name {
						return true
					}
				}
				return false
			},
			Render: func() ([]manifest.ID, bool) { rendered[pipeline]++; return ids, renders },
		}
	}
	n := All{
		Named:   map[manifest.Key]v1alpha1.Target{Place(named("a", "")): of("known")},
		Sets:    map[string]v1alpha1.Target{"set-known": of("known"), "set-broken": of("broken"), "set-later": of("later")},
		Unknown: []Unknown{{Target: of("broken"), MayName: func(id manifest.ID) string { return id.Name + " may be in a file" }}},
		Unrendered: []Unrendered{
			unrendered("later", true, []manifest.ID{named("b", ""), named("c", "")}, []manifest.ID{named("b", "")}),
			unrendered("other", true, nil, nil),
		},
	}
	for name, want := range map[string]string{"a": "known@prod", "b": "later@prod", "c": "@", "d": "@"} {
		got, ok := n.NamedBy(named(name, manifest.DefaultNamespace))
		if got.String() != want || ok != (want != "@") {
			t.Errorf("%s is named by %q, %v; want %q", name, got, ok, want)
		}
	}
	if rendered["other"] != 0 {
		t.Error("a target was rendered for objects that its files do not name")
	}
	for set, want := range map[string]bool{"set-known": true, "set-broken": false, "set-later": true, "set-nobody": false} {
		if n.Settled(set) != want {
			t.Errorf("%s: settled is %v", set, !want)
		}
	}
	if n.Doubt(of("known"), named("x", "")) == "" || n.Doubt(of("broken"), named("x", "")) != "" {
		t.Error("an object is in doubt for every target but the one that does not render")
	}
}

func TestAnObjectWithoutANamespaceIsInTheDefaultOne(t *testing.T) {
	if Place(named("a", "")) != Place(named("a", "default")) || Place(named("a", "shop")) == Place(named("a", "")) {
		t.Error("the places differ")
	}
}
