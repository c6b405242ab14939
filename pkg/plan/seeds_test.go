package plan_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

// A webhook that exists before the service behind it answers would refuse the service's own pods.
func TestWebhookConfigurationsAreAppliedLast(t *testing.T) {
	b := bench.New(t)
	hook := "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: a-" + b.Namespace + "}\nwebhooks:\n- name: a.example.com\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Ignore\n  clientConfig: {url: \"https://127.0.0.1:1/\"}\n  rules: [{apiGroups: [none.example.com], apiVersions: [v1], operations: [CREATE], resources: [nothing]}]\n"
	set := b.Set(bench.Join(hook, bench.Settings("z", "1"), bench.Service("")))
	got := strings.Fields(written(b.Requests(func() { pass.Sync(b, set) })))
	if len(got) != 3 || got[2] != "a-"+b.Namespace {
		t.Errorf("the order is %v", got)
	}
	pass.NothingToDo(b, set)
	got = strings.Fields(written(b.Requests(func() { pass.Sync(b, b.Set(bench.Settings("z", "1"))) })))
	if len(got) != 2 || got[0] != "a-"+b.Namespace {
		t.Errorf("the order of the prunes is %v", got)
	}
}

// The API server answers 500 for a list with a duplicate key. A retry would never help.
func TestDuplicateKeysAreNamedAndPermanent(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"variables": {bench.Service("", `{name: TZ, value: UTC}`, `{name: TZ, value: CET}`), `env: duplicate entries for key [name="TZ"]`},
		"ports":     {strings.Replace(bench.Service(""), "{containerPort: 80}", "{containerPort: 80}, {containerPort: 80}", 1), `ports: duplicate entries for key [containerPort=80,protocol="TCP"]`},
		"a type":    {strings.Replace(bench.Service(""), "replicas: 1", "replicas: many", 1), "replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			var err error
			tries := 0
			for _, e := range b.Requests(func() { _, err = pass.TryPlan(b, b.Set(c.doc)) }) {
				if bench.IsDryRun(e) {
					tries++
				}
			}
			bench.WantError(t, err, "Deployment/"+b.Namespace+"/web: ", c.want)
			if !answer.IsPermanent(err) || tries != 1 {
				t.Errorf("permanent: %t, tried %d times", answer.IsPermanent(err), tries)
			}
		})
	}
}

func TestObjectDeletedWhileItIsApplied(t *testing.T) {
	for name, c := range map[string]struct {
		doc      string
		resource schema.GroupVersionResource
		from, to string
	}{
		"settings":          {bench.Settings("one", "1"), bench.ConfigMaps, `"1"`, `"2"`},
		"spark application": {strings.Replace(sparkApp("one", 600), "spec:\n", "spec:\n  suspend: true\n", 1), bench.SparkApps, "spark:1", "spark:2"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench.New(t)
			pass.Sync(b, b.Set(c.doc))
			changed := b.Set(strings.Replace(c.doc, c.from, c.to, 1))
			plan := pass.Plan(b, changed)
			b.Delete(c.resource, b.Namespace, "one")
			b.Eventually("it is gone", func() bool { return b.Get(c.resource, b.Namespace, "one") == nil })
			applied, err := apply.Carry(b.Ctx, b.Cluster, plan, apply.Options{Spec: b.Spec()})
			if err != nil || len(applied.Held) > 0 {
				t.Fatalf("held: %v, error: %v", applied.Held, err)
			}
			if b.Get(c.resource, b.Namespace, "one") == nil {
				t.Error("it was not made again")
			}
			b.Save(applied.Inventory)
			pass.NothingToDo(b, changed)
		})
	}
}

