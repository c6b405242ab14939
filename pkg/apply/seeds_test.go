package apply_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

// A webhook that exists before the service behind it answers would refuse the service's own pods.
func TestWebhookConfigurationsAreAppliedLast(t *testing.T) {
	b := newBench(t)
	hook := "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: a-" + b.namespace + "}\nwebhooks:\n- name: a.example.com\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Ignore\n  clientConfig: {url: \"https://127.0.0.1:1/\"}\n  rules: [{apiGroups: [none.example.com], apiVersions: [v1], operations: [CREATE], resources: [nothing]}]\n"
	set := b.set(join(hook, settings("z", "1"), service("")))
	got := strings.Fields(written(b.requests(func() { b.sync(set) })))
	if len(got) != 3 || got[2] != "a-"+b.namespace {
		t.Errorf("the order is %v", got)
	}
	b.nothingToDo(set)
	got = strings.Fields(written(b.requests(func() { b.sync(b.set(settings("z", "1"))) })))
	if len(got) != 2 || got[0] != "a-"+b.namespace {
		t.Errorf("the order of the prunes is %v", got)
	}
}

// The API server answers 500 for a list with a duplicate key. A retry would never help.
func TestDuplicateKeysAreNamedAndPermanent(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"variables": {service("", `{name: TZ, value: UTC}`, `{name: TZ, value: CET}`), `env: duplicate entries for key [name="TZ"]`},
		"ports":     {strings.Replace(service(""), "{containerPort: 80}", "{containerPort: 80}, {containerPort: 80}", 1), `ports: duplicate entries for key [containerPort=80,protocol="TCP"]`},
		"a type":    {strings.Replace(service(""), "replicas: 1", "replicas: many", 1), "replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var err error
			tries := 0
			for _, e := range b.requests(func() { _, err = b.tryPlan(b.set(c.doc)) }) {
				if isDryRun(e) {
					tries++
				}
			}
			wantError(t, err, "Deployment/"+b.namespace+"/web: ", c.want)
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
		"settings":          {settings("one", "1"), configMaps, `"1"`, `"2"`},
		"spark application": {strings.Replace(sparkApp("one", 600), "spec:\n", "spec:\n  suspend: true\n", 1), sparkApps, "spark:1", "spark:2"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.sync(b.set(c.doc))
			changed := b.set(strings.Replace(c.doc, c.from, c.to, 1))
			plan := b.plan(changed)
			b.delete(c.resource, b.namespace, "one")
			b.eventually("it is gone", func() bool { return b.get(c.resource, b.namespace, "one") == nil })
			applied, err := apply.Carry(b.ctx, b.cluster, plan, apply.Options{Spec: b.spec()})
			if err != nil || len(applied.Held) > 0 {
				t.Fatalf("held: %v, error: %v", applied.Held, err)
			}
			if b.get(c.resource, b.namespace, "one") == nil {
				t.Error("it was not made again")
			}
			b.save(applied.Inventory)
			b.nothingToDo(changed)
		})
	}
}

// The deletion of a namespace or a kind deletes all its objects, of any owner.
func TestNamespaceWithObjectsOfOthersIsKept(t *testing.T) {
	b := newBench(t)
	name := b.namespace + "-shared"
	b.sync(b.set(join("apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}\n", settings("stays", "1"))))
	other := b.other("neighbour")
	other.sync(other.set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: " + name + "}\n"))
	applied := b.sync(b.set(settings("stays", "1")))
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "ConfigMap/"+name+"/theirs would go with it") {
		t.Fatalf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
	}
	plan := other.plan(nil)
	if _, err := apply.Carry(b.ctx, other.cluster, plan, apply.Options{Spec: b.record().Spec}); err != nil {
		t.Fatal(err)
	}
	other.save(nil)
	if got := actions(b.sync(b.set(settings("stays", "1"))).Changes); got != "Prune Namespace/"+name {
		t.Errorf("when they are gone: %s", got)
	}
}

func TestDefinitionWithObjectsOfOthersIsKept(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}"), settings("stays", "1"))))
	widgets := schema.GroupVersionResource{Group: b.group(), Version: "v1", Resource: "widgets"}
	b.create(widgets, custom(b.group(), "v1", "Widget", b.namespace, "theirs", "size: 1"))
	applied := b.sync(b.set(settings("stays", "1")))
	if len(applied.Changes) > 0 || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "Widget/"+b.namespace+"/theirs would go with it") {
		t.Errorf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
	}
	if b.get(widgets, b.namespace, "theirs") == nil {
		t.Error("an object of somebody else is gone")
	}
}

// A run that a schedule started with the old settings still needs them when it starts a pod again.
func TestSettingsThatABatchPodUsesStay(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("old", "1"), settings("unused", "1"), settings("stays", "1"))))
	b.create(pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: run, namespace: $NS}\nspec:\n  restartPolicy: Never\n  containers: [{name: main, image: x, envFrom: [{configMapRef: {name: old}}]}]\n")
	b.create(pods, "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: $NS}\nspec:\n  containers: [{name: main, image: x, envFrom: [{configMapRef: {name: unused}}]}]\n")
	without := b.set(settings("stays", "1"))
	applied := b.sync(without)
	if got := actions(applied.Changes); got != "Prune ConfigMap/unused" || len(applied.Held) != 1 || !strings.Contains(applied.Held[0].Held.Message, "Pod/"+b.namespace+"/run needs it") {
		t.Fatalf("applied: %s, held: %v", got, applied.Held)
	}
	b.delete(pods, b.namespace, "run")
	if err := watch.AwaitChange(b.ctx, b.cluster, applied.Held); err != nil {
		t.Fatal(err)
	}
	b.eventually("the pod is gone", func() bool { return b.get(pods, b.namespace, "run") == nil })
	if got := actions(b.sync(without).Changes); got != "Prune ConfigMap/old" {
		t.Errorf("after the run: %s", got)
	}
}

// A kind that the configuration describes is respected like the built-in kinds.
func TestRunOfADescribedKindIsRespected(t *testing.T) {
	b := newBench(t)
	judge, err := health.New([]health.Declared{{Group: b.group(), Kind: "Training", Running: "object.spec.busy", Healthy: "!object.spec.busy"}})
	if err != nil {
		t.Fatal(err)
	}
	if b.cluster, err = cluster.Connect(cluster.Options{Kubeconfig: b.plane.Kubeconfig, Namespace: b.records, Judge: judge}); err != nil {
		t.Fatal(err)
	}
	definition := crd(b.group(), "Training", "Namespaced", "v1 busy: {type: boolean}, epochs: {type: integer}")
	training := custom(b.group(), "v1", "Training", b.namespace, "nightly", "busy: true, epochs: 1")
	b.sync(b.set(join(definition, training)))
	changed := b.set(join(definition, strings.Replace(training, "epochs: 1", "epochs: 2", 1)))
	applied := b.sync(changed)
	if len(applied.Held) != 1 || applied.Held[0].Held.Reason != manifest.HeldRunning {
		t.Errorf("applied: %s, held: %v", actions(applied.Changes), applied.Held)
	}
}
