package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// annotatedStep is the step of an object of git with an annotation, which may be empty.
func annotatedStep(t *testing.T, kind, name, annotation, value string) *Step {
	t.Helper()
	s := stepOf(t, fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s, namespace: data}\n", kind, name), "")
	if annotation != "" {
		s.Rendered.SetAnnotations(map[string]string{annotation: value})
	}
	return s
}

func dependent(t *testing.T, kind, name string, on ...string) *Step {
	t.Helper()
	return annotatedStep(t, kind, name, annotationDependsOn, strings.Join(on, ", "))
}

// executed describes the order of execution; `=` stands between steps that do not wait for each other.
func executed(steps []*Step) string {
	var out strings.Builder
	var last *Step
	for _, s := range InOrder(steps) {
		switch {
		case last == nil:
		case last.Order.At == s.Order.At:
			out.WriteString(" = ")
		default:
			out.WriteString(" < ")
		}
		out.WriteString(s.Change.ID.Kind + "/" + s.Change.ID.Name)
		last = s
	}
	return out.String()
}

func TestStepsAreOrdered(t *testing.T) {
	const settings, account, pod = "ConfigMap", "ServiceAccount", "Pod"
	for name, c := range map[string]struct {
		steps []*Step
		want  string
	}{
		"by their kinds": {
			[]*Step{annotatedStep(t, pod, "a", "", ""), annotatedStep(t, settings, "b", "", ""), annotatedStep(t, account, "c", "", ""), annotatedStep(t, "Namespace", "d", "", ""), annotatedStep(t, "Secret", "e", "", "")},
			"Namespace/d < ServiceAccount/c < ConfigMap/b = Secret/e < Pod/a",
		},
		"by their waves first": {
			[]*Step{annotatedStep(t, account, "a", annotationWave, "1"), annotatedStep(t, pod, "b", annotationWave, "-2"), annotatedStep(t, settings, "c", "", "")},
			"Pod/b < ConfigMap/c < ServiceAccount/a",
		},
		"by their dependencies": {
			[]*Step{dependent(t, settings, "a", "/namespaces/data/ConfigMap/b"), dependent(t, settings, "b", "/namespaces/data/ConfigMap/c"), annotatedStep(t, settings, "c", "", ""), annotatedStep(t, settings, "d", "", "")},
			"ConfigMap/c = ConfigMap/d < ConfigMap/b < ConfigMap/a",
		},
		"a dependency of a later stage": {
			[]*Step{dependent(t, account, "a", "/namespaces/data/Pod/b"), annotatedStep(t, pod, "b", "", ""), annotatedStep(t, settings, "c", "", "")},
			"ConfigMap/c < Pod/b < ServiceAccount/a",
		},
		"a dependency of an earlier stage": {
			[]*Step{dependent(t, pod, "a", "/namespaces/data/ServiceAccount/b"), annotatedStep(t, account, "b", "", ""), annotatedStep(t, pod, "c", "", "")},
			"ServiceAccount/b < Pod/a = Pod/c",
		},
	} {
		if err := order(c.steps); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := executed(c.steps); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestDependenciesOutsideTheSetAreNoted(t *testing.T) {
	s := dependent(t, "ConfigMap", "a", "batch/namespaces/data/Job/b", "/namespaces/data/ConfigMap/c", "example.com/Zone/z")
	if err := order([]*Step{s, annotatedStep(t, "ConfigMap", "c", "", "")}); err != nil {
		t.Fatal(err)
	}
	var outside []string
	for _, id := range s.Order.Outside {
		outside = append(outside, id.String())
	}
	if got := strings.Join(outside, ", "); got != "Job/data/b, Zone/z" || len(s.Order.After) != 1 || s.Order.After[0] != (manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: "c"}).Key() {
		t.Errorf("outside: %s; after: %v", got, s.Order.After)
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	const noObject = `names no object; write GROUP/KIND/NAME or GROUP/namespaces/NAMESPACE/KIND/NAME`
	for name, c := range map[string]struct {
		steps []*Step
		want  string
	}{
		"a circle of one":       {[]*Step{dependent(t, "ConfigMap", "a", "/namespaces/data/ConfigMap/a")}, "ConfigMap/data/a: annotation config.kubernetes.io/depends-on goes in a circle: ConfigMap/data/a on ConfigMap/data/a"},
		"a circle of two":       {[]*Step{dependent(t, "ConfigMap", "a", "/namespaces/data/ConfigMap/b"), dependent(t, "ConfigMap", "b", "/namespaces/data/ConfigMap/a")}, "ConfigMap/data/a: annotation config.kubernetes.io/depends-on goes in a circle: ConfigMap/data/a on ConfigMap/data/b on ConfigMap/data/a"},
		"a step to a circle":    {[]*Step{dependent(t, "ConfigMap", "a", "/namespaces/data/ConfigMap/b"), dependent(t, "ConfigMap", "b", "/namespaces/data/ConfigMap/b")}, "ConfigMap/data/b: annotation config.kubernetes.io/depends-on goes in a circle: ConfigMap/data/b on ConfigMap/data/b"},
		"a wave that is a word": {[]*Step{annotatedStep(t, "ConfigMap", "a", annotationWave, "first")}, `ConfigMap/data/a: annotation argocd.argoproj.io/sync-wave: "first" is not a whole number`},
		"a name alone":          {[]*Step{dependent(t, "ConfigMap", "a", "b")}, `ConfigMap/data/a: annotation config.kubernetes.io/depends-on: "b" ` + noObject},
		"an empty name":         {[]*Step{dependent(t, "ConfigMap", "a", "/ConfigMap/")}, `ConfigMap/data/a: annotation config.kubernetes.io/depends-on: "/ConfigMap/" ` + noObject},
		"another word":          {[]*Step{dependent(t, "ConfigMap", "a", "/namespace/data/ConfigMap/b")}, `ConfigMap/data/a: annotation config.kubernetes.io/depends-on: "/namespace/data/ConfigMap/b" ` + noObject},
	} {
		if err := order(c.steps); err == nil || err.Error() != c.want {
			t.Errorf("%s:\n%v\nwant\n%s", name, err, c.want)
		}
	}
}

// A prune uses the annotations of the live object. A faulty one there keeps nothing back.
func TestPrunesAreOrderedByTheLiveObject(t *testing.T) {
	live := func(name, annotation, value string) *Step {
		s := annotatedStep(t, "ConfigMap", name, annotation, value)
		return &Step{Change: manifest.Change{ID: s.Change.ID, Action: manifest.Prune, Live: s.Rendered}}
	}
	steps := []*Step{live("a", annotationWave, "3"), live("b", annotationDependsOn, "nothing"), live("c", annotationDependsOn, "/namespaces/data/ConfigMap/a")}
	if err := order(steps); err != nil {
		t.Fatal(err)
	}
	if got := executed(steps); got != "ConfigMap/b < ConfigMap/a < ConfigMap/c" {
		t.Errorf("the order: %s", got)
	}
}