// The deletion of a namespace or a kind deletes all its objects, of any owner.
func TestNamespaceWithObjectsOfOthersIsKept(t *testing.T) {
	b := bench.New(t)
	name := b.Namespace + "-shared"
	pass.Sync(b, b.Set(bench.Join("apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}\n", bench.Settings("stays", "1"))))
	other := b.Other("neighbour")
	pass.Sync(other, other.Set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: "+name+"}\n"))
	applied := pass.Sync(b, b.Set(bench.Settings("stays", "1")))
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "ConfigMap/"+name+"/theirs would go with it") {
		t.Fatalf("applied: %s, held: %v", bench.Actions(applied.Changes), applied.Held)
	}
	plan := pass.Plan(other, nil)
	if _, err := apply.Carry(b.Ctx, other.Cluster, plan, apply.Options{Spec: b.Record().Spec}); err != nil {
		t.Fatal(err)
	}
	other.Save(nil)
	if got := bench.Actions(pass.Sync(b, b.Set(bench.Settings("stays", "1"))).Changes); got != "Prune Namespace/"+name {
		t.Errorf("when they are gone: %s", got)
	}
}

func TestDefinitionWithObjectsOfOthersIsKept(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer}"), bench.Settings("stays", "1"))))
	widgets := schema.GroupVersionResource{Group: b.Group(), Version: "v1", Resource: "widgets"}
	b.Create(widgets, bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "theirs", "size: 1"))
	applied := pass.Sync(b, b.Set(bench.Settings("stays", "1")))
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "Widget/"+b.Namespace+"/theirs would go with it") {
		t.Errorf("applied: %s, held: %v", bench.Actions(applied.Changes), applied.Held)
	}
	if b.Get(widgets, b.Namespace, "theirs") == nil {
		t.Error("an object of somebody else is gone")
	}
}

// A run that a schedule started with the old settings still needs them when it starts a pod again.
func TestSettingsThatABatchPodUsesStay(t *testing.T) {
	b := bench.New(t)
	pass.Sync(b, b.Set(bench.Join(bench.Settings("old", "1"), bench.Settings("unused", "1"), bench.Settings("stays", "1"))))
	b.Create(bench.Pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: run, namespace: $NS}\nspec:\n  restartPolicy: Never\n  containers: [{name: main, image: x, envFrom: [{configMapRef: {name: old}}]}]\n")
	b.Create(bench.Pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: $NS}\nspec:\n  containers: [{name: main, image: x, envFrom: [{configMapRef: {name: unused}}]}]\n")
	without := b.Set(bench.Settings("stays", "1"))
	applied := pass.Sync(b, without)
	if got := bench.Actions(applied.Changes); got != "Prune ConfigMap/unused" || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "Pod/"+b.Namespace+"/run needs it") {
		t.Fatalf("applied: %s, held: %v", got, applied.Held)
	}
	b.Delete(bench.Pods, b.Namespace, "run")
	if err := watch.AwaitChange(b.Ctx, b.Cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	b.Eventually("the pod is gone", func() bool { return b.Get(bench.Pods, b.Namespace, "run") == nil })
	if got := bench.Actions(pass.Sync(b, without).Changes); got != "Prune ConfigMap/old" {
		t.Errorf("after the run: %s", got)
	}
}

// A kind that the configuration describes is respected like the built-in kinds.
func TestRunOfADescribedKindIsRespected(t *testing.T) {
	b := bench.New(t)
	judge, err := health.New([]health.Declared{{Group: b.Group(), Kind: "Training", Running: "object.spec.busy", Healthy: "!object.spec.busy"}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Cluster, err = cluster.Connect(cluster.Options{Kubeconfig: b.Plane.Kubeconfig, Namespace: b.Records, Judge: judge}); err != nil {
		t.Fatal(err)
	}
	definition := bench.Definition(b.Group(), "Training", "Namespaced", "v1 busy: {type: boolean}, epochs: {type: integer}")
	training := bench.Custom(b.Group(), "v1", "Training", b.Namespace, "nightly", "busy: true, epochs: 1")
	pass.Sync(b, b.Set(bench.Join(definition, training)))
	changed := b.Set(bench.Join(definition, strings.Replace(training, "epochs: 1", "epochs: 2", 1)))
	applied := pass.Sync(b, changed)
	if len(applied.Held) != 1 || applied.Held[0].Held.Reason != manifest.HeldRunning {
		t.Errorf("applied: %s, held: %v", bench.Actions(applied.Changes), applied.Held)
	}
}
