package plan_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// replicas reads the wanted number of replicas of a deployment.
func replicasOf(b *bench.Bench, name string) int64 {
	b.T.Helper()
	n, _ := b.Get(bench.Deployments, b.Namespace, name).Object["spec"].(map[string]any)["replicas"].(int64)
	return n
}

// scale does the same as a HorizontalPodAutoscaler.
func scaleTo(b *bench.Bench, name, replicas string) {
	b.T.Helper()
	patch := []byte(`{"spec": {"replicas": ` + replicas + `}}`)
	_, err := b.Admin.Resource(bench.Deployments).Namespace(b.Namespace).Patch(b.Ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "autoscaler"}, "scale")
	if err != nil {
		b.T.Fatal(err)
	}
}

func TestIgnoredFieldsAreTheirs(t *testing.T) {
	for name, rule := range map[string]ignore.Rule{
		"by path":    {Kind: "Deployment", Paths: []manifest.Path{bench.MustPath("spec.replicas")}},
		"by manager": {Group: "apps", Managers: []string{"autoscaler"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			with := pass.Under(plan.Policies{Ignore: []ignore.Rule{rule}})
			doc := strings.Replace(bench.Service(""), "replicas: 1", "replicas: 3", 1)
			set := b.Set(doc)
			pass.Sync(b, set, with)
			if got := replicasOf(b, "web"); got != 3 {
				t.Fatalf("created with %d replicas", got)
			}
			// Git changes another field before another manager has set this one.
			pass.Sync(b, b.Set(strings.Replace(doc, "web:1", "web:2", 1)), with)
			if got := replicasOf(b, "web"); got != 3 {
				t.Errorf("an apply made it %d replicas", got)
			}
			scaleTo(b, "web", "5")
			if got := bench.Actions(pass.Plan(b, b.Set(strings.Replace(doc, "web:1", "web:2", 1)), pass.Full, with).Changes()); got != "" {
				t.Errorf("drift: %s", got)
			}
			set = b.Set(strings.Replace(doc, "web:1", "web:3", 1))
			pass.Sync(b, set, with)
			if got := replicasOf(b, "web"); got != 5 {
				t.Errorf("an apply made it %d replicas", got)
			}
			if got := bench.Images(b.Get(bench.Deployments, b.Namespace, "web")); got != "web:3" {
				t.Errorf("it runs %s", got)
			}
			if got := bench.Actions(pass.Plan(b, set, with).Changes()); got != "" {
				t.Errorf("a second pass: %s", got)
			}
			patchWeb(b, "kubectl", `{"spec":{"replicas":6}}`, "scale")
			want := ""
			if len(rule.Managers) > 0 {
				want = "Update Deployment/web (drifted)" // by another manager
			}
			if got := bench.Actions(pass.Plan(b, set, with).Changes()); got != want {
				t.Errorf("scaled by hand: %q", got)
			}
			// Without the rule it is drift again.
			if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != "Update Deployment/web (drifted)" {
				t.Errorf("without the rule: %s", got)
			}
		})
	}
}

func TestFieldsAreTakenBackFromAName(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Service(""))
	pass.Sync(b, set)
	scaleTo(b, "web", "4")
	planned := pass.Plan(b, set)
	if got := planned.Changes()[0].Taken; len(got) != 1 || got[0] != (manifest.Taken{Path: "spec.replicas", Manager: "autoscaler"}) {
		t.Errorf("taken: %v", got)
	}
}

func TestObjectThatIsLeftAlone(t *testing.T) {
	const alone = "annotations: {syncer.dev/reconcile: disabled}"
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("one", "1"), bench.Settings("two", "1"))))
	b.Edit(bench.ConfigMaps, "one", `{"metadata": {"annotations": {"syncer.dev/reconcile": "disabled"}}, "data": {"key": "mine"}}`)
	inGit := strings.Replace(bench.Settings("two", "2"), "namespace: $NS", "namespace: $NS, "+alone, 1)
	set := b.Set(bench.Join(bench.Settings("one", "2"), inGit))
	if got := bench.Actions(pass.Sync(b, set).Changes); got != "" {
		t.Errorf("applied: %s", got)
	}
	if got := bench.Actions(pass.Plan(b, set, pass.Full).Changes()); got != "" {
		t.Errorf("drift: %s", got)
	}
	if got := bench.Actions(pass.Sync(b, b.Set(bench.Settings("three", "1"))).Changes); got != "Create ConfigMap/three, Prune ConfigMap/two" {
		t.Errorf("without them: %s", got)
	}
}
