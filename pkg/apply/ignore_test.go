package apply_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// replicas reads the wanted number of replicas of a deployment.
func (b *bench) replicas(name string) int64 {
	b.t.Helper()
	n, _ := b.get(deployments, b.namespace, name).Object["spec"].(map[string]any)["replicas"].(int64)
	return n
}

// scale does the same as a HorizontalPodAutoscaler.
func (b *bench) scale(name, replicas string) {
	b.t.Helper()
	patch := []byte(`{"spec": {"replicas": ` + replicas + `}}`)
	_, err := b.admin.Resource(deployments).Namespace(b.namespace).Patch(b.ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "autoscaler"}, "scale")
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestIgnoredFieldsAreTheirs(t *testing.T) {
	for name, rule := range map[string]ignore.Rule{
		"by path":    {Kind: "Deployment", Paths: []manifest.Path{mustPath("spec.replicas")}},
		"by manager": {Group: "apps", Managers: []string{"autoscaler"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			with := rules(plan.Policies{Ignore: []ignore.Rule{rule}})
			doc := strings.Replace(service(""), "replicas: 1", "replicas: 3", 1)
			set := b.set(doc)
			b.sync(set, with)
			if got := b.replicas("web"); got != 3 {
				t.Fatalf("created with %d replicas", got)
			}
			// Git changes another field before another manager has set this one.
			b.sync(b.set(strings.Replace(doc, "web:1", "web:2", 1)), with)
			if got := b.replicas("web"); got != 3 {
				t.Errorf("an apply made it %d replicas", got)
			}
			b.scale("web", "5")
			if got := actions(b.plan(b.set(strings.Replace(doc, "web:1", "web:2", 1)), full, with).Changes()); got != "" {
				t.Errorf("drift: %s", got)
			}
			set = b.set(strings.Replace(doc, "web:1", "web:3", 1))
			b.sync(set, with)
			if got := b.replicas("web"); got != 5 {
				t.Errorf("an apply made it %d replicas", got)
			}
			if got := images(b.get(deployments, b.namespace, "web")); got != "web:3" {
				t.Errorf("it runs %s", got)
			}
			if got := actions(b.plan(set, with).Changes()); got != "" {
				t.Errorf("a second pass: %s", got)
			}
			b.by("kubectl", `{"spec":{"replicas":6}}`, "scale")
			want := ""
			if len(rule.Managers) > 0 {
				want = "Update Deployment/web (drifted)" // by another manager
			}
			if got := actions(b.plan(set, with).Changes()); got != want {
				t.Errorf("scaled by hand: %q", got)
			}
			// Without the rule it is drift again.
			if got := actions(b.plan(set, full).Changes()); got != "Update Deployment/web (drifted)" {
				t.Errorf("without the rule: %s", got)
			}
		})
	}
}

func TestFieldsAreTakenBackFromAName(t *testing.T) {
	b := newBench(t)
	set := b.set(service(""))
	b.sync(set)
	b.scale("web", "4")
	planned := b.plan(set)
	if got := planned.Changes()[0].Taken; len(got) != 1 || got[0] != (manifest.Taken{Path: "spec.replicas", Manager: "autoscaler"}) {
		t.Errorf("taken: %v", got)
	}
}

func TestObjectThatIsLeftAlone(t *testing.T) {
	const alone = "annotations: {syncer.dev/reconcile: disabled}"
	b := newBench(t)
	b.sync(b.set(join(settings("one", "1"), settings("two", "1"))))
	b.edit(configMaps, "one", `{"metadata": {"annotations": {"syncer.dev/reconcile": "disabled"}}, "data": {"key": "mine"}}`)
	inGit := strings.Replace(settings("two", "2"), "namespace: $NS", "namespace: $NS, "+alone, 1)
	set := b.set(join(settings("one", "2"), inGit))
	if got := actions(b.sync(set).Changes); got != "" {
		t.Errorf("applied: %s", got)
	}
	if got := actions(b.plan(set, full).Changes()); got != "" {
		t.Errorf("drift: %s", got)
	}
	if got := actions(b.sync(b.set(settings("three", "1"))).Changes); got != "Create ConfigMap/three, Prune ConfigMap/two" {
		t.Errorf("without them: %s", got)
	}
}
