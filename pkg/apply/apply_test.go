package apply_test

import (
	"net/http"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

func TestObjectsAreCreatedUpdatedAndPruned(t *testing.T) {
	b := newBench(t)
	applied := b.sync(b.set(join(settings("kept", "1"), settings("dropped", "1"))))
	if got := actions(applied.Changes); got != "Create ConfigMap/dropped, Create ConfigMap/kept" {
		t.Errorf("the first apply: %s", got)
	}
	applied = b.sync(b.set(join(settings("kept", "2"), settings("new", "1"))))
	if got := actions(applied.Changes); got != "Prune ConfigMap/dropped, Update ConfigMap/kept, Create ConfigMap/new" {
		t.Errorf("the second apply: %s", got)
	}
	if got := inventoryNames(applied.Inventory); got != "ConfigMap/kept, ConfigMap/new" {
		t.Errorf("the inventory: %s", got)
	}
	if len(applied.Live) != 2 {
		t.Errorf("%d live objects", len(applied.Live))
	}
	if got := value(b.get(configMaps, b.namespace, "kept"), "data", "key"); got != "2" {
		t.Errorf("kept is %v", got)
	}
	if b.get(configMaps, b.namespace, "dropped") != nil {
		t.Error("the dropped object is still there")
	}
}

func TestUnchangedSetCostsOnlyLists(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("a", "1"), settings("b", "1"), `
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: $NS}
stringData: {password: hunter22}
`, `
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: $NS}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "ingest:1"}]}}}}
`))
	b.sync(set)
	record := b.record()
	var pending []manifest.Change
	requests := b.requests(func() {
		planned, err := plan.Make(b.ctx, b.cluster, requestOf(b, set, record))
		if err != nil {
			t.Fatal(err)
		}
		pending = planned.Pending()
		for _, change := range planned.Changes() {
			if change.Drifted {
				t.Errorf("%s counts as drifted", change.ID)
			}
		}
	})
	if len(pending) > 0 {
		t.Errorf("pending: %s", actions(pending))
	}
	lists := map[string]int{}
	for _, e := range requests {
		if e.Verb != "list" {
			t.Errorf("a request that is no list:%s", shortly([]lab.AuditEvent{e}))
		}
		lists[e.Object.Resource]++
	}
	if len(lists) != 3 || len(requests) != 3 {
		t.Errorf("the lists:%s", shortly(requests))
	}
}

// An object that passed its dry run may still fail.
func TestFailedObjectHoldsLaterStagesBack(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("dropped", "1")))
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return refusing{inner, http.MethodPatch, "/configmaps/bad"}
		})
	})
	set := b.set(join(
		settings("bad", "1"), settings("good", "1"), // the stage before a CronJob's stage
		"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: $NS}\nspec:\n  schedule: \"@daily\"\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}\n",
	))
	applied, err := b.trySync(set)
	wantError(t, err, "ConfigMap/"+b.namespace+"/bad: applying: ")
	if got := inventoryNames(applied.Inventory); got != "ConfigMap/dropped, ConfigMap/good" {
		t.Errorf("the inventory: %s", got)
	}
	if b.get(configMaps, b.namespace, "dropped") == nil {
		t.Error("something was pruned")
	}
	b.restart()
	if got := actions(b.plan(set).Changes()); got != "Create ConfigMap/bad, Prune ConfigMap/dropped, Create CronJob/nightly" {
		t.Errorf("the next plan: %s", got)
	}
}

func TestInstallIsRepeatable(t *testing.T) {
	b := newBench(t)
	fresh := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + b.namespace + "-fresh}\n"
	inside := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: syncer, namespace: " + b.namespace + "-fresh}\n"
	install := func(docs ...string) string {
		t.Helper()
		var set manifest.Set
		for _, doc := range docs {
			set = append(set, b.object(doc))
		}
		changes, err := apply.Install(b.ctx, b.cluster, set)
		if err != nil {
			t.Fatal(err)
		}
		return actions(changes)
	}
	definition := crd(b.group(), "Widget", "Namespaced", "v1 size: {type: integer}")
	if got := install(inside, fresh, definition); got != "Create CustomResourceDefinition/widgets."+b.group()+", Create Namespace/"+b.namespace+"-fresh, Create ServiceAccount/syncer" {
		t.Errorf("the first time: %s", got)
	}
	requests := b.requests(func() {
		if got := install(inside, fresh, definition); got != "" {
			t.Errorf("the second time: %s", got)
		}
	})
	for _, e := range requests {
		if isWrite(e) {
			t.Errorf("a write:%s", shortly([]lab.AuditEvent{e}))
		}
	}
	if install(fresh); b.get(serviceAccounts, b.namespace+"-fresh", "syncer") == nil {
		t.Error("what an install leaves out is gone")
	}
	if _, ok := value(b.get(namespaces, "", b.namespace+"-fresh"), "metadata", "labels").(map[string]any)[partOf]; ok {
		t.Error("it is part of an ApplySet")
	}
}
